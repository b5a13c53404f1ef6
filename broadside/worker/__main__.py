"""``python -m broadside.worker FD``: a worker as the node starts it, with its end of their socket pair."""

from broadside.optional_packages import without

with without("rich", "click"):  # also while it runs: a transport loads httpx when it is built
    from broadside.worker.worker import main

    main()
