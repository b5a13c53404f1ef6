"""``python -m broadside.worker FD``: a worker as the node starts it, with its end of their socket pair."""

import sys

# structlog and httpx import these where they are installed: a third of a worker's start, for tracebacks and a command
# line that it never shows
for name in ("rich", "click"):
    sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to say that there is none

from broadside.worker.worker import main  # noqa: E402

main()
