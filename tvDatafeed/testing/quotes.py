"""The quote sessions of one connection: a snapshot of each symbol that is added."""

from collections.abc import Callable
from typing import Any

from tvDatafeed.testing.backend import Backend
from tvDatafeed.testing.commands import RefusedError, as_text, asked_symbol
from tvDatafeed.testing.listings import Listing
from tvDatafeed.testing.payloads import plain


class Quotes:
    """The quote sessions that are open, and the commands that they know.

    Parameters
    ----------
    backend
        The market and the rules of the server.

    Attributes
    ----------
    commands
        Who takes which command.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._sessions: dict[str, list[str]] = {}
        self.commands: dict[str, Callable[[str, list[Any]], list[str]]] = {
            "quote_set_fields": self._set_fields,
            "quote_add_symbols": self._add_symbols,
        }

    def __contains__(self, session: str) -> bool:
        return session in self._sessions

    def create(self, session: str) -> None:
        """Open a session, without fields if it was open."""
        self._sessions[session] = []

    def delete(self, session: str) -> None:
        """Forget a session, if there is one of this name."""
        self._sessions.pop(session, None)

    def handle(self, method: str, session: str, arguments: list[Any]) -> list[str]:
        """Take a command of an open session and return the payloads of its answer."""
        return self.commands[method](session, arguments)

    def _set_fields(self, session: str, arguments: list[Any]) -> list[str]:
        self._sessions[session] = [as_text(argument) for argument in arguments]
        return []

    def _add_symbols(self, session: str, arguments: list[Any]) -> list[str]:
        if not all(isinstance(argument, str) for argument in arguments):
            # Flags were allowed until 2024-02-06.
            raise RefusedError("invalid_parameters", "quote_add_symbols", is_stamped=False)
        payloads = []
        for asked in arguments:
            payloads.append(plain("qsd", session, self._quote(session, asked)))
            payloads.append(plain("quote_completed", session, asked))
        return payloads

    def _quote(self, session: str, asked: str) -> dict[str, Any]:
        symbol, _is_extended = asked_symbol(asked)
        listing = self._backend.market.find(symbol)
        refusal = self._backend.refusals.get(symbol)
        if refusal and refusal.message == "symbol_error":
            status = refusal.reason.replace(" ", "_")
            alternative = {"alternative": refusal.details[-1]} if refusal.details else {}
            return {
                "n": asked,
                "s": status,
                "errmsg": refusal.reason.capitalize(),
                "v": alternative,
            }
        if listing is None:
            return {"n": asked, "s": "error", "errmsg": "no_such_symbol", "v": {}}
        values = _values(listing, self._backend)
        fields = self._sessions[session] or values
        known = {name: values[name] for name in fields if name in values}
        return {"n": asked, "s": "ok", "v": known}


def _values(listing: Listing, backend: Backend) -> dict[str, Any]:
    now = backend.now(listing.symbol)
    *earlier, today = backend.market.bars(listing.symbol, "1D", 2, now)
    before = earlier[-1].close if earlier else today.open
    is_open = now <= backend.market.bar_close_time(listing.symbol, "1D", today.time)
    change = round(today.close - before, 8)
    info = listing.info()
    del info["name"], info["full_name"], info["exchange"]
    return info | {
        "lp": today.close,
        "lp_time": int(now),
        "ch": change,
        "chp": round(100 * change / before, 2),
        "volume": 1e100 if today.volume is None else today.volume,
        "open_price": today.open,
        "high_price": today.high,
        "low_price": today.low,
        "prev_close_price": before,
        "current_session": "market" if is_open else "out_of_session",
        "update_mode": backend.update_mode(listing.symbol),
        "exchange": listing.exchange,
        "short_name": listing.name,
        "original_name": listing.info()["full_name"],
    }
