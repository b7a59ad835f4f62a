"""Removing series and documents, by name or by age."""

from collections.abc import Callable

from tvDatafeed.store.archive import Archive
from tvDatafeed.store.records import Document, StoredSeries


def clear(archive: Archive, symbol: str | None, exchange: str | None, interval: str | None) -> int:
    """Remove what has a name; return how many bars and documents there were.

    Parameters
    ----------
    archive
        The store.
    symbol, exchange
        By any requested name; None for any.
    interval
        TradingView's text; None for any.
    """
    wanted = _name(symbol, exchange)

    def is_wanted(names: list[str], timeframe: str) -> bool:
        has_interval = interval is None or timeframe == interval
        return has_interval and any(_is_named(name.upper(), wanted) for name in names)

    return _remove(
        archive,
        lambda series: is_wanted([series.key.symbol, *series.info.names], series.key.interval),
        lambda document: is_wanted([document.symbol], document.timeframe),
    )


def clear_unused(archive: Archive, oldest_s: float) -> int:
    """Remove what was not used since a moment, epoch seconds UTC; return how many, as `clear`."""
    return _remove(
        archive,
        lambda series: series.used_s < oldest_s,
        lambda document: document.used_s < oldest_s,
    )


def _remove(
    archive: Archive,
    is_wanted_series: Callable[[StoredSeries], bool],
    is_wanted_document: Callable[[Document], bool],
) -> int:
    with archive.writing() as transaction:
        found = [series for series in transaction.all() if is_wanted_series(series)]
        for series in found:
            transaction.remove(series)
        documents = filter(is_wanted_document, transaction.documents())
        return sum(series.bars for series in found) + transaction.remove_documents(documents)


def _name(symbol: str | None, exchange: str | None) -> tuple[str, str]:
    """Return an exchange and a symbol; empty for any."""
    place, separator, name = (symbol or "").upper().rpartition(":")
    return (place if separator else (exchange or "").upper()), name


def _is_named(full: str, wanted: tuple[str, str]) -> bool:
    place, _, name = full.rpartition(":")
    return wanted[0] in {"", place} and wanted[1] in {"", name}
