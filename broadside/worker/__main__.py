"""``python -m broadside.worker FD``: a worker as the node starts it, with its end of their socket pair."""

import sys

# structlog and httpx import these if they are installed: a third of a worker's start-up, for tracebacks and a command
# line that a worker never shows
for name in ("rich", "click"):
    sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that a module is missing

from broadside.worker.worker import main  # noqa: E402

main()
