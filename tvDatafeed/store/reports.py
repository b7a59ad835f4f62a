"""Reports of what a store holds and how it is used."""

from datetime import datetime, timezone

from tvDatafeed.store.archive import Archive
from tvDatafeed.store.records import SeriesInfo, StoredSeries, StoreStats

_HOT_SYMBOLS = 10


def stats_of(archive: Archive) -> StoreStats:
    """Return what a store holds and how it is used."""
    archive.write_uses()
    with archive.reading() as transaction:
        every, documents = transaction.all(), transaction.documents()
    hits = sum(series.hits for series in every) + sum(d.hits for d in documents)
    misses = sum(series.misses for series in every)
    by_symbol: dict[str, int] = {}
    for symbol, count in [
        *((series.key.symbol, series.hits) for series in every),
        *((document.symbol, document.hits) for document in documents),
    ]:
        by_symbol[symbol] = by_symbol.get(symbol, 0) + count
    hot = sorted(by_symbol.items(), key=lambda item: (-item[1], item[0]))
    return StoreStats(
        total_records=sum(series.bars for series in every) + len(documents),
        unique_symbols=len({series.key.symbol for series in every if series.bars}),
        series=len(every),
        documents=len(documents),
        hits=hits,
        misses=misses,
        hit_rate=hits / (hits + misses) if hits + misses else 0.0,
        size_bytes=archive.engine.size_bytes(),
        hot_symbols=[(symbol, count) for symbol, count in hot[:_HOT_SYMBOLS] if count],
        engine=archive.engine.name,
        url=archive.engine.url,
    )


def series_of(archive: Archive) -> list[SeriesInfo]:
    """Return all series, by symbol and interval."""
    archive.write_uses()
    with archive.reading() as transaction:
        every = transaction.all()
    return sorted(
        (_info(series) for series in every),
        key=lambda info: (info.symbol, info.interval, info.session, info.feed),
    )


def moment(epoch_s: float) -> datetime:
    """Return a moment as an aware datetime in UTC."""
    return datetime.fromtimestamp(epoch_s, timezone.utc)


def _info(series: StoredSeries) -> SeriesInfo:
    key = series.key
    return SeriesInfo(
        symbol=key.symbol,
        names=tuple(series.info.names),
        interval=key.interval,
        session=key.session,
        adjustment=key.adjustment,
        currency=key.currency,
        backadjusted=key.backadjusted,
        contract=key.contract,
        feed=key.feed,
        first=None if series.first is None else moment(series.first),
        last=None if series.last is None else moment(series.last),
        bars=series.bars,
        hits=series.hits,
        misses=series.misses,
        last_used=moment(series.used_s),
        generation=series.generation,
        no_older=series.no_older,
    )
