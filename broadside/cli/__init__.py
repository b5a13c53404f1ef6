"""The command ``broadside``: one file per group of commands. This one assembles them and maps errors to exit codes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from broadside.cli import (
    audience,
    backup,
    campaign,
    certificates,
    channel,
    completion,
    dead,
    doctor,
    drill,
    example,
    fire,
    key,
    node,
    outgoing,
    output,
    peers,
    receipts,
    servers,
    site_load,
    status,
    story,
    subscribers,
    support,
    tube,
    twin,
)
from broadside.errors import BroadsideError, shown
from broadside.release import version

_HELP = "Send breaking news to every subscriber's phone at once, and watch it arrive."
_EPILOGUE = """\
First steps:
    broadside node                     a demo: sample phones, simulated providers
    broadside fire --title Hello --body World --wait
    broadside campaign list
    broadside subscribers import base.csv
    broadside status                   everything that is wrong
    broadside doctor                   when something does not work

Without a broadside.toml in the current folder, every command uses the demo's
configuration. `broadside example` prints one with every key.

Exit codes:
    0  done
    1  finished, but something was rejected, failed, or cancelled
    2  the command line, a file or the configuration is wrong
    3  no node answers
    130  interrupted

BROADSIDE_DEBUG=1 adds the traceback to an unexpected error."""


def build() -> App:
    """Assemble the program from its groups of commands."""
    app = App(
        name="broadside",
        help=_HELP,
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        version=f"broadside {version()}",
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative="", negative_iterable="", show_default=False),
    )
    for group in (
        node,
        example,
        fire,
        audience,
        campaign,
        subscribers,
        peers,
        channel,
        tube,
        dead,
        site_load,
        outgoing,
        receipts,
        twin,
        key,
        certificates,
        drill,
        story,
        status,
        doctor,
        support,
        backup,
        servers,
        completion,
    ):
        group.register(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. A user's mistake becomes one line, never a traceback."""
    output.accept_any_text()
    try:
        result = build()(list(arguments), exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        command = " ".join(("broadside", *(error.command_chain or ())))
        output.complain(f"broadside: {_mistake(error)} (see {command} --help)")
        return 2
    except BroadsideError as error:
        output.complain(str(error))
        return error.exit_code
    except UnicodeEncodeError as error:  # an argument's bytes were no text in this locale; output accepts any text
        output.complain(f"broadside: {shown(error.object)} is not UTF-8 text (correct it, or set LC_ALL=C.UTF-8)")
        return 2
    except BrokenPipeError:
        # the reader (head, less) closed the pipe; keep Python from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("BROADSIDE_DEBUG"):
            raise
        text = " ".join(str(error).split())
        output.complain(f"broadside: unexpected {type(error).__name__}: {text} (BROADSIDE_DEBUG=1 shows where)")
        return 1
    return result if isinstance(result, int) else 0


def _mistake(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        words = ", ".join(map(shown, error.unused_tokens))
        return f"{words}: not expected here; put a text in quotes, and its option's name before it"
    return str(error).strip()


def main() -> None:
    """Entry point of the program."""
    gc.freeze()  # imported modules live until the end: the collector need not scan them
    sys.exit(run(sys.argv[1:]))
