"""Tries files that once broke something against a real node: ``python -m tests.inputs FOLDER``."""
