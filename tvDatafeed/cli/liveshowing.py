"""The display of live bars: a table in a terminal, lines of JSON otherwise."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tvDatafeed.cli.console import show, write_to_stdout
from tvDatafeed.cli.numbers import number_text, price_decimals, volume_decimals
from tvDatafeed.cli.records import JsonFormatter
from tvDatafeed.cli.table import cut_to_terminal, encodable, printable, table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BarScreen", "SeriesState", "follow_bars", "write_bar"]

_HEADS = ("SYMBOL", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "CHANGE", "VOLUME", "BARS", "STATE")
_NUMBERS = range(2, 9)
# What goes first where a terminal is narrow: bars, volume, change, open, high, low, time.
_SPARE = (8, 7, 6, 2, 3, 4, 1)
_PRICES = ("open", "high", "low", "close")


class Series(Protocol):
    """The part of a Seis that a table needs; it must be hashable."""

    @property
    def full_symbol(self) -> str:
        """The symbol with its exchange."""


class SeriesState(NamedTuple):
    """The state of a series: a word, and the number of its closed bars."""

    state: str
    delivered: int


def follow_bars(
    coming: "Iterator[tuple[Any, pd.DataFrame]]",
    tell: "Callable[[Any, pd.DataFrame], None]",
    count: int | None,
) -> None:
    """Show bars as they arrive, until `count` bars have closed; None for no limit."""
    closed = 0
    for seis, frame in coming:
        tell(seis, frame)
        closed += frame.attrs["closed"]
        if count is not None and closed >= count:
            return


def write_bar(_seis: Series, frame: "pd.DataFrame") -> None:
    """Write a bar as a line of JSON."""
    row = frame.iloc[0]
    numbers = {name: float(row[name]) for name in (*_PRICES, "volume")}
    line = {
        "symbol": row["symbol"],
        "time": frame.index[0].isoformat(),
        **{name: None if math.isnan(value) else value for name, value in numbers.items()},
        "closed": frame.attrs["closed"],
    }
    show(json.dumps(line, allow_nan=False))


class BarScreen:
    """A table in a terminal, which is written over itself.

    Parameters
    ----------
    status
        Returns the known state of each series.
    seises
        The series of the table, in its order.
    """

    def __init__(
        self, status: Callable[[], Mapping[Any, SeriesState]], seises: Sequence[Series]
    ) -> None:
        self._status = status
        self._bars: dict[Series, pd.DataFrame] = {}
        self._closes: dict[Series, float] = {}
        self._decimals: dict[Series, int] = {}
        self._height = 0
        self._news = ""
        self._seises = seises

    @contextmanager
    def shown(self) -> "Iterator[BarScreen]":
        """Show the library's log below the table, not inside it."""
        library = logging.getLogger("tvDatafeed")
        others = [h for h in library.handlers if isinstance(h, logging.StreamHandler)]
        # Records that go to a file as JSON are written as before.
        others = [h for h in others if not _is_json(h) or h.stream.isatty()]
        handler = _News(self.note)
        for other in others:
            library.removeHandler(other)
        library.addHandler(handler)
        try:
            yield self
        finally:
            library.removeHandler(handler)
            for other in others:
                library.addHandler(other)

    def note(self, news: str) -> None:
        """Show a line below the table from now on."""
        self._news = printable(news)

    def show(self, seis: Series, frame: "pd.DataFrame") -> None:
        """Show the new bars."""
        if frame.attrs["closed"]:
            self._closes[seis] = self._closes.get(seis, math.nan)
        before = self._bars.get(seis)
        if before is not None and before.attrs["closed"]:
            self._closes[seis] = float(before["close"].iloc[0])
        self._bars[seis] = frame
        self.draw()

    def draw(self) -> None:
        """Write the table, over itself."""
        status = self._status()
        rows = []
        for seis in self._seises:
            known = status.get(seis)
            state = known.state if known else "STOPPED"
            delivered = str(known.delivered) if known else ""
            rows.append([seis.full_symbol, *self._cells(seis), delivered, printable(state)])
        lines = [*table(_HEADS, rows, numbers=_NUMBERS, spare=_SPARE), cut_to_terminal(self._news)]
        # Move to the first line of the previous table, and write each line again.
        up = f"\x1b[{self._height}F" if self._height else ""
        write_to_stdout(up + "".join(f"{encodable(line)}\x1b[K\n" for line in lines))
        self._height = len(lines)

    def _cells(self, seis: Series) -> list[str]:
        frame = self._bars.get(seis)
        if frame is None:
            return [""] * 7
        row = frame.iloc[0]
        prices, volume = [float(row[name]) for name in _PRICES], float(row["volume"])
        # At least the decimals of earlier bars, so that the columns do not move.
        decimals = max(price_decimals([prices]), self._decimals.get(seis, 0))
        self._decimals[seis] = decimals
        before = self._closes.get(seis, math.nan)
        change = (row["close"] / before - 1) * 100 if before else math.nan
        mark = " " if frame.attrs["closed"] else "~"
        return [
            f"{frame.index[0]:%Y-%m-%d %H:%M:%S}{mark}",
            *(number_text(price, decimals) for price in prices),
            "" if math.isnan(change) else f"{change:+.2f}%",
            number_text(volume, volume_decimals([volume])),
        ]


def _is_json(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, JsonFormatter)


class _News(logging.Handler):
    """Shows the library's warnings below the table."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        self._take(record.getMessage())
