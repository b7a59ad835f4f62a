"""The command line: a thin face of the library."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvDatafeed.cli.app import main

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    """Import `main` at first use, so that one command's module loads no other."""
    if name != "main":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tvDatafeed.cli.app import main  # noqa: PLC0415 - as said

    return main
