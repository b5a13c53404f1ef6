"""The documentation's worked example is a program that runs."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "supervision.md"


def test_the_documented_example_runs():
    example, *_ = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(example.splitlines()) < 45
    exec(compile(example, str(DOCUMENT), "exec"), {"__name__": "example"})
