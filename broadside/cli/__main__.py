"""``python -m broadside.cli``: the same program, where the entry point's script is not installed."""

from broadside.cli import main

main()
