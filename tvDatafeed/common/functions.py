"""Which functions of a program a feed can call: its threads have no event loop."""

import functools
import inspect

from tvDatafeed.exceptions import DataValidationError

# The parameters of each function, for the line that an error shows.
_PARAMETERS = {
    "callback": "seis, data",
    "on_error": "who, error",
    "on_gap": "seis, start, end",
    "on_reconnect": "start, end",
    "on_state": "seis, state",
}
HOOKS = tuple(name for name in _PARAMETERS if name != "callback")


def check_not_async(field: str, function: object) -> None:
    """Refuse a function that returns a coroutine: it would never run.

    Parameters
    ----------
    field
        "callback", or the name of a hook.
    function
        The function; None and other values are accepted.

    Raises
    ------
    DataValidationError
        When it is a coroutine function, a partial or a method of one, or an object that is called
        as one.
    """
    if not _is_async(function):
        return
    parameters = _PARAMETERS[field]
    raise DataValidationError(
        field,
        function,
        "a coroutine function would never run in the threads of the feed; pass "
        f"lambda {parameters}: asyncio.run_coroutine_threadsafe(f({parameters}), loop)",
    )


def _is_async(function: object) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    calls = (function, getattr(type(function), "__call__", None))  # noqa: B004 - not whether
    return any(inspect.iscoroutinefunction(c) or inspect.isasyncgenfunction(c) for c in calls)
