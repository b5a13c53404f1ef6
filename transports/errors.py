"""What can go wrong on the way to a provider."""


class TransportError(Exception):
    """Base of every error in this folder."""


class CredentialsError(TransportError):
    """A channel's credentials are missing or unusable; the text names the field, the value, and the remedy."""


class ConnectionLost(TransportError):
    """The connection to a provider ended; what was in flight is *unknown* unless the provider said otherwise."""


class PayloadError(TransportError):
    """A message breaks the platform's rules; the text names the field, the limit, and the remedy."""


class TokenError(TransportError):
    """A text is no token of a platform. ``what``: says so after the token's own name; ``remedy``: what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        """Hold both: ``what`` reads on after a token, as in *is not hexadecimal*."""
        self.what, self.remedy = what, remedy
        super().__init__(f"{what} ({remedy})")
