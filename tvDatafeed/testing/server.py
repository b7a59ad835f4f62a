"""A TradingView on the loopback interface: one port for the WebSocket and for HTTP.

Every connection has its own thread, and only that thread uses the socket. Other threads add to its
outbox, so that no lock is held while data is sent.
"""

import logging
import math
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from tvDatafeed.common.facts import facts
from tvDatafeed.common.hosts import is_loopback
from tvDatafeed.config import NetworkConfig, TvDatafeedConfig
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing.accounts.accounts import Account
from tvDatafeed.testing.accounts.controls import AccountControls
from tvDatafeed.testing.connection import WEBSOCKET_PATH, Connection
from tvDatafeed.testing.context import ServerContext
from tvDatafeed.testing.faults import ActiveFaults, Fault
from tvDatafeed.testing.journal import CloseMethod, Journal, Received
from tvDatafeed.testing.market.clock import MarketClock
from tvDatafeed.testing.market.corrections import CorrectedBar
from tvDatafeed.testing.market.listings import PriceOptions
from tvDatafeed.testing.market.market import Market
from tvDatafeed.testing.replaying import ReplayConnection
from tvDatafeed.testing.routes import SEARCH_PATH, WEBSOCKET_ORIGINS
from tvDatafeed.testing.sessions.backend import Backend, Refusal
from tvDatafeed.testing.sessions.playbook import Playbook
from tvDatafeed.testing.wire.actions import Message
from tvDatafeed.testing.wire.delay_line import Link
from tvDatafeed.testing.wire.http11 import Request
from tvDatafeed.testing.wire.recorded import load_recording
from tvDatafeed.testing.wire.recordings import Recording

logger: logging.Logger = logging.getLogger(__name__)

_STOP_TIMEOUT_S = 5.0
_SCARCITY_PAUSE_S = 0.01


class FakeTradingView(AccountControls):
    """A server that speaks TradingView's protocol about a made-up market.

    Parameters
    ----------
    host, port
        Where to listen. Port number 0 selects a free port and keeps it after a restart.
    market
        The listings and their bars; default `Market()`.
    clock
        Returns the market's time in epoch seconds. A `MarketClock` can be stepped and can run fast.
    heartbeat_interval_s
        Seconds between heartbeats of a connection; the default is the recorded one.
    faults
        Faults that are active from the start; see `inject`.
    tls
        A server-side TLS context. With one, the URLs are wss and https.
    bad_tokens
        Tokens that get ``protocol_error ["bad auth token"]``. All other tokens are accepted if they
        are TradingView's literal for anonymous use or an unexpired JWT; if the server has accounts,
        the JWT must be one that it issued. Can be changed later as ``server.bad_tokens``.
    max_bars_per_reply
        The most bars that a series gets, counted back from the latest bar.
    plan_limits
        For intraday bars, that limit by the plan in the client's token, ``""`` being the free plan;
        `PLAN_BARS` has the limits on TradingView's pages.
    max_sessions_per_connection
        How many chart and quote sessions a connection may open in its lifetime; the next one gets
        ``protocol_error ["max sessions rate reached"]``. None for no limit.
    max_connections_per_account
        How many connections may be signed in with tokens of one account; with one more, the oldest
        gets ``protocol_error ["user connections limit reached"]`` and is closed. None for no limit;
        anonymous clients have none.
    tick_interval_s
        Seconds between updates of open series and quotes; None sends them only by `tick`.
    echo_timeout_s
        Close a connection when its client has not echoed a heartbeat for this many seconds; None
        for no limit.
    accounts
        The accounts that can sign in; the attributes of `SignInRules` configure how they do.
    round_trip_s
        Seconds from a command to its answer, and the delay of all other messages to the client. The
        server keeps working meanwhile, so commands that were sent together are answered together.
        TCP and TLS handshakes are not delayed.
    bandwidth_bytes_per_s
        How many bytes reach the client in a second, one message after the other; None for no limit.
        Each connection has its own link: two clients have twice the bandwidth.
    origins
        The values of the ``Origin`` header with which a WebSocket is accepted; with another one it
        gets 403. ``https://s.tradingview.com`` is one of them, although the reports about it
        disagree. Can be changed later as ``server.origins``.
    max_series
        The most series that a chart session may have at a time; None for the limits that were
        reported: 1 for an anonymous client, 10 for one with an account.
    ignore_dead_sessions
        Whether commands of a chart session are ignored after its critical_error. By default, they
        get ``protocol_error`` with ``unknown_session_id``, as all commands of a session that was
        not created or is deleted, and the server closes. Those of a quote session are ignored after
        its critical_error in any case, and so are those of a session that a fault has aborted.

    Raises
    ------
    ValueError
        If the round trip or the bandwidth is not valid.

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
        heartbeat_interval_s: float = 10.0,
        faults: Iterable[Fault] = (),
        tls: ssl.SSLContext | None = None,
        bad_tokens: Iterable[str] = (),
        max_bars_per_reply: int = 40_000,
        plan_limits: Mapping[str, int] | None = None,
        max_sessions_per_connection: int | None = 200,
        max_connections_per_account: int | None = None,
        tick_interval_s: float | None = None,
        echo_timeout_s: float | None = 20.0,
        accounts: Iterable[Account] = (),
        round_trip_s: float = 0.0,
        bandwidth_bytes_per_s: float | None = None,
        origins: Iterable[str] = WEBSOCKET_ORIGINS,
        max_series: int | None = None,
        ignore_dead_sessions: bool = False,
    ) -> None:
        super().__init__(accounts, Journal())
        self.market: Market = market or Market()
        self.bad_tokens: set[str] = set(bad_tokens)
        self.origins: set[str] = set(origins)
        self._heartbeat_interval_s = heartbeat_interval_s
        self._tick_interval_s = tick_interval_s or math.inf
        self._echo_timeout_s = echo_timeout_s or math.inf
        self._link = Link(round_trip_s, bandwidth_bytes_per_s)
        self._backend = Backend(
            self.market,
            clock,
            self._accounts,
            self.bad_tokens,
            max_bars_per_reply,
            plan_limits,
            max_sessions_per_connection,
            max_connections_per_account,
            max_series,
            ignore_dead_sessions,
        )
        self._faults = ActiveFaults(faults)
        self._book: Playbook | None = None
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
        """Start to listen. Calling it on a running server has no effect.

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
                # Except on Windows, this only allows a restarted server to use its port again.
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
        """Stop listening and abort all connections without a close frame, as a killed server does.

        Calling it on a stopped server has no effect. It can be started again on the same port.
        """
        with self._lifecycle:
            listener, self._listener = self._listener, None
            acceptor, self._acceptor = self._acceptor, None
            if listener is None or acceptor is None:
                return
            # Closing a socket does not end its accept on all platforms; a byte on this one does.
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
        """The port; 0 before the first start if none was chosen."""
        return self._port

    @property
    def ws_url(self) -> str:
        """The URL of the WebSocket."""
        return f"{'wss' if self._tls else 'ws'}://{self._authority}{WEBSOCKET_PATH}"

    @property
    def base_url(self) -> str:
        """The URL that replaces ``https://www.tradingview.com``."""
        return f"{'https' if self._tls else 'http'}://{self._authority}"

    @property
    def search_url(self) -> str:
        """The URL of the symbol search."""
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
            # A server that a program has started for its tests may listen for other machines.
            "allow_insecure": not is_loopback(self._host),
        }
        return TvDatafeedConfig(network=NetworkConfig(**{**urls, **overrides}))

    def inject(self, *faults: Fault) -> None:
        """Add faults; each is applied as often as its ``times`` says."""
        self._faults.inject(*faults)

    def clear_faults(self) -> None:
        """Remove all faults; effects that have begun, such as a frozen socket, stay."""
        self._faults.clear()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that are still applied."""
        return self._faults.active

    def refuse(self, symbol: str, refusal: Refusal | None) -> None:
        """Refuse a symbol from now on; None serves it again.

        Parameters
        ----------
        symbol
            The full symbol.
        refusal
            The refusal to send; None to serve the symbol again.

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

    @overload
    def replay(
        self, symbol: str, payloads: Iterable[str], *, session: str | None = None
    ) -> None: ...

    @overload
    def replay(self, symbol: "str | os.PathLike[str]", *, speed: float | None = None) -> None: ...

    def replay(
        self,
        symbol: "str | os.PathLike[str]",
        payloads: Iterable[str] | None = None,
        *,
        session: str | None = None,
        speed: float | None = None,
    ) -> None:
        """Answer from a recording: all requests from a file, or one symbol from a chart session.

        ``replay(FILE)`` plays a file that ``TV_RECORD`` or ``tvdatafeed record`` has written: from
        then on, new connections and HTTP requests are answered from it and the market is not used.
        Clients that send the same requests get the same answers, whatever the times, ids, passwords
        and tokens; after its last connection the recording begins again. A request that was not
        recorded is refused, and `differences` says what the recording has in its place.

        ``replay(SYMBOL, payloads)`` serves the main series of one recorded session, with the
        client's own ids. A request for older bars gets the next older page of the recording; after
        the last one it is answered without bars, which is made up.

        Parameters
        ----------
        symbol
            The file; or ``"EXCHANGE:NAME"``, which need not be in the market.
        payloads
            JSON texts as captured; see `load_packets`. A recorded hello is not sent again.
        session
            The recorded name of the session, such as ``"cs_0USnzSyOw3K4"``; None for the first
            session of the recording.
        speed
            Of a file: how many recorded seconds pass in a second; infinity: no pause, so that live
            updates may come before a program listens. Default: as recorded, but no pause between
            two messages is longer than a tenth of a second.

        Raises
        ------
        ValueError
            If the recording does not have this session, or the file is not a whole recording.
        OSError
            If the file cannot be read.
        """
        if payloads is not None:
            self._backend.recordings[os.fspath(symbol)] = Recording(payloads, session)
            return
        if speed is not None and not speed > 0:
            raise ValueError(f"speed must be a number above 0, not {speed!r}")
        self._book = Playbook(load_recording(os.fspath(symbol)), speed, self._report)

    def _report(self, difference: str) -> None:
        logger.warning("the replay differs: %s", difference, extra=facts(reason=difference))
        self._journal.record("differences", difference)

    @property
    def differences(self) -> list[str]:
        """What clients of a replayed file asked for that it does not have, one sentence each."""
        return self._journal.copy("differences")

    def delay(self, symbol: str, delay_s: int) -> None:
        """Delay a symbol, like ``delayed_streaming_900`` with 900 seconds; 0 for no delay.

        Its history, live series and quotes are those of that many seconds ago for all clients,
        except accounts whose `realtime` has the symbol or its exchange.

        Parameters
        ----------
        symbol
            ``"EXCHANGE:NAME"``; or ``"EXCHANGE"`` for all its symbols without a delay of their own.
        delay_s
            Seconds; 0 for no delay.

        Examples
        --------
        >>> paid = Account("ann", "opensesame", plan="pro", realtime=("NASDAQ",))
        >>> server = FakeTradingView(accounts=[paid, Account("bob", "opensesame", id=43)])
        >>> server.delay("NASDAQ", 900)
        """
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
        options: PriceOptions | None = None,
    ) -> None:
        """Change a bar after the fact, as exchanges do.

        Each live series that holds the bar gets the new values at once, and later requests return
        them for the lifetime of this server. Quotes use them too if the bar is daily and `options`
        are the default. Bars of other intervals, or with other options, do not change. A bar that
        is still forming continues from the corrected values: its close moves, its range widens, its
        volume grows. A later split or dividend applies to the corrected bar as to any other.

        Parameters
        ----------
        symbol
            ``"EXCHANGE:NAME"``.
        interval
            TradingView's interval string, such as ``"1"`` or ``"1D"``.
        time
            The time of the bar, epoch seconds.
        open, high, low, close, volume
            The new values: prices in the currency of the bar, volume in its units. Omitted values
            do not change, except that high and low widen to include the new prices.
        options
            The options of the bar; default: `PriceOptions()`, which means the regular session,
            adjusted for splits, in the listing's currency.

        Raises
        ------
        ValueError
            If the bar does not exist yet, the values are not valid, or 10 000 bars have been
            corrected already.

        Examples
        --------
        >>> from tvDatafeed.testing import MarketClock
        >>> server = FakeTradingView(clock=MarketClock(1_787_240_000.0, speed=0))
        >>> server.correct("NASDAQ:AAPL", "1D", 1_787_146_200, close=221.5)
        """
        moment = self._backend.clock()
        values = {"open": open, "high": high, "low": low, "close": close, "volume": volume}
        options = self._backend.canonical_options(symbol, interval, options or PriceOptions())
        bar = CorrectedBar(symbol, interval, time, options)
        self._backend.correct(bar, values, moment)
        for client in self._journal.clients():
            client.notify_correction(bar, moment)

    def split(
        self,
        symbol: str,
        ratio: float,
        *,
        before: float | None = None,
        at: float | None = None,
    ) -> None:
        """Split a stock while the server runs: from a moment on, its earlier bars are restated.

        In all later answers, bars that open before `before` have prices divided by the ratio and
        volumes multiplied by it, on every interval: in history, older pages, live updates and the
        daily values of quotes. Prices are rounded to ticks, volumes to units. Series with
        adjustment "none" do not change. Later bars do not change either: the made-up price does not
        fall with the split. Splits, dividends and corrections add up in the order of their effect.

        No recording shows what an open series gets. Here, no message announces a split: bars that a
        client has stay as they are, except that the last bar, if it is restated, has the new values
        at the next update.

        Parameters
        ----------
        symbol
            ``"EXCHANGE:NAME"``.
        ratio
            How many shares one share becomes: 4, or 0.1 for a reverse split.
        before
            The open of the first bar with new prices, epoch seconds; default: `at`. A bar, such as
            of a week, that opened earlier is restated as a whole.
        at
            When the split takes effect, epoch seconds by the server's clock; default: now. It takes
            effect at the same moment for delayed clients.

        Raises
        ------
        ValueError
            If the symbol does not exist, `at` is in the past, the ratio is not a finite number
            above 0, or there have been 1000 splits and dividends.

        Examples
        --------
        >>> from tvDatafeed.testing import MarketClock
        >>> server = FakeTradingView(clock=MarketClock(1_787_240_000.0, speed=0))
        >>> server.split("NASDAQ:AAPL", 4, before=1_787_232_600)
        """
        self._backend.split(symbol, ratio, before, at)

    def dividend(
        self,
        symbol: str,
        amount: float,
        *,
        before: float | None = None,
        at: float | None = None,
    ) -> None:
        """Pay a dividend while the server runs: series adjusted for dividends are restated.

        As `split`, but only series with adjustment "dividends" change, and their volumes do not:
        prices of bars that open before `before` are multiplied by ``1 - amount / close``, where
        close is that of the last daily bar among them.

        Parameters
        ----------
        symbol
            ``"EXCHANGE:NAME"``.
        amount
            The amount per share, a price in the listing's currency.
        before
            The open of the ex-date, epoch seconds; default: `at`.
        at
            When the series are restated, epoch seconds by the server's clock; default: now.

        Raises
        ------
        ValueError
            As for `split`; or if the amount is not above 0 and below that close.

        Examples
        --------
        >>> from tvDatafeed.testing import MarketClock
        >>> server = FakeTradingView(clock=MarketClock(1_787_240_000.0, speed=0))
        >>> server.dividend("NASDAQ:AAPL", 0.25, before=1_787_232_600)
        """
        self._backend.dividend(symbol, amount, before, at)

    def push(self, payload: str) -> None:
        """Send a payload to all WebSocket connections, as one message."""
        self._post(Message("push", encode(payload), (payload,)))

    def send_raw(self, text: str) -> None:
        """Send a text message unchanged to all WebSocket connections."""
        self._post(Message("push", text, (text,)))

    def tick(self) -> None:
        """Send what has changed in each open series and quote since the last update.

        A series gets the current state of its last bar, then each bar that has begun since.
        """
        moment = self._backend.clock()
        for client in self._journal.clients():
            client.notify_updates(moment)

    def step(self, seconds: float) -> None:
        """Step the clock and send what has changed; see `tick`.

        Parameters
        ----------
        seconds
            How many seconds, as for `MarketClock.step`.

        Raises
        ------
        TypeError
            If the server's clock is not a `MarketClock`.
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
        """Close all connections and keep listening.

        Parameters
        ----------
        how
            ``"fin"``, ``"rst"``, or the code of a close frame that is sent before the FIN.
        """
        clients = self._journal.clients()
        for client in clients:
            client.abort(how)
        self.wait_until(lambda _: all(client.has_closed for client in clients), _STOP_TIMEOUT_S)

    @property
    def accepted(self) -> int:
        """How many TCP connections have been accepted, including HTTP."""
        return self._journal.accepted

    @property
    def connections_opened(self) -> int:
        """How many WebSocket connections have been opened."""
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
        """The quote sessions that are open; `open_sessions` does not include them."""
        return self._journal.open_quote_sessions

    @property
    def peak_sessions(self) -> int:
        """The most chart sessions that were open at the same time."""
        return self._journal.peak_sessions

    @property
    def echoes(self) -> int:
        """How many heartbeats were echoed."""
        return self._journal.echoes

    @property
    def received(self) -> list[Received]:
        """All client messages except echoes, in order."""
        return self._journal.copy("received")

    @property
    def handshakes(self) -> list[Request]:
        """All requests for a WebSocket, including refused ones."""
        return self._journal.copy("handshakes")

    @property
    def http_requests(self) -> list[Request]:
        """All other HTTP requests."""
        return self._journal.copy("http_requests")

    def wait_until(
        self, predicate: Callable[["FakeTradingView"], bool], timeout_s: float = 5.0
    ) -> bool:
        """Wait, without polling, until a condition on this server is true.

        Parameters
        ----------
        predicate
            A function of this server; called again after each change of the properties above.
        timeout_s
            How long to wait, in seconds.

        Returns
        -------
        bool
            The last result of the predicate.
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
                    self._connection(sock).start()
                except (BlockingIOError, ConnectionError):
                    continue
                except (OSError, RuntimeError):
                    # Out of descriptors or threads; try again after a pause.
                    time.sleep(_SCARCITY_PAUSE_S)

    def _connection(self, sock: socket.socket) -> Connection:
        if self._book is None:
            return Connection(self._context(), sock)
        return ReplayConnection(self._context(), sock, self._book, self._authority)

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
            self.origins,
        )

    def _post(self, message: Message) -> None:
        for client in self._journal.clients():
            client.post(message)
