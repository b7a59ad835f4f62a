"""Bars that are kept between runs and shared between programs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tvDatafeed.exceptions import (
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreVersionError,
)

if TYPE_CHECKING:
    from tvDatafeed.store.barstore import BarStore
    from tvDatafeed.store.consumer import StoreConsumer
    from tvDatafeed.store.records import SeriesInfo, StoreCheck, StoreHealth, StoreStats

__all__ = [
    "BarStore",
    "SeriesInfo",
    "StoreCheck",
    "StoreConsumer",
    "StoreCorruptError",
    "StoreError",
    "StoreHealth",
    "StoreLockedError",
    "StoreStats",
    "StoreVersionError",
]

_HOMES = {
    "BarStore": "barstore",
    "SeriesInfo": "records",
    "StoreCheck": "records",
    "StoreConsumer": "consumer",
    "StoreHealth": "records",
    "StoreStats": "records",
}


def __getattr__(name: str) -> Any:
    """Import a public name at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
