"""The command that prints a script with which a shell completes commands and options."""

import argparse
from collections.abc import Callable, Iterator

from tvDatafeed.cli.arguments import AddCommand
from tvDatafeed.cli.console import EXIT_OK, CommandError, write_to_stdout
from tvDatafeed.interval import INTERVAL_TEXTS

__all__ = ["add_completion_command"]

_SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
_FILES = {"FILE", "PATH"}
_FOLDERS = {"DIR"}
_INTERVALS = "LENGTH"

_COMPLETION_EXAMPLES = """\
examples:
  eval "$(tvdatafeed completion bash)"             in ~/.bashrc
  eval "$(tvdatafeed completion zsh)"              in ~/.zshrc, after compinit
  tvdatafeed completion fish | source              in ~/.config/fish/config.fish
  tvdatafeed completion tcsh > ~/.tvdatafeed.tcsh
  tvdatafeed completion powershell | Out-String | Invoke-Expression

In a new shell the Tab key then completes commands, options, intervals and files. The extra
"completion" is needed: pip install "tvdatafeed[completion]".
"""


def add_completion_command(
    command: AddCommand, make_parser: Callable[[], argparse.ArgumentParser]
) -> None:
    """Add ``completion`` to the parser.

    Parameters
    ----------
    command : callable
        Adds one, from its name, what runs it, a summary and examples.
    make_parser : callable
        Returns a parser of the whole command line.
    """

    def complete(arguments: argparse.Namespace) -> int:
        write_to_stdout(f"{_script(make_parser(), arguments.shell).rstrip()}\n")
        return EXIT_OK

    completion = command(
        "completion", complete, "print a script for completion by the Tab key", _COMPLETION_EXAMPLES
    )
    completion.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))


def _script(parser: argparse.ArgumentParser, shell: str) -> str:
    try:
        import shtab  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise CommandError(
            'completion needs shtab: pip install "tvdatafeed[completion]"'
        ) from error
    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab looks for it
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # as above
        elif action.metavar == _INTERVALS:
            action.choices = INTERVAL_TEXTS
    return str(shtab.complete(parser, shell=shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if isinstance(action.choices, dict):
            for part in action.choices.values():
                yield from _actions(part)
        else:
            yield action
