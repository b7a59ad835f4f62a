"""Progress of long work: a bar of tqdm, for terminals and notebooks, or a callable."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from tvDatafeed.exceptions import ConfigurationError, DataValidationError

Report: TypeAlias = Callable[[int, int, str], object]


@contextmanager
def reporting(progress: "bool | Report", total: int) -> Iterator[Report]:
    """Return a function to call after each piece of work: ``(done, total, symbol)``.

    Parameters
    ----------
    progress
        False for no progress, True for a bar, or a callable.
    total
        How many pieces there are.

    Raises
    ------
    ConfigurationError
        If a bar is wanted and tqdm is not installed.
    DataValidationError
        If `progress` is anything else.
    """
    if callable(progress):
        yield progress
    elif progress is True:
        with _bar(total) as report:
            yield report
    elif not progress:
        yield lambda _done, _total, _symbol: None
    else:
        raise DataValidationError("progress", progress, "must be True, False or a callable")


@contextmanager
def _bar(total: int) -> Iterator[Report]:
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError(
            "progress", True, 'needs tqdm: pip install "tvdatafeed[progress]"'
        ) from error

    class Bar(tqdm):  # type: ignore[type-arg]  # generic for type checkers alone
        # tqdm's monitor thread would outlive this thread.
        monitor_interval = 0

    with Bar(total=total, unit="symbol", miniters=1) as bar:

        def report(done: int, _total: int, symbol: str) -> None:
            bar.set_postfix_str(symbol, refresh=False)
            bar.update(done - bar.n)

        yield report
