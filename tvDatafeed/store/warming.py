"""Warming: bars of many symbols are fetched into a store before they are needed."""

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from tvDatafeed.common.progress import reporting
from tvDatafeed.exceptions import DataValidationError, TvDatafeedError
from tvDatafeed.interval import CustomInterval, Interval, IntervalLike
from tvDatafeed.query.history import SeriesOptions, StoreUse
from tvDatafeed.query.symbols import full_symbol, unique_names
from tvDatafeed.store.answers import closed_part
from tvDatafeed.store.archive import Archive
from tvDatafeed.store.blocks import ROW_BYTES
from tvDatafeed.store.requests import key_query

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tvDatafeed.protocol.events import History, SeriesRequest

# Symbols that are requested at a time, as `get_hist_multi` does by default.
_WINDOW = 10


class Store(Protocol):
    """Where the bars go: a `BarStore`."""

    @property
    def archive(self) -> Archive:
        """The parts below it."""


class Client(Protocol):
    """What asks TradingView: a `TvDatafeed`."""

    def _histories(
        self,
        requests: "Sequence[SeriesRequest]",
        store: Any,
        use: StoreUse,
        *,
        window: int,
    ) -> "Generator[tuple[int, History | TvDatafeedError]]":
        """Yield the bars of some symbols as they come, from a store and from TradingView."""


def warm(  # noqa: PLR0917 - those of `BarStore.warm`
    store: Store,
    client: Client,
    symbols: str | Iterable[str],
    exchange: str | None,
    intervals: IntervalLike | Iterable[IntervalLike],
    n_bars: int,
    progress: bool | Callable[[int, int, str], None],
) -> dict[str, dict[str, Any]]:
    """Fetch the last bars of symbols into a store; see `BarStore.warm`."""
    names = unique_names(symbols)
    if isinstance(intervals, str | Interval | CustomInterval):
        intervals = [intervals]
    results: dict[str, dict[str, Any]] = {name: {"bars": 0, "error": None} for name in names}
    wanted: list[tuple[str, SeriesRequest]] = []
    options = SeriesOptions(
        extended_session=False, adjustment="splits", currency=None, backadjusted=False
    )
    for interval in intervals:
        query = key_query(interval, options, n_bars)
        for name in names:
            try:
                wanted.append((name, query.request(full_symbol(name, exchange))))
            except DataValidationError as error:
                results[name]["error"] = results[name]["error"] or error
    requests = [request for _name, request in wanted]
    # One old page of each is compared, since a series may have been restated far back.
    store.archive.recheck([(request.symbol, request.interval) for request in requests])
    coming = client._histories(requests, store, "use", window=_WINDOW)  # noqa: SLF001 - as declared
    with closing(coming), reporting(progress, len(requests)) as report:
        for done, (place, answer) in enumerate(coming, start=1):
            name = wanted[place][0]
            if isinstance(answer, TvDatafeedError):
                results[name]["error"] = results[name]["error"] or answer
            else:
                results[name]["bars"] += len(closed_part(answer).packed) // ROW_BYTES
            report(done, len(requests), name)
    return results
