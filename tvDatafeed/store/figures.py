"""The figures of a store, for Prometheus."""

from collections.abc import Iterator

from tvDatafeed.common.prometheus import Family, counter, gauge
from tvDatafeed.exceptions import StoreError
from tvDatafeed.store.barstore import BarStore

__all__ = ["store_figures"]

_PREFIX = "tvdatafeed_store_"


def store_figures(store: BarStore) -> Iterator[Family]:
    """Yield the figures of a store at this moment; of one that fails only that it does."""
    try:
        stats = store.stats()
    except StoreError:
        yield gauge(f"{_PREFIX}up", "Whether the store can be read.", 0)
        return
    yield gauge(f"{_PREFIX}up", "Whether the store can be read.", 1)
    gauges = {
        "records": ("Bars and documents.", stats.total_records),
        "documents": ("Documents.", stats.documents),
        "series": ("Series.", stats.series),
        "symbols": ("Symbols with bars.", stats.unique_symbols),
        "size_bytes": ("The size on disk.", stats.size_bytes),
        "hit_ratio": ("Hits of all requests, from 0 to 1.", stats.hit_rate),
    }
    for name, (text, value) in gauges.items():
        yield gauge(_PREFIX + name, text, value)
    yield counter(f"{_PREFIX}hits", "Requests that needed no page.", stats.hits)
    yield counter(f"{_PREFIX}misses", "Requests that needed bars.", stats.misses)
