"""A TradingView on the loopback interface: one port for the WebSocket and for HTTP.

Every connection has a thread of its own, which alone touches the socket. Other threads reach it
through its outbox, so that no lock is ever held while something is sent.
"""

import math
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tvDatafeed.config import NetworkConfig, TvDatafeedConfig
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing.accounts.accounts import Account
from tvDatafeed.testing.accounts.controls import AccountControls
from tvDatafeed.testing.connection import WEBSOCKET_PATH, Connection
from tvDatafeed.testing.context import ServerContext
from tvDatafeed.testing.faults import ActiveFaults, Fault
from tvDatafeed.testing.journal import CloseMethod, Journal, Received
from tvDatafeed.testing.market.clock import MarketClock
from tvDatafeed.testing.market.market import Market
from tvDatafeed.testing.routes import SEARCH_PATH
from tvDatafeed.testing.sessions.backend import Backend, Refusal
from tvDatafeed.testing.wire.actions import Message
from tvDatafeed.testing.wire.delay_line import Link
from tvDatafeed.testing.wire.http11 import Request
from tvDatafeed.testing.wire.recordings import Recording

_STOP_TIMEOUT_S = 5.0
_SCARCITY_PAUSE_S = 0.01


class FakeTradingView(AccountControls):
    """A server that speaks TradingView's protocol about a made-up market.

    Parameters
    ----------
    host, port
        Where to listen; the port is a number, and 0 takes a free one and keeps it over a restart.
    market
        What is traded; `Market()` if left out.
    clock
        Epoch seconds; what the market's time is. A `MarketClock` may be stepped and may run fast.
    heartbeat_interval_s
        Seconds between heartbeats of a connection.
    faults
        Active from the start; see `inject`.
    tls
        A server-side context, with which the URLs become wss and https.
    bad_tokens
        Tokens that get ``protocol_error ["bad auth token"]``. Besides them every token does that
        is neither TradingView's word for anonymous nor an unexpired JWT; where there are accounts,
        one of this server. May be changed later as ``server.bad_tokens``.
    max_bars_per_reply
        A series gets no more bars than this, counted back from the latest one, however it asks.
    plan_limits
        Intraday bars by the plan in the client's token, "" being none, instead of that number;
        `PLAN_BARS` has those of TradingView's pages.
    tick_interval_s
        Seconds between updates of open series and quotes; None leaves them to `tick`.
    echo_timeout_s
        A connection whose client leaves a heartbeat without its echo for this long is dropped;
        None to be patient.
    accounts
        Who may sign in; the attributes of `SignInRules` say how they are treated.
    round_trip_s
        Seconds from a command to its answer, and how late everything else reaches the client. The
        server works on meanwhile, so the answers to commands that were sent together come together.
        TCP's and TLS's own handshakes are not delayed.
    bandwidth_bytes_per_s
        How many bytes reach the client in a second, one message after the other; None for no limit.
        Each connection is a link of its own: two clients have twice the bandwidth.

    Raises
    ------
    ValueError
        If there can be no link of this round trip or bandwidth.

    Examples
    --------
    >>> from tvDatafeed.testing import FakeTradingView
    >>> with FakeTradingView() as server:
    ...     server.config().network.ws_url == server.ws_url
    True
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        market: Market | None = None,
        clock: Callable[[], float] = time.time,
        heartbeat_interval_s: float = 5.0,
        faults: Iterable[Fault] = (),
        tls: ssl.SSLContext | None = None,
        bad_tokens: Iterable[str] = (),
        max_bars_per_reply: int = 40_000,
        plan_limits: Mapping[str, int] | None = None,
        tick_interval_s: float | None = None,
        echo_timeout_s: float | None = 20.0,
        accounts: Iterable[Account] = (),
        round_trip_s: float = 0.0,
        bandwidth_bytes_per_s: float | None = None,
    ) -> None:
        super().__init__(accounts, Journal())
        self.market: Market = market or Market()
        self.bad_tokens: set[str] = set(bad_tokens)
        self._heartbeat_interval_s = heartbeat_interval_s
        self._tick_interval_s = tick_interval_s or math.inf
        self._echo_timeout_s = echo_timeout_s or math.inf
        self._link = Link(round_trip_s, bandwidth_bytes_per_s)
        self._backend = Backend(
            self.market, clock, self._accounts, self.bad_tokens, max_bars_per_reply, plan_limits
        )
        self._faults = ActiveFaults(faults)
        self._host = host
        self._port = port
        self._tls = tls
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._lifecycle = threading.Lock()

    def __enter__(self) -> "FakeTradingView":  # noqa: PYI034 - Self needs Python 3.11
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "listening" if self._listener else "stopped"
        return f"<FakeTradingView {self._host}:{self._port} {state}, {self._journal.summary()}>"

    def start(self) -> None:
        """Begin to listen; a running server stays as it is.

        Raises
        ------
        OSError
            If the port is taken.
        """
        with self._lifecycle:
            if self._listener is not None:
                return
            listener = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
            try:
                # Elsewhere than on Windows this only lets a restarted server have its port back.
                if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
                else:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self._host, self._port))
                listener.listen(256)
            except OSError:
                listener.close()
                raise
            self._port = listener.getsockname()[1]
            self._listener = listener
            stopped, self._stopper = socket.socketpair()
            self._acceptor = threading.Thread(
                target=self._accept, args=(listener, stopped), name="FakeTradingView", daemon=True
            )
            self._acceptor.start()

    def stop(self) -> None:
        """End all connections without a word, as a killed server does, and stop listening.

        A stopped server does nothing here. It may be started again on the same port.
        """
        with self._lifecycle:
            listener, self._listener = self._listener, None
            acceptor, self._acceptor = self._acceptor, None
            if listener is None or acceptor is None:
                return
            # Closing a socket does not wake its accept everywhere; a byte on this one does.
            self._stopper.send(b"\0")
            deadline = time.monotonic() + _STOP_TIMEOUT_S
            acceptor.join(_STOP_TIMEOUT_S)
            self._stopper.close()
            clients = self._journal.clients()
            for client in clients:
                client.abort(None)
            for client in clients:
                client.join(max(0.0, deadline - time.monotonic()))

    @property
    def port(self) -> int:
        """The port; 0 until the first start unless one was given."""
        return self._port

    @property
    def ws_url(self) -> str:
        """What a client opens as its WebSocket."""
        return f"{'wss' if self._tls else 'ws'}://{self._authority}{WEBSOCKET_PATH}"

    @property
    def base_url(self) -> str:
        """What stands for ``https://www.tradingview.com``."""
        return f"{'https' if self._tls else 'http'}://{self._authority}"

    @property
    def search_url(self) -> str:
        """What stands for the symbol search."""
        return f"{self.base_url}{SEARCH_PATH}"

    @property
    def _authority(self) -> str:
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    def config(self, **overrides: Any) -> TvDatafeedConfig:
        """Return a configuration that points at this server.

        Parameters
        ----------
        **overrides
            Fields of `NetworkConfig`, such as ``recv_timeout=0.5``.
        """
        urls = {
            "ws_url": self.ws_url,
            "base_url": self.base_url,
            "search_url": self.search_url,
        }
        return TvDatafeedConfig(network=NetworkConfig(**{**urls, **overrides}))

    def inject(self, *faults: Fault) -> None:
        """Let faults strike from now on, each as often as its ``times`` says."""
        self._faults.inject(*faults)

    def clear_faults(self) -> None:
        """Let no fault strike any more; what one has begun, such as a frozen socket, stays."""
        self._faults.clear()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that have strikes left."""
        return self._faults.active

    def refuse(self, symbol: str, refusal: Refusal | None) -> None:
        """Refuse a symbol from now on; None serves it again.

        Parameters
        ----------
        symbol
            The full symbol.
        refusal
            With what; None to serve it again.

        Examples
        --------
        >>> server = FakeTradingView()
        >>> server.refuse("NYSE:IBM", Refusal("symbol_error", "permission denied"))
        >>> server.refuse("NYSE:BRK.B", Refusal("series_error", "resolution_not_entitled"))
        """
        if refusal is None:
            self._backend.refusals.pop(symbol, None)
        else:
            self._backend.refusals[symbol] = refusal

    def replay(self, symbol: str, payloads: Iterable[str], *, session: str | None = None) -> None:
        """Answer series of this symbol by a recorded chart session, under the client's own ids.

        Only the main series of the session is served. A client that asks for older bars is told
        that there are none, which no recording shows.

        Parameters
        ----------
        symbol
            ``"EXCHANGE:NAME"``; it need not be in the market.
        payloads
            JSON texts as captured; see `load_packets`. A hello among them is not sent again.
        session
            The recorded name of the session, such as ``"cs_0USnzSyOw3K4"``, where there are
            several; None takes the first one.

        Raises
        ------
        ValueError
            If there is no such session.
        """
        self._backend.recordings[symbol] = Recording(payloads, session)

    def delay(self, symbol: str, delay_s: int) -> None:
        """Show a symbol late, as ``delayed_streaming_900`` does with 900 seconds; 0 is live."""
        self._backend.delays_s[symbol] = delay_s

    def correct(
        self,
        symbol: str,
        interval: str,
        time: int,
        *,
        open: float | None = None,  # noqa: A002 - what the value of a bar is called
        high: float | None = None,
        low: float | None = None,
        close: float | None = None,
        volume: float | None = None,
    ) -> None:
        """Change a bar after the fact, as exchanges do.

        Each live series that holds the bar is told at once, and whoever asks for it later has the
        new values, until this server is gone; of a day also in quotes. It is the bar that comes by
        default which is corrected: of the regular session, adjusted for splits and in the listing's
        currency. Other intervals stay as they are. From a bar that is still forming the market goes
        on: its close moves, its range widens, its volume grows.

        Parameters
        ----------
        symbol
            ``"EXCHANGE:NAME"``.
        interval
            TradingView's interval string, such as ``"1"`` or ``"1D"``.
        time
            When the bar begins, epoch seconds.
        open, high, low, close, volume
            The new values, as the listing counts them. One that is left out stays, but a high or
            low widens to hold the prices that are given.

        Raises
        ------
        ValueError
            If there is no such bar by now, it cannot have these values, or 10 000 bars have been
            corrected.

        Examples
        --------
        >>> from tvDatafeed.testing import MarketClock
        >>> server = FakeTradingView(clock=MarketClock(1_787_240_000.0, speed=0))
        >>> server.correct("NASDAQ:AAPL", "1D", 1_787_146_200, close=221.5)
        """
        moment = self._backend.clock()
        values = {"open": open, "high": high, "low": low, "close": close, "volume": volume}
        self._backend.correct(symbol, interval, time, values, moment)
        for client in self._journal.clients():
            client.notify_correction(symbol, interval, time, moment)

    def push(self, payload: str) -> None:
        """Send a payload to all WebSocket connections, as a message of its own."""
        self._post(Message("push", encode(payload), (payload,)))

    def send_raw(self, text: str) -> None:
        """Send a text message to all WebSocket connections as it is."""
        self._post(Message("push", text, (text,)))

    def tick(self) -> None:
        """Send what has changed in each open series and quote since last told, by the clock.

        Of a bar that was begun this is the present state, and then each bar that has begun since.
        """
        moment = self._backend.clock()
        for client in self._journal.clients():
            client.notify_updates(moment)

    def step(self, seconds: float) -> None:
        """Step the clock, and send what has changed; see `tick`.

        Parameters
        ----------
        seconds
            How many seconds, as for `MarketClock.step`.

        Raises
        ------
        TypeError
            If the server's clock is no `MarketClock`.
        ValueError
            If the seconds are not finite and at least 0.

        Examples
        --------
        >>> from tvDatafeed.testing import MarketClock
        >>> server = FakeTradingView(clock=MarketClock(speed=0))
        >>> server.step(60)
        """
        clock = self._backend.clock
        if not isinstance(clock, MarketClock):
            raise TypeError(
                f"this server's clock cannot be stepped: it is {clock!r}; give "
                "FakeTradingView(clock=MarketClock(...))"
            )
        clock.step(seconds)
        self.tick()

    def drop_connections(self, how: CloseMethod = "fin") -> None:
        """End all connections and go on listening.

        Parameters
        ----------
        how
            ``"fin"``, ``"rst"``, or a close code that is sent in a close frame first.
        """
        clients = self._journal.clients()
        for client in clients:
            client.abort(how)
        self.wait_until(lambda _: all(client.has_closed for client in clients), _STOP_TIMEOUT_S)

    @property
    def accepted(self) -> int:
        """How many TCP connections were ever accepted, HTTP included."""
        return self._journal.accepted

    @property
    def connections_opened(self) -> int:
        """How many WebSocket connections were ever opened."""
        return self._journal.connections_opened

    @property
    def open_connections(self) -> int:
        """How many WebSocket connections are open."""
        return self._journal.open_connections

    @property
    def open_sessions(self) -> set[str]:
        """The chart sessions that are open."""
        return self._journal.open_sessions

    @property
    def open_quote_sessions(self) -> set[str]:
        """The quote sessions that are open; they are none of `open_sessions`."""
        return self._journal.open_quote_sessions

    @property
    def peak_sessions(self) -> int:
        """The most chart sessions that were ever open at once."""
        return self._journal.peak_sessions

    @property
    def echoes(self) -> int:
        """How many heartbeats were echoed."""
        return self._journal.echoes

    @property
    def received(self) -> list[Received]:
        """All client messages but echoes, in order."""
        return self._journal.copy("received")

    @property
    def handshakes(self) -> list[Request]:
        """All requests for a WebSocket, refused ones included."""
        return self._journal.copy("handshakes")

    @property
    def http_requests(self) -> list[Request]:
        """All other HTTP requests."""
        return self._journal.copy("http_requests")

    def wait_until(
        self, predicate: Callable[["FakeTradingView"], bool], timeout_s: float = 5.0
    ) -> bool:
        """Wait until something is true of this server, without polling.

        Parameters
        ----------
        predicate
            A question about the properties above; asked again after each change of one.
        timeout_s
            How long to wait.

        Returns
        -------
        bool
            What the predicate said last.
        """
        with self._journal.changed:
            return self._journal.changed.wait_for(lambda: predicate(self), timeout_s)

    def _accept(self, listener: socket.socket, stopped: socket.socket) -> None:
        listener.setblocking(False)
        with listener, stopped, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            stop = selector.register(stopped, selectors.EVENT_READ)
            while all(key is not stop for key, _events in selector.select()):
                try:
                    sock, _address = listener.accept()
                    Connection(self._context(), sock).start()
                except (BlockingIOError, ConnectionError):
                    continue
                except (OSError, RuntimeError):
                    # Descriptors or threads are used up, and may be free again in a moment.
                    time.sleep(_SCARCITY_PAUSE_S)

    def _context(self) -> ServerContext:
        return ServerContext(
            self._backend,
            self._faults,
            self._journal,
            self._heartbeat_interval_s,
            self._tick_interval_s,
            self._echo_timeout_s,
            self._tls,
            self._link,
        )

    def _post(self, message: Message) -> None:
        for client in self._journal.clients():
            client.post(message)
