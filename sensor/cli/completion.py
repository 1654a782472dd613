"""``gridwarden completion``: completion scripts for bash, zsh and fish."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from sensor.cli.common import Command

_PLACES: Final = {
    "bash": ".local/share/bash-completion/completions/gridwarden",
    "zsh": ".zfunc/_gridwarden",
    "fish": ".config/fish/completions/gridwarden.fish",
}
_ZSH_HINT: Final = "Add to ~/.zshrc if it is not there: fpath+=~/.zfunc; autoload -Uz compinit; compinit"


@click.command(cls=Command, short_help="Print or install shell completion.")
@click.argument("shell", type=click.Choice(sorted(_PLACES)))
@click.option("--install", is_flag=True, help="Write it to the place where the shell looks for it.")
def command(shell: str, install: bool) -> None:
    """Print or install shell completion.

    \b
    Examples:
      gridwarden completion bash --install
      gridwarden completion zsh > ~/.zfunc/_gridwarden
      gridwarden completion fish | source
    """
    script = completion_script(shell)
    if not install:
        click.echo(script)
        return
    target = Path.home() / _PLACES[shell]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(script + "\n", encoding="utf-8")
    click.echo(f"written: {target}. It works in the next shell you open.")
    if shell == "zsh":
        click.echo(_ZSH_HINT)


def completion_script(shell: str) -> str:
    """The script that makes ``shell`` complete gridwarden's commands and options."""
    from sensor.cli import main

    kind = get_completion_class(shell)
    assert kind is not None
    complete = kind(main, {}, "gridwarden", "_GRIDWARDEN_COMPLETE")
    return complete.source_template % complete.source_vars()
