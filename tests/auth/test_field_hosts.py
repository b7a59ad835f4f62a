"""The host belongs to the plan of the token that a connection is opened with."""

import contextlib
import dataclasses
import pickle
import socket
import ssl
import threading

import pytest
import trustme

from tests.auth.accounts import ANN, PAYS, cookies_of
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, TvDatafeed, TvDatafeedConfig, TvDatafeedLive
from tvDatafeed.config import AuthConfig, NetworkConfig
from tvDatafeed.testing import FakeTradingView, Redirect

FREE, PAID = "data.tradingview.com", "prodata.tradingview.com"
DEFAULT_URL = f"wss://{FREE}/socket.io/websocket"


class Tunnels:
    """A proxy that leads every host to one loopback server, and remembers the hosts."""

    def __init__(self, port):
        self.hosts = []
        self._port = port
        self._threads = []
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        self._start(self._serve)
        return self

    def __exit__(self, *_exception):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for sock in self._sockets:
            sock.close()

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _serve(self):
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            self.hosts.append(request.split()[1].decode().partition(":")[0])
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._start(self._pump, client, server)
            self._start(self._pump, server, client)

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of the tests' own."""
    return trustme.CA()


@pytest.fixture
def site(authority, cache_file):
    """A TradingView with accounts that has TradingView's own names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "*.tradingview.com").configure_cert(context)
    with FakeTradingView(accounts=(ANN, PAYS), tls=context) as running:
        yield running


@pytest.fixture
def tunnels(site):
    with Tunnels(site.port) as running:
        yield running


@pytest.fixture
def config(site, tunnels, authority, tmp_path):
    """Settings that name no WebSocket: TradingView's own hosts, through the tunnels."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return TvDatafeedConfig(
        network=NetworkConfig(
            base_url=site.base_url,
            search_url=site.search_url,
            proxy=tunnels.url,
            ca_file=str(file),
            base_retry_delay=0.02,
        )
    )


def with_network(config, **changes):
    return dataclasses.replace(config, network=dataclasses.replace(config.network, **changes))


def get(tv):
    assert len(tv.get_hist("NASDAQ:AAPL", n_bars=3)) == 3


@pytest.mark.parametrize("account", [ANN, PAYS])
@pytest.mark.parametrize("way", ["token", "cookies", "password"])
def test_each_way_in_is_served_by_the_host_of_its_plan(site, tunnels, config, account, way):
    """The first request opens the host of the plan, by whatever way the token was had."""
    host = PAID if account.plan else FREE
    given = {
        "token": lambda: {"auth_token": site.issue_token(account)},
        "cookies": lambda: cookies_of(site, account),
        "password": lambda: {"username": account.username, "password": account.password},
    }[way]()
    with TvDatafeed(config=config, token_cache=False, **given) as tv:
        get(tv)
        assert host in repr(tv)
    assert tunnels.hosts == [host]
    origin = f"https://{'www.tradingview.com' if host == PAID else FREE}"
    assert site.handshakes[0].headers["origin"] == origin


@pytest.mark.parametrize("has_account", [True, False])
def test_an_assigned_token_of_another_plan_opens_its_own_host(site, tunnels, config, has_account):
    """The next request after an upgrade goes to the host for paid plans, and back."""
    given = {"auth_token": site.issue_token(ANN)} if has_account else {}
    with TvDatafeed(config=config, **given) as tv:
        get(tv)
        tv.token = site.issue_token(PAYS)
        get(tv)
        get(tv)
        tv.token = site.issue_token(ANN)
        get(tv)
    assert tunnels.hosts == [FREE, PAID]


def test_a_renewed_token_opens_the_host_of_its_plan(site, tunnels, config):
    """A refused free token is renewed by cookies of a paid plan, which have its host."""
    token = site.issue_token(ANN)
    with TvDatafeed(config=config, auth_token=token, **cookies_of(site, PAYS)) as tv:
        get(tv)
        site.expire_tokens()
        site.drop_connections()
        get(tv)
    assert tunnels.hosts == [FREE, FREE, PAID]


def test_the_live_feed_has_the_host_of_its_plan(site, tunnels, config):
    """A live feed is opened on the host for paid plans, after a loss too."""
    with TvDatafeedLive(config=config, auth_token=site.issue_token(PAYS)) as tvl:
        assert tvl.new_seis("BTCUSD", "BITSTAMP", Interval.in_1_minute)
        assert len(tunnels.hosts) == 1
        site.drop_connections()
        assert site.wait_until(lambda s: s.connections_opened == 2)
    assert set(tunnels.hosts) == {PAID}


@pytest.mark.parametrize("by", ["config", "environment"])
def test_a_websocket_that_is_named_stays_though_it_is_the_default(
    site, tunnels, config, monkeypatch, by
):
    """A program that names the free host has it with a paid plan too."""
    if by == "config":
        config = with_network(config, ws_url=DEFAULT_URL)
    else:
        monkeypatch.setenv("TV_WS_URL", DEFAULT_URL)
        url = TvDatafeedConfig.from_env().network.ws_url
        config = with_network(config, ws_url=url)
    with TvDatafeed(config=config, auth_token=site.issue_token(PAYS)) as tv:
        get(tv)
    assert tunnels.hosts == [FREE]


def test_settings_that_were_copied_name_no_websocket():
    """Settings follow the plan after a pickle and a change of something else, too."""
    network = pickle.loads(pickle.dumps(NetworkConfig()))  # noqa: S301 - our own
    assert dataclasses.replace(network, max_retries=1).follows_plan
    assert NetworkConfig() == NetworkConfig(ws_url=DEFAULT_URL)


def test_a_redirect_of_one_host_is_not_that_of_the_other(site, tunnels, config):
    """A redirect is followed and kept for the host that sent it."""
    site.inject(Redirect("history-data.tradingview.com", times=1))
    with TvDatafeed(config=config) as tv:
        get(tv)
        tv.token = site.issue_token(PAYS)
        get(tv)
        site.drop_connections()
        tv.token = site.issue_token(ANN)
        get(tv)
    redirected = "history-data.tradingview.com"
    assert tunnels.hosts == [FREE, redirected, PAID, redirected]


def test_a_token_in_the_settings_counts_as_well(site, tunnels, config):
    """The plan of a token in the settings decides as that of a parameter does."""
    auth = AuthConfig(auth_token=site.issue_token(PAYS))
    with TvDatafeed(config=dataclasses.replace(config, auth=auth)) as tv:
        get(tv)
    assert tunnels.hosts == [PAID]
