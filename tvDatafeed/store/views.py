"""What the store's HTTP server answers, as values of JSON."""

import math
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tvDatafeed.exceptions import DataNotFoundError, DataValidationError, InvalidIntervalError
from tvDatafeed.interval import CustomInterval, Interval, as_interval
from tvDatafeed.protocol.series import EARLIEST_BAR_S
from tvDatafeed.store.barstore import BarStore
from tvDatafeed.store.reports import moment
from tvDatafeed.store.warmer import Progress

if TYPE_CHECKING:
    import pandas as pd

# The results of a job that stand in each answer; all failures are counted.
_RESULTS = 200
_PRICES = ("open", "high", "low", "close", "volume")


def interval_of(text: str) -> Interval | CustomInterval:
    """Return an interval from TradingView's text, such as "1H", or as people write it: "15m".

    Raises
    ------
    DataValidationError
        When it is neither.
    """
    try:
        return as_interval(text)
    except InvalidIntervalError as error:
        known = ", ".join(error.supported or ())
        raise DataValidationError("interval", text, f"must be one of {known}") from error


def stats_view(store: BarStore, progress: Progress) -> dict[str, Any]:
    """Return what a store holds and how it is used."""
    stats = store.stats()
    hot = [{"symbol": symbol, "hits": hits} for symbol, hits in stats.hot_symbols]
    return asdict(stats) | {"hot_symbols": hot, "warming": progress_view(progress)}


def progress_view(progress: Progress) -> dict[str, Any]:
    """Return how far a job of warming is: failed symbols first, and not more than some hundred."""
    results = sorted(progress.results.items(), key=lambda item: item[1]["error"] is None)
    return {
        "state": progress.state,
        "done": progress.done,
        "total": progress.total,
        "symbol": progress.symbol,
        "started": _text(progress.started_s),
        "ended": _text(progress.ended_s),
        "error": progress.error,
        "failed": sum(one["error"] is not None for one in progress.results.values()),
        "results": dict(results[:_RESULTS]),
    }


def series_view(store: BarStore) -> list[dict[str, Any]]:
    """Return all series, by symbol and interval."""
    return [{name: _iso(value) for name, value in asdict(info).items()} for info in store.series()]


def coverage_view(store: BarStore, limit: int) -> list[dict[str, Any]]:
    """Return the answered ranges of the series that were used last."""
    with store.archive.reading() as transaction:
        every = sorted(transaction.all(), key=lambda series: -series.used_s)[:limit]
        spans = [transaction.spans(series) for series in every]
    return [
        {
            "symbol": series.key.symbol,
            "interval": series.key.interval,
            "session": series.key.session,
            "adjustment": series.key.adjustment,
            "feed": series.key.feed,
            "bars": series.bars,
            "first": _text(series.first),
            "last": _text(series.last),
            "spans": [
                # A range that reaches back to the beginning of all bars begins with the first one.
                [_text(series.first if lo <= EARLIEST_BAR_S and series.first else lo), _text(hi)]
                for lo, hi in ranges
            ],
        }
        for series, ranges in zip(every, spans, strict=True)
    ]


def spans_view(store: BarStore, key: dict[str, Any]) -> dict[str, Any]:
    """Return the answered ranges of one series, which the arguments of `BarStore` name."""
    spans = [[_iso(lo), _iso(hi)] for lo, hi in store.coverage(**key)]
    return {"symbol": key["symbol"], "interval": key["interval"].value, "spans": spans}


def bars_view(frame: "pd.DataFrame", interval: Interval | CustomInterval) -> dict[str, Any]:
    """Return bars; each begins at its time, in UTC, and a missing volume is null."""
    rows = zip(frame.index, *(frame[name].tolist() for name in _PRICES), strict=True)
    return {
        "symbol": str(frame["symbol"].iloc[0]),
        "interval": interval.value,
        "count": len(frame),
        "complete": bool(frame.attrs.get("complete", True)),
        "bars": [
            {"time": _iso(time.to_pydatetime())}
            | {name: _number(value) for name, value in zip(_PRICES, values, strict=True)}
            for time, *values in rows
        ],
    }


def documents_view(store: BarStore, limit: int) -> list[dict[str, Any]]:
    """Return the names of the documents that were used last, without their data."""
    with store.archive.reading() as transaction:
        every = sorted(transaction.documents(), key=lambda document: -document.used_s)[:limit]
    return [
        {
            "symbol": document.symbol,
            "data_type": document.data_type,
            "timeframe": document.timeframe,
            "stored": _text(document.stored_s),
            "last_used": _text(document.used_s),
            "hits": document.hits,
        }
        for document in every
    ]


def document_view(store: BarStore, symbol: str, data_type: str, timeframe: str) -> dict[str, Any]:
    """Return one document.

    Raises
    ------
    DataNotFoundError
        When there is none of that name.
    """
    data = store.read_cache(symbol, data_type, timeframe)
    if data is None:
        exchange, _, name = symbol.rpartition(":")
        raise DataNotFoundError(name, exchange, reason=f"the store has no document {data_type}")
    return {"symbol": symbol, "data_type": data_type, "timeframe": timeframe, "data": data}


def _number(value: float) -> float | None:
    # JSON has no NaN.
    return value if math.isfinite(value) else None


def _text(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else _iso(moment(epoch_s))


def _iso(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    return value
