"""The error of a comparison."""


class AgainstError(Exception):
    """The comparison cannot be made. The text names the thing, the value and the remedy."""
