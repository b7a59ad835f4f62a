"""The checks of ``tvdatafeed doctor``: from this machine's files to the quotes of a symbol.

Slow or optional modules are not imported here: a check finds what is missing on this machine.
"""

import contextlib
import dataclasses
import datetime as dt
import importlib
import importlib.metadata
import platform
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Generator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import tvDatafeed
from tvDatafeed.cli.account import account_config, describe_identity
from tvDatafeed.common.checks import Check, Finding, Step, run_checks
from tvDatafeed.common.hosts import is_loopback
from tvDatafeed.exceptions import (
    AuthenticationError,
    RateLimitError,
    TvDatafeedError,
    WebSocketTimeoutError,
)
from tvDatafeed.main import TvDatafeed

if TYPE_CHECKING:
    from tvDatafeed.config import NetworkConfig, TvDatafeedConfig
    from tvDatafeed.network.layers import LayeredConnection

__all__ = ["examine"]

_ALL_S = 120.0
# The maximum time of a check, also if the settings allow more.
_LONGEST_S = 15.0
_LOCAL_S = 10.0
# The symbol that is requested only to see whether the token is accepted.
_TOKEN_S = 5.0
# A code of the second factor is valid for 30 s; the times of HTTP have whole seconds.
_LARGEST_CLOCK_ERROR_S = 5.0
_BARS = 10
_FOUND = 5
_PACKAGES = ("pandas", "numpy", "websocket-client", "requests", "msgspec", "certifi")
_ZONES = ("America/New_York", "Asia/Kolkata")
_URL = re.compile(r" \(URL: [^)]*\)")


def examine(symbol: str) -> Generator[Check, None, None]:
    """Run all checks, and yield each as soon as it has ended.

    Parameters
    ----------
    symbol
        The symbol of the bars and quotes, such as "BINANCE:BTCUSDT".

    Raises
    ------
    ConfigurationError
        If an environment variable has an invalid value.
    """
    examination = _Examination(account_config(), symbol)
    with contextlib.closing(examination):
        yield from run_checks(examination.steps(), _ALL_S, explain)


def explain(error: Exception) -> Finding:
    """Return the finding of an exception: what happened, and the next step in its message."""
    if not isinstance(error, TvDatafeedError):
        return Finding(
            False, f"{type(error).__name__}: {error}", "please report this, with all lines of it"
        )
    return _failure(_URL.sub("", " ".join(str(error).split())))


def _failure(text: str) -> Finding:
    """Return the finding of a sentence that ends with the next step."""
    message, _, advice = text.partition("; ")
    return Finding(False, message, advice)


class _Examination:
    """The checks of one run, and the results that later checks need."""

    def __init__(self, config: "TvDatafeedConfig", symbol: str) -> None:
        # A fault must be reported, not retried.
        network = dataclasses.replace(
            config.network,
            max_retries=0,
            connect_timeout=min(config.network.connect_timeout, _LONGEST_S),
            max_response_time=min(config.network.max_response_time, _LONGEST_S),
        )
        self._config = dataclasses.replace(config, network=network)
        self._network = network
        self._symbol = symbol
        self._stop = threading.Event()
        self._layers: LayeredConnection | None = None
        self._client: TvDatafeed | None = None
        # The server's clock minus this machine's, from the hello.
        self._clock_error_s: float | None = None
        self._is_alive = False
        self._is_anonymous = True

    def close(self) -> None:
        """Stop running checks, and close all connections."""
        self._stop.set()
        if self._client is not None:
            self._client.close()
        if self._layers is not None:
            self._layers.close()

    def steps(self) -> list[Step]:
        """Return the checks in their order; the advice is for failures without their own."""
        network = self._network
        connect_s, answer_s = network.connect_timeout, network.max_response_time
        ping_s = min(network.ping_timeout, _LONGEST_S)
        other_network = "try another network, or set TV_PROXY if this one needs a proxy"
        where = f"check TV_WS_URL if it is set; {other_network}"
        return [
            Step(
                "versions",
                _versions,
                _LOCAL_S,
                advice="pip install --upgrade --force-reinstall tvdatafeed",
            ),
            Step("zone files", _zone_files, _LOCAL_S, advice="pip install tzdata"),
            Step(
                "cache folder",
                self._cache_folder,
                _LOCAL_S,
                advice="set TV_TOKEN_CACHE to a file in a folder of your own, or to off",
            ),
            Step("name lookup", self._name_lookup, connect_s, advice=other_network),
            Step(
                "TCP",
                self._tcp,
                connect_s,
                ("name lookup",),
                f"a firewall may be in the way: {other_network}",
            ),
            Step("proxy", self._proxy, connect_s, ("TCP",), "check TV_PROXY"),
            Step("TLS", self._tls, connect_s, ("proxy",), other_network),
            Step("handshake", self._handshake, connect_s, ("TLS",), where),
            Step("hello", self._hello, connect_s, ("handshake",), where),
            Step(
                "clock",
                self._clock,
                connect_s,
                advice="set the clock of this machine, by NTP for example",
            ),
            Step(
                "heartbeat",
                self._heartbeat,
                ping_s,
                ("hello",),
                f"something on the way holds messages back: {other_network}",
            ),
            Step(
                "token",
                self._token,
                answer_s + _TOKEN_S,
                advice=self._way_to_a_token(),
            ),
            Step(
                "history",
                self._history,
                answer_s,
                ("token", "heartbeat"),
                "try again, and with another --symbol",
            ),
            Step(
                "search",
                self._search,
                answer_s,
                advice="check TV_SEARCH_URL if it is set; bars need no search",
            ),
            Step(
                "quotes",
                self._quotes,
                answer_s,
                ("token", "heartbeat"),
                "try again, and with another --symbol",
            ),
        ]

    def _cache_folder(self, _deadline: float) -> Finding | str:
        from tvDatafeed.auth.cache import TokenCache  # noqa: PLC0415 - as said above

        place = self._config.auth.token_cache
        if place is False:
            return Finding(None, "no login is kept: TV_TOKEN_CACHE is off, or there is no home")
        cache = TokenCache(place)
        problem = cache.problem()
        if problem:
            return _failure(problem)
        return f"{cache.path}, {'its user alone reads it' if cache.path.exists() else 'not yet'}"

    def _name_lookup(self, deadline: float) -> Finding | str:
        from tvDatafeed.network.layers import LayeredConnection  # noqa: PLC0415 - as above

        self._layers = layers = LayeredConnection(self._network_to_use(), self._stop.is_set)
        if layers.proxy is not None:
            return Finding(None, f"the proxy looks {layers.host} up")
        try:
            found = layers.look_up(deadline)
        except TvDatafeedError as error:
            return _unreachable(error, layers.host)
        addresses = (f"IPv{version} {_some(found[version])}" for version in found)
        return f"{layers.host}: {', '.join(addresses)}"

    def _tcp(self, deadline: float) -> Finding | str:
        layers = self._opened()
        if layers.proxy is not None:
            return Finding(None, f"the proxy connects to {layers.host}:{layers.port}")
        try:
            return f"connected to {layers.connect(deadline) or layers.host}, port {layers.port}"
        except TvDatafeedError as error:
            return _unreachable(error, layers.host)

    def _proxy(self, deadline: float) -> Finding | str:
        layers = self._opened()
        if layers.proxy is None:
            unused = _proxy_of_the_system()
            return f"none; that of the system, {unused}, is not used" if unused else "none"
        layers.open_tunnel(deadline)
        return f"{_place(layers.proxy)}, from TV_PROXY"

    def _tls(self, deadline: float) -> Finding | str:
        layers = self._opened()
        if not layers.is_secure:
            return "none: the URL is one without TLS"
        try:
            issuer = layers.secure(deadline)
        except TvDatafeedError as error:
            if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise
            found = explain(error)
            issuer = layers.unverified_issuer(deadline)
            by = f", issued by {issuer}" if issuer else ""
            return Finding(False, f"{found.message}{by}", found.advice)
        trust = ""
        if self._network.ca_file is not None and layers.is_private_authority(deadline):
            trust = "; no public authority: TLS is inspected on the way, and TV_CA_FILE trusts that"
        return f"the certificate is issued by {issuer or 'an authority without a name'}{trust}"

    def _handshake(self, deadline: float) -> Finding | str:
        layers = self._opened()
        origin = next(
            (v for k, v in self._network_to_use().ws_headers.items() if k.lower() == "origin"),
            "none",
        )
        try:
            layers.shake_hands(deadline)
        except RateLimitError as error:
            return Finding(False, explain(error).message, "wait, and open fewer connections")
        except TvDatafeedError as error:
            found = explain(error)
            if "status 403" in found.message:
                advice = (
                    "TradingView refuses the Origin, or this address: leave ws_headers at their "
                    "default, or try another network (TV_PROXY)"
                )
                return Finding(False, f"{found.message}, with the Origin {origin}", advice)
            if "not available" in found.message:
                return Finding(False, found.message, "try again later: the server has a problem")
            return found
        return f"accepted, with the Origin {origin}"

    def _hello(self, deadline: float) -> str:
        layers = self._opened()
        hello, came_at = layers.receive_hello(deadline)
        if hello.timestamp_ms is not None:
            self._clock_error_s = hello.timestamp_ms / 1000 - came_at
        host = urlsplit(layers.url).netloc
        is_moved = layers.url != self._network_to_use().ws_url
        moved = f", to which {layers.host} redirects" if is_moved else ""
        return f"from {host}{moved}"

    def _clock(self, deadline: float) -> Finding | str:
        error_s, source = self._clock_error_s, "its hello"
        if error_s is None:
            error_s, source = self._clock_error_by_http(deadline), "the Date of its HTTP"
        if error_s is None:
            return Finding(None, "not known: no answer of the server has a time")
        way = "behind" if error_s > 0 else "ahead of"
        message = f"{abs(error_s):.1f} s {way} the server's, by {source}"
        if abs(error_s) <= _LARGEST_CLOCK_ERROR_S:
            return message
        return Finding(
            False, f"{message}: codes of the second factor fail, and bars close at wrong times"
        )

    def _clock_error_by_http(self, deadline: float) -> float | None:
        from tvDatafeed.network.http import HttpClient  # noqa: PLC0415 - as above

        try:
            reply = HttpClient(self._network).get(self._network.search_url, deadline=deadline)
        except TvDatafeedError:
            return None
        return None if reply.date is None else reply.date - time.time()

    def _token(self, _deadline: float) -> Finding | str:
        from tvDatafeed.auth.authenticator import Authenticator  # noqa: PLC0415 - as above

        authenticator = Authenticator(self._config)
        who = authenticator.identity()
        config = dataclasses.replace(self._config, network=authenticator.network())
        self._client = TvDatafeed(auth_token=authenticator.token(), config=config, store=False)
        self._is_anonymous = who.source == "anonymous"
        if self._is_anonymous:
            message = "anonymous: TradingView limits what it gives to anyone"
        else:
            message = describe_identity(who)
        if who.source == "password":
            message += f", which was sent to {self._network.base_url}"
        if who.expires_at is not None and who.expires_at <= time.time():
            return Finding(False, message)
        if not self._is_alive:
            return Finding(None, f"{message}; not sent, since there is no connection")
        self._client.max_response_time = min(self._network.max_response_time, _TOKEN_S)
        try:
            self._client.get_symbol_info(self._symbol)
        except AuthenticationError as error:
            return Finding(False, f"{message}: {explain(error).message}")
        except TvDatafeedError:
            # The following checks find the problem.
            return Finding(None, f"{message}; not known whether it is accepted")
        finally:
            self._client.max_response_time = self._network.max_response_time
        return f"{message}; accepted"

    def _heartbeat(self, deadline: float) -> str:
        started = time.monotonic()
        layers = self._opened()
        layers.ping(deadline)
        # An account may have few connections: the client needs the next one.
        layers.close()
        self._is_alive = True
        return f"a ping was answered after {(time.monotonic() - started) * 1000:.0f} ms"

    def _history(self, _deadline: float) -> Finding | str:
        client = self._ready()
        try:
            bars = client.get_hist(self._symbol, n_bars=_BARS, timezone="UTC", store="off")
        except WebSocketTimeoutError as error:
            if self._is_anonymous:
                raise
            # TradingView answers such a token with heartbeats alone.
            advice = f"if the token was revoked, {self._way_to_a_token()}"
            return Finding(False, explain(error).message, advice)
        last = bars.index[-1].strftime("%Y-%m-%d")
        return f"{len(bars)} daily bars of {self._symbol}, the last of {last}"

    def _search(self, deadline: float) -> Finding | str:
        from tvDatafeed.query.search import SearchQuery  # noqa: PLC0415 - as above
        from tvDatafeed.ratelimit import RateLimiter  # noqa: PLC0415 - as above
        from tvDatafeed.symbology.search import find  # noqa: PLC0415 - as above

        text = self._symbol.rpartition(":")[2]
        seconds = deadline - time.monotonic()
        query = SearchQuery(text, "", "", _FOUND)
        found = find(query, self._network, RateLimiter(), seconds, raise_on_error=True)
        host = urlsplit(self._network.search_url).netloc
        if not found:
            return Finding(False, f"{host} finds nothing that is called {text}")
        return f"{host} finds {found[0]['full_name']} for {text}"

    def _quotes(self, _deadline: float) -> str:
        (row,) = self._ready().get_quotes(self._symbol).to_dict("records")
        return f"{self._symbol} {row['last']} {row['currency'] or ''}, {row['update_mode']}"

    def _way_to_a_token(self) -> str:
        """Return the next step after a token, or credentials for one, were refused."""
        auth = self._config.auth
        if auth.auth_token:
            return "put a fresh token into TV_AUTH_TOKEN, or unset it and run: tvdatafeed login"
        if auth.sessionid:
            return (
                "sign in with a browser, and put its cookies into TV_SESSIONID and "
                "TV_SESSIONID_SIGN"
            )
        if auth.username:
            return "check TV_USERNAME, TV_PASSWORD and the second factor; sign in with a browser"
        return "sign in again: tvdatafeed login"

    def _network_to_use(self) -> "NetworkConfig":
        """Return the network settings, as far as known without sending anything."""
        token = self._config.auth.auth_token
        if not token:
            return self._network
        from tvDatafeed.auth.authenticator import network_of_plan  # noqa: PLC0415 - as above
        from tvDatafeed.auth.token import plan_of  # noqa: PLC0415 - as above

        return network_of_plan(self._network, plan_of(token))

    def _opened(self) -> "LayeredConnection":
        assert self._layers is not None  # noqa: S101 - the order of the checks
        return self._layers

    def _ready(self) -> TvDatafeed:
        assert self._client is not None  # noqa: S101 - as above
        return self._client


def _versions(_deadline: float) -> Finding | str:
    # Hides websocket-client if another package of that name is installed.
    importlib.import_module("tvDatafeed.network.websocket")
    texts = [f"Python {platform.python_version()}", f"tvDatafeed {tvDatafeed.__version__}"]
    missing = []
    for name in _PACKAGES:
        try:
            texts.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    texts += [ssl.OPENSSL_VERSION, f"{platform.system()} {platform.machine()}"]
    if missing:
        return Finding(False, f"{', '.join(missing)} is not installed; {', '.join(texts)}")
    return ", ".join(texts)


def _zone_files(_deadline: float) -> str:
    from tvDatafeed.query.dates import local_timezone, timezone_named  # noqa: PLC0415 - as above

    for name in _ZONES:
        timezone_named(name)
    local = local_timezone()
    now = dt.datetime.now(dt.timezone.utc).astimezone(local)
    return f"found; local time is {local or 'of no named zone'}, now {now.strftime('UTC%z')}"


def _unreachable(error: TvDatafeedError, host: str) -> Finding:
    """Return the finding of an unreachable host; perhaps a proxy can reach it."""
    found = explain(error)
    unused = None if is_loopback(host) else _proxy_of_the_system()
    if unused is None:
        return found
    return Finding(False, found.message, f"the system has a proxy: set TV_PROXY={unused}")


def _proxy_of_the_system() -> str | None:
    """Return the proxy that other programs use here, without its credentials."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("http")
    return _place(proxy) if proxy else None


def _place(proxy: str) -> str:
    """Return the URL of a proxy without its credentials."""
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return f"http://{parts.netloc.rpartition('@')[2]}"


def _some(addresses: list[str]) -> str:
    if not addresses:
        return "none"
    more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
    return f"{addresses[0]}{more}"
