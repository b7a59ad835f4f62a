"""Parse the commands of a client and reject invalid ones."""

import json
from typing import Any

from tvDatafeed.testing.wire.payloads import to_json


class RefusedError(Exception):
    """A command that is answered with critical_error, which aborts its session.

    Parameters
    ----------
    reason, *details
        The reason and details in the answer; by default, the details repeat the command.
    is_stamped
        Whether the answer contains its time; messages of quote sessions do not.
    """

    def __init__(
        self, reason: str = "invalid parameters", *details: str, is_stamped: bool = True
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details
        self.is_stamped = is_stamped


def parsed(payload: str) -> tuple[str, list[Any]] | None:
    """Parse a client message; return None if it is not valid."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    method, params = message.get("m"), message.get("p", [])
    return (method, params) if isinstance(method, str) and isinstance(params, list) else None


def as_text(value: Any) -> str:
    """Return a parameter of any type as text."""
    return value if isinstance(value, str) else to_json(value)


def first_text(params: list[Any]) -> str:
    """Return the first parameter, which is the session of a command."""
    return as_text(params[0]) if params else ""


def asked_symbol(spec: Any) -> tuple[str, dict[str, Any]]:
    """Parse ``"EX:SYM"``, ``={json}`` or a wrapper around one into symbol and other keys."""
    options: dict[str, Any] = {}
    while not isinstance(spec, str) or spec.startswith("="):
        try:
            spec = json.loads(spec[1:]) if isinstance(spec, str) else spec["symbol"]
        except (ValueError, RecursionError, TypeError, LookupError):
            return "", options
        if isinstance(spec, dict):
            options |= spec
    return spec, options


def asked_options(options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Convert the keys of a symbol to keyword arguments of `Market.bars`.

    Unknown values are ignored; what the real server does with them is not known.
    """
    currency = options.get("currency-id")
    asked = {
        "adjustment": _one_of(options.get("adjustment"), "dividends", "none"),
        "session": _one_of(options.get("session"), "extended"),
        "currency": currency if isinstance(currency, str) else None,
        "backadjusted": True if options.get("backadjustment") == "default" else None,
    }
    return tuple((name, value) for name, value in asked.items() if value is not None)


def asked_bar_set(options: dict[str, Any]) -> str:
    """Return which bars the keys of a symbol request; empty for those of the market itself."""
    bar_set = options.get("type")
    if isinstance(bar_set, str) and bar_set:
        return bar_set.removesuffix("!")
    return "replay" if options.get("replay") else ""


def _one_of(value: Any, *known: str) -> str | None:
    return value if value in known else None
