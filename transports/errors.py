"""What can go wrong on the way to a provider."""


class TransportError(Exception):
    """Base of every error in this folder."""


class CredentialsError(TransportError):
    """A channel's credentials are missing or unusable; the text names the field, the value, and the remedy."""


class ConnectionLost(TransportError):
    """The connection to a provider ended; pushes in flight are *unknown* unless the provider said otherwise."""


class PayloadError(TransportError):
    """A message breaks the platform's rules; the text names the field, the limit, and the remedy."""


class DeliveryRefused(TransportError):
    """A provider does not give its figures of deliveries until somebody has changed something; the text says what."""


class TokenError(TransportError):
    """A text is not a token of a platform."""

    def __init__(self, what: str, remedy: str) -> None:
        """``what``: reads on after the token, as in *is not hexadecimal*; ``remedy``: what to do."""
        self.what, self.remedy = what, remedy
        super().__init__(f"{what} ({remedy})")
