"""``python -m broadside.cli``: the same program, for when the entry point's script is not installed."""

from broadside.cli import main

main()
