"""Mistakes in calls: parameter names of other libraries, with the names in this library."""

import functools
import inspect
from collections.abc import Callable, Collection
from typing import TypeVar

_C = TypeVar("_C")

# The names of our parameters in other libraries, the most likely first.
_MEANT = {
    "start": ("start_date",),
    "since": ("start_date", "start"),
    "from_date": ("start_date", "start"),
    "start_time": ("start_date", "start"),
    "end": ("end_date",),
    "until": ("end_date",),
    "to_date": ("end_date",),
    "end_time": ("end_date",),
    "limit": ("n_bars",),
    "count": ("n_bars",),
    "bars": ("n_bars",),
    "nbars": ("n_bars",),
    "outputsize": ("n_bars",),
    "prepost": ("extended_session",),
    "extended": ("extended_session",),
    "extended_hours": ("extended_session",),
    "timezone": ("timezone",),
    "tz": ("timezone",),
    "tzinfo": ("timezone",),
    "ticker": ("symbol", "symbols"),
    "tickers": ("symbols", "symbol"),
    "symbols": ("symbol",),
    "symbol": ("symbols",),
    "market": ("exchange",),
    "timeframe": ("interval",),
    "resolution": ("interval",),
    "granularity": ("interval",),
    "auto_adjust": ("adjustment",),
    "adjust": ("adjustment",),
    "contract": ("fut_contract",),
    "handler": ("callback",),
    "func": ("callback",),
    "workers": ("max_concurrent",),
    "max_workers": ("max_concurrent",),
    "threads": ("max_concurrent",),
}
# Advice for parameters that a call does not have.
_ELSEWHERE = {
    "timezone": "set it for the whole object: TvDatafeedLive(timezone=...)",
}


def explains_names(*methods: str) -> Callable[[_C], _C]:
    """Decorate a class: the `TypeError` of an unknown keyword names the right one.

    Parameters
    ----------
    *methods
        The names of its methods.
    """

    def decorate(cls: _C) -> _C:
        for name in methods:
            setattr(cls, name, _explaining(vars(cls)[name]))
        return cls

    return decorate


def _explaining(method: Callable[..., object]) -> Callable[..., object]:
    # The first parameter is the object itself.
    _self, *names = inspect.signature(method).parameters

    @functools.wraps(method)
    def call(*arguments: object, **options: object) -> object:
        for name in options:
            if name not in names:
                raise TypeError(
                    f"{method.__qualname__}() got an unexpected keyword argument {name!r}"
                    f"{_advice(name, names)}"
                )
        return method(*arguments, **options)

    return call


def _advice(name: str, names: Collection[str]) -> str:
    meant = _MEANT.get(name, ())
    for other in meant:
        if other in names:
            return f": use {other}="
        if other in _ELSEWHERE:
            return f": {_ELSEWHERE[other]}"
    import difflib  # noqa: PLC0415 - for mistakes alone

    for other in difflib.get_close_matches(name, names, n=1):
        return f": did you mean {other}=?"
    return ""
