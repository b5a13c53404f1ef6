"""The twins' errors. A *client's* faults are never raised to a caller: they become the provider's answers."""

from __future__ import annotations


class TwinError(Exception):
    """A twin cannot do what it was asked to. The text names the thing, the value and the remedy."""


class ScriptError(TwinError):
    """A script file is not usable: the text names the key and what it may be."""


class LedgerError(TwinError):
    """A ledger file holds a line that no twin wrote."""


class HeaderBlockError(Exception):
    """A header block is not valid HPACK (RFC 7541): the connection's compression state is lost."""


class ConnectionFault(Exception):
    """The peer broke RFC 9113 in a way that ends the connection: sent as GOAWAY with this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StreamFault(Exception):
    """The peer broke RFC 9113 in a way that ends one stream: sent as RST_STREAM with this code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
