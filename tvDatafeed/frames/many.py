"""The frames of many symbols, and the errors of those without one."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tvDatafeed.exceptions import DataValidationError, TvDatafeedError
from tvDatafeed.frames.repeats import RepeatedHours
from tvDatafeed.query.history import HistoryQuery

if TYPE_CHECKING:
    import pandas as pd

    from tvDatafeed.frames.joining import Layout
    from tvDatafeed.protocol.events import History, SeriesRequest


class Frames(dict[str, "pd.DataFrame"]):
    """The frames of many symbols, by the symbols as they were passed and in that order.

    Attributes
    ----------
    errors : dict of str to TvDatafeedError
        The errors of the symbols without a frame, by symbol, in the same order.
    """

    def __init__(
        self,
        frames: "Mapping[str, pd.DataFrame] | None" = None,
        errors: Mapping[str, TvDatafeedError] | None = None,
    ) -> None:
        super().__init__(frames or {})
        self.errors: dict[str, TvDatafeedError] = dict(errors or {})

    @classmethod
    def of(cls, results: "Mapping[str, pd.DataFrame | TvDatafeedError]") -> "Frames":
        """Sort results into frames and errors."""
        frames = cls()
        for name, result in results.items():
            if isinstance(result, TvDatafeedError):
                frames.errors[name] = result
            else:
                frames[name] = result
        return frames

    def to_frame(self, layout: "Layout" = "long") -> "pd.DataFrame":
        """Join the frames.

        Parameters
        ----------
        layout : {"long", "wide"}, default "long"
            "long": one row per bar of each symbol; "wide": one row per moment.

        Returns
        -------
        pandas.DataFrame
            Long: index ("symbol", "datetime"), columns open, high, low, close and volume
            (float64). Wide: index "datetime", ascending, columns ("field", "symbol"); NaN if a
            symbol has no bar. Symbols are named as they were passed, in that order. Times of
            different zones are in UTC. Without frames the result is empty.

        Raises
        ------
        DataValidationError
            The layout is unknown.

        Examples
        --------
        >>> from tvDatafeed import TvDatafeed
        >>> from tvDatafeed.testing import FakeTradingView
        >>> with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:
        ...     frames = tv.get_hist_multi(["NASDAQ:AAPL", "NASDAQ:MSFT"], n_bars=5)
        >>> frames.to_frame("wide")["close"].shape
        (5, 2)
        """
        from tvDatafeed.frames.joining import one_frame  # noqa: PLC0415 - pandas takes its time

        return one_frame(self, layout)

    def _repr_html_(self) -> str:
        from tvDatafeed.frames.joining import overview  # noqa: PLC0415 - as above

        return overview(self, self.errors)

    def __repr__(self) -> str:
        return f"<{len(self)} frames, {len(self.errors)} errors: {', '.join(self)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self), self.errors)


def results_of(
    symbols: "Mapping[str, str | DataValidationError]",
    query: HistoryQuery,
    histories: "Callable[[list[SeriesRequest]], Generator[tuple[int, History | TvDatafeedError]]]",
    repeated_hours: RepeatedHours,
) -> "Generator[tuple[str, pd.DataFrame | TvDatafeedError]]":
    """Yield a frame or an error for each name, as they arrive.

    Close the generator to cancel the rest.

    Parameters
    ----------
    symbols
        The full symbol of each name, or the error of an invalid one.
    query
        The query for each symbol.
    histories
        Requests bars, and yields each answer with the index of its request.
    repeated_hours
        As for `history_to_frame`.
    """
    from tvDatafeed.frames.history import history_to_frame  # noqa: PLC0415 - slow

    named: dict[str, list[str]] = {}
    for name, full in symbols.items():
        if isinstance(full, DataValidationError):
            yield name, full
        else:
            named.setdefault(full, []).append(name)
    requests, view = [query.request(full) for full in named], query.view()
    with closing(histories(requests)) as answers:
        for place, answer in answers:
            result: pd.DataFrame | TvDatafeedError
            try:
                if isinstance(answer, TvDatafeedError):
                    result = answer
                else:
                    result = history_to_frame(answer, view, repeated_hours)
            except TvDatafeedError as error:
                result = error
            first, *others = named[requests[place].symbol]
            yield first, result
            for other in others:
                yield other, result if isinstance(result, TvDatafeedError) else result.copy()
