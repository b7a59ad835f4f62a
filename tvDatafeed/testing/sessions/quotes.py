"""The quote sessions of one connection: a snapshot of each symbol, and what changes afterwards.

The messages have the shape of recorded ones. No recording shows how long a quote stays the same, so
the rhythm is made up: with each tick, the server sends a session the requested fields that changed
since its last message, and nothing if none changed. Hibernating sessions get the same messages.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tvDatafeed.testing.sessions.backend import Backend, Refusal, Rights
from tvDatafeed.testing.sessions.quote_values import quote_values
from tvDatafeed.testing.wire.commands import RefusedError, as_text, asked_symbol
from tvDatafeed.testing.wire.payloads import plain

# The only refusal of a quote that is recorded; its wording differs from that of charts.
_NO_SUCH_SYMBOL = {"s": "error", "errmsg": "no_such_symbol", "v": {}}


@dataclass
class _Session:
    fields: list[str] = field(default_factory=list)
    # The last quote sent for each symbol, by the exact string the client used for it.
    last_sent: dict[str, dict[str, Any]] = field(default_factory=dict)


class Quotes:
    """The quote sessions that are open, and the commands that they know.

    Parameters
    ----------
    backend
        The market and the rules of the server.

    Attributes
    ----------
    rights
        What the client's token allows.
    commands
        The handler of each command.
    """

    def __init__(self, backend: Backend) -> None:
        self.rights: Rights = Rights()
        self._backend = backend
        self._sessions: dict[str, _Session] = {}
        self.commands: dict[str, Callable[[str, list[Any]], list[str]]] = {
            "quote_set_fields": self._set_fields,
            "quote_add_symbols": self._add_symbols,
            "quote_remove_symbols": self._remove_symbols,
            "quote_fast_symbols": self._fast_symbols,
            "quote_hibernate_all": self._hibernate_all,
        }

    def __contains__(self, session: str) -> bool:
        return session in self._sessions

    @property
    def sessions(self) -> list[str]:
        """The quote sessions that are open, in the order of their creation."""
        return list(self._sessions)

    def create(self, session: str) -> None:
        """Open a session; an open session loses its fields and symbols."""
        self._sessions[session] = _Session()

    def delete(self, session: str) -> None:
        """Close a session if it exists."""
        self._sessions.pop(session, None)

    def handle(self, method: str, session: str, arguments: list[Any]) -> list[str]:
        """Handle a command of an open session and return the payloads of its answer."""
        return self.commands[method](session, arguments)

    def updates(self, at: float) -> list[tuple[str, str]]:
        """Return what changed up to a moment since the last message: (symbol, payload)."""
        return [
            (asked_symbol(asked)[0], plain("qsd", name, change))
            for name, session in self._sessions.items()
            for asked in session.last_sent
            if (change := self._change(session, asked, at))
        ]

    def _set_fields(self, session: str, arguments: list[Any]) -> list[str]:
        self._sessions[session].fields = list(map(as_text, arguments))
        return []

    def _add_symbols(self, session: str, arguments: list[Any]) -> list[str]:
        payloads = []
        # Flags were allowed until 2024-02-06.
        for asked in _symbols("quote_add_symbols", arguments):
            quote = self._quote(self._sessions[session], asked, self._backend.clock())
            self._sessions[session].last_sent[asked] = quote
            payloads.append(plain("qsd", session, quote))
            payloads.append(plain("quote_completed", session, asked))
        return payloads

    def _remove_symbols(self, session: str, arguments: list[Any]) -> list[str]:
        for asked in _symbols("quote_remove_symbols", arguments):
            self._sessions[session].last_sent.pop(asked, None)
        return []

    def _fast_symbols(self, _session: str, arguments: list[Any]) -> list[str]:
        # Here all symbols are updated with each tick, so the command has no effect.
        _symbols("quote_fast_symbols", arguments)
        return []

    def _hibernate_all(self, _session: str, _arguments: list[Any]) -> list[str]:
        # A public client sends this as its last command and then waits for quotes.
        return []

    def _change(self, session: _Session, asked: str, at: float) -> dict[str, Any] | None:
        last_sent, quote = session.last_sent[asked], self._quote(session, asked, at)
        session.last_sent[asked] = quote
        if quote["s"] != last_sent["s"]:
            return quote
        values = {
            name: value
            for name, value in quote["v"].items()
            if name not in last_sent["v"] or last_sent["v"][name] != value
        }
        return {**quote, "v": values} if values else None

    def _quote(self, session: _Session, asked: str, at: float) -> dict[str, Any]:
        symbol, _options = asked_symbol(asked)
        listing = self._backend.find(symbol, self.rights)
        refusal = self._backend.refusals.get(symbol)
        if refusal and refusal.message == "symbol_error":
            return {"n": asked, **_refused(refusal)}
        if listing is None:
            return {"n": asked, **_NO_SUCH_SYMBOL}
        values = quote_values(listing, self._backend, self.rights, at)
        fields = session.fields or values
        return {
            "n": asked,
            "s": "ok",
            "v": {name: values[name] for name in fields if name in values},
        }


def _symbols(method: str, arguments: list[Any]) -> list[str]:
    """Return the symbols of a command; arguments of other types abort the session."""
    if not all(isinstance(argument, str) for argument in arguments):
        raise RefusedError("invalid_parameters", method, is_stamped=False)
    return arguments


def _refused(refusal: Refusal) -> dict[str, Any]:
    if refusal.reason == "invalid symbol":
        return _NO_SUCH_SYMBOL
    return {
        "s": refusal.reason.replace(" ", "_"),
        "errmsg": refusal.reason.capitalize(),
        "v": {"alternative": refusal.details[-1]} if refusal.details else {},
    }
