"""Which store a client uses: what its constructor was given, or what its settings name."""

import os
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tvDatafeed.config import StoreConfig
    from tvDatafeed.store.barstore import BarStore

StoreLike: TypeAlias = "str | os.PathLike[str] | BarStore | bool | None"


def open_store(given: StoreLike, config: "StoreConfig") -> "tuple[BarStore | None, bool]":
    """Return the store of a client, and whether that client closes it.

    Raises
    ------
    ConfigurationError
        When `given` or a setting cannot be used.
    """
    if given is False or (given is None and config.url is None):
        return None, False
    from tvDatafeed.store.barstore import BarStore  # noqa: PLC0415 - not before it is used
    from tvDatafeed.store.locations import default_path  # noqa: PLC0415 - as above

    if isinstance(given, BarStore):
        return given, False
    place = config.url if given is None else given
    store = BarStore(
        place if not isinstance(place, bool) else default_path(),
        max_bars=config.max_bars,
        recheck_days=config.recheck_days,
        timeout=config.timeout,
    )
    return store, True
