"""What can go wrong on the way to Tarantool."""


class StorageError(Exception):
    """Base of every error in this folder."""


class LinkLost(StorageError):
    """The instance did not answer: not connected, connection lost, or (LinkTimeout) silent. The call may have run."""


class LinkTimeout(LinkLost):
    """No answer within the deadline; the connection was given up."""


class DiskFull(LinkLost):
    """The instance cannot write to its disk: nothing was written. It answers reads, and writes again once there is
    room.
    """


class LinkDown(StorageError):
    """The link itself is not running, so waiting is useless: its callers are being stopped, or restarted with it."""


class VerbRefused(StorageError):
    """The instance answered with an error: its code (``box.error``) and text."""

    def __init__(self, verb: str, code: int, text: str) -> None:
        super().__init__(f"{verb}: {text}")
        self.code = code
        self.text = text


class OutOfMemory(VerbRefused):
    """The instance's memory is used up: nothing was written. Memory comes back as work ends, so waiting may help."""


class Repeats(StorageError):
    """A campaign has a text that went to one of its channels just before, or goes there just after. It was not fired.

    ``campaign``: the one that it repeats; ``at``: when that one starts, ms UTC.
    """

    def __init__(self, campaign: int, at: int) -> None:
        super().__init__(f"it repeats campaign {campaign}")
        self.campaign, self.at = campaign, at


class EmbeddedUnavailable(StorageError):
    """The embedded Tarantool cannot be started; the text says what to install."""


class AdminRefused(StorageError):
    """An instance refused a command on its admin socket; the text says why."""


class BackupRefused(StorageError):
    """A backup cannot be made, or is not restored, as it is asked for; the text says why and what to do."""


class BackupFailed(StorageError):
    """A backup or its restoration failed on its way, and left nothing behind; the text says why."""
