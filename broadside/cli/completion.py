"""``broadside completion``: prints a script with which a shell completes commands and options."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from broadside.cli.output import say

_EPILOGUE = """\
Examples:
    broadside completion bash > ~/.local/share/bash-completion/completions/broadside
    broadside completion zsh > ~/.zfunc/_broadside
    broadside completion fish > ~/.config/fish/completions/broadside.fish

For zsh the folder must be in fpath before compinit runs. In bash it also works
at once: source <(broadside completion bash). Print it again after an upgrade."""


def register(app: App) -> None:
    """Add the command."""

    def completion(
        shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="Your shell.")],
        /,
    ) -> int:
        """Print a script that lets a shell complete broadside's commands and options by Tab."""
        say(app.generate_completion(prog_name="broadside", shell=shell))
        return 0

    app.command(completion, help_epilogue=_EPILOGUE)
