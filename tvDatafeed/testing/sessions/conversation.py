"""One client's conversation: commands in, payloads out, without sockets, threads or waiting.

Commands of the connection, such as its token, are handled here; commands of a session are passed to
`Charts` or `Quotes`. A command of a session that the server does not know ends the connection.
"""

from collections.abc import Callable
from typing import Any

from tvDatafeed.testing.accounts.tokens import claims_of
from tvDatafeed.testing.market.corrections import CorrectedBar
from tvDatafeed.testing.sessions.backend import NODE, Backend, Rights
from tvDatafeed.testing.sessions.charts import Charts
from tvDatafeed.testing.sessions.quotes import Quotes
from tvDatafeed.testing.wire.commands import RefusedError, as_text, asked_symbol, first_text
from tvDatafeed.testing.wire.payloads import plain, to_json


class UnknownSessionError(Exception):
    """A command of a session that does not exist, which ends the connection."""


class Conversation:
    """The protocol state of one connection.

    Parameters
    ----------
    backend
        The market and the rules of the server.
    number
        The number of the connection, which is part of the hello.

    Attributes
    ----------
    is_over
        Whether the server closes the connection after the last reply.
    """

    def __init__(self, backend: Backend, number: int) -> None:
        self.is_over: bool = False
        self._backend = backend
        self._number = number
        self._token: str | None = None
        self._is_silent = False
        # Also those that were deleted again.
        self._created = 0
        self._charts = Charts(backend)
        self._quotes = Quotes(backend)
        # Sessions that critical_error ended, and those of them whose commands are ignored.
        self._dead: set[str] = set()
        self._ignored: set[str] = set()
        self._commands: dict[str, Callable[[list[Any]], list[str]]] = {
            "set_auth_token": self._set_auth_token,
            "chart_create_session": self._create_chart,
            "chart_delete_session": self._delete_chart,
            "quote_create_session": self._create_quotes,
            "quote_delete_session": self._delete_quotes,
        }

    @property
    def chart_sessions(self) -> list[str]:
        """The chart sessions that are open, in the order of their creation."""
        return self._charts.sessions

    @property
    def quote_sessions(self) -> list[str]:
        """The quote sessions that are open, in the order of their creation."""
        return self._quotes.sessions

    @property
    def account(self) -> object:
        """The account of the token, as its claims name it; None for an anonymous client."""
        return (claims_of(self._token or "") or {}).get("user_id")

    def hello(self) -> str:
        """Return the first payload of a connection."""
        now = self._backend.clock()
        return to_json(
            {
                "session_id": f"0.{self._number}.0_{NODE}",
                "timestamp": int(now),
                "timestampMs": int(now * 1000),
                "release": "release_209-23",
                "studies_metadata_hash": "0fd29e4fdd03e654cf64f97efb4cd78bef47feac",
                "auth_scheme_vsn": 2,
                "protocol": "json",
                "via": "127.0.0.1:443",
                "javastudies": ["3.66"],
            }
        )

    def handle(self, method: str, params: list[Any]) -> list[str]:
        """Handle one command and return the payloads of its answer, which is one message.

        The answer to resolve_symbol is delayed for the series that usually follows: see `settle`.
        """
        if self._is_silent and method != "set_auth_token":
            return []
        if method in self._commands:
            return self._commands[method](params)
        session = first_text(params)
        if session in self._ignored:
            return []
        try:
            return self._handle_in_session(method, session, params[1:])
        except UnknownSessionError:
            return self._refuse_session(method, params)
        except RefusedError as refused:
            # Clients send on after the critical_error of a quote session, and their charts live.
            is_ignored = session in self._quotes or self._backend.ignore_dead_sessions
            self._end_session(session, is_ignored=is_ignored)
            literal = f'method: {method}. args: "[{", ".join(map(as_text, params[1:]))}]"'
            details = refused.details or (literal,)
            formatted = self._backend.stamped if refused.is_stamped else plain
            return [formatted("critical_error", session, refused.reason, *details)]

    def settle(self) -> list[tuple[str, str]]:
        """Return the answers to resolve_symbol that are still to be sent: (symbol, payload)."""
        return [] if self._is_silent else self._charts.settle()

    def updates(self, at: float) -> list[tuple[str, str]]:
        """Return the changes of live series and quotes up to a moment: (symbol, payload)."""
        return [] if self._is_silent else [*self._charts.updates(at), *self._quotes.updates(at)]

    def corrections(self, bar: CorrectedBar, at: float) -> list[tuple[str, str]]:
        """Return the updates for live series that contain a corrected bar: (symbol, payload)."""
        return [] if self._is_silent else self._charts.corrections(bar, at)

    def recheck(self) -> list[str]:
        """Check the token again; return the error if it has expired meanwhile."""
        return [] if self._token is None else self._judge(self._token)

    def symbol_of(self, method: str, params: list[Any]) -> str | None:
        """Return the ``"EXCHANGE:NAME"`` that a command is about, or None."""
        if method == "resolve_symbol" and params:
            return asked_symbol(params[-1])[0]
        return self._charts.symbol_of(method, first_text(params), params[1:])

    def exceed_connections(self) -> list[str]:
        """Return the error of a connection that is closed because its account has a newer one."""
        return self.close_with("user connections limit reached")

    def abort_session(self, session: str) -> None:
        """Abort a session for a fault; its later commands are ignored."""
        self._end_session(session, is_ignored=True)

    def close_with(self, reason: str) -> list[str]:
        """Return a protocol_error and mark the connection as finished."""
        self.is_over = True
        return [plain("protocol_error", reason)]

    def _handle_in_session(self, method: str, session: str, arguments: list[Any]) -> list[str]:
        kinds: tuple[Charts | Quotes, ...] = (self._charts, self._quotes)
        sessions = next((kind for kind in kinds if method in kind.commands), None)
        if sessions is None:
            return []
        if session not in sessions:
            raise UnknownSessionError
        return sessions.handle(method, session, arguments)

    def _set_auth_token(self, params: list[Any]) -> list[str]:
        self._token = first_text(params)
        refusal = self._judge(self._token)
        self._charts.rights = self._quotes.rights = Rights.of(self._token)
        return refusal

    def _judge(self, token: str) -> list[str]:
        verdict, rules = self._backend.verdict(token), self._backend.accounts.rules
        self._is_silent = verdict == "ended" and rules.expired_token_is == "silent"  # noqa: S105
        return [] if verdict == "good" or self._is_silent else self.close_with("bad auth token")

    def _end_session(self, session: str, *, is_ignored: bool) -> None:
        self._charts.delete(session)
        self._quotes.delete(session)
        self._dead.add(session)
        if is_ignored:
            self._ignored.add(session)

    def _refuse_session(self, method: str, params: list[Any]) -> list[str]:
        # An Erlang term, of which the report shows the beginning.
        arguments = ",".join(f"<<{to_json(as_text(param))}>>" for param in params)
        return self.close_with(f"{{unknown_session_id,<<{to_json(method)}>>,{arguments}}}")

    def _create_chart(self, params: list[Any]) -> list[str]:
        return self._create(self._charts, first_text(params))

    def _delete_chart(self, params: list[Any]) -> list[str]:
        return self._delete(self._charts, "chart_delete_session", params)

    def _create_quotes(self, params: list[Any]) -> list[str]:
        return self._create(self._quotes, first_text(params))

    def _may_create(self) -> bool:
        """Count one more session; False if it is more than the connection may open."""
        self._created += 1
        limit = self._backend.max_sessions_per_connection
        return limit is None or self._created <= limit

    def _delete_quotes(self, params: list[Any]) -> list[str]:
        return self._delete(self._quotes, "quote_delete_session", params)

    def _create(self, sessions: Charts | Quotes, session: str) -> list[str]:
        if not self._may_create():
            return self.close_with("max sessions rate reached")
        self._dead.discard(session)
        self._ignored.discard(session)
        sessions.create(session)
        return []

    def _delete(self, sessions: Charts | Quotes, method: str, params: list[Any]) -> list[str]:
        session = first_text(params)
        # Made up: a client may delete what critical_error has ended, since both can cross.
        if session not in sessions and session not in self._dead:
            return self._refuse_session(method, params)
        sessions.delete(session)
        return []
