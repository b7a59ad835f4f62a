"""The open series of a feed are on the host of the token that it has."""

import itertools
import ssl
import time

import pytest
import trustme

from tests.auth.accounts import ANN, PAYS, cookies_of
from tests.auth.test_field_hosts import DEFAULT_URL, FREE, PAID, Tunnels, get, with_network
from tests.feed import BTC, Bars, Calls, LiveServer
from tvDatafeed import Interval, TvDatafeedConfig, TvDatafeedLive
from tvDatafeed.config import DataConfig, NetworkConfig


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of the tests' own."""
    return trustme.CA()


@pytest.fixture
def site(authority):
    """A TradingView with accounts that has TradingView's own names, and stands still."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "*.tradingview.com").configure_cert(context)
    with LiveServer(accounts=(ANN, PAYS), tls=context) as running:
        yield running


@pytest.fixture
def tunnels(site):
    """What leads every host to that server."""
    with Tunnels(site.port) as running:
        yield running


@pytest.fixture
def config(site, tunnels, authority, tmp_path):
    """Settings that name no WebSocket: TradingView's own hosts, through the tunnels."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    network = NetworkConfig(
        base_url=site.base_url,
        search_url=site.search_url,
        proxy=tunnels.url,
        ca_file=str(file),
        base_retry_delay=0.02,
        requests_per_minute=6000,
        burst_size=100,
    )
    return TvDatafeedConfig(network=network, data=DataConfig(timezone="UTC"))


def sessions_by_host(site, tunnels):
    """The hosts of the connections that have open chart sessions."""
    created = {r.params[0]: r.connection for r in site.received if r.method.startswith("chart_cr")}
    return [tunnels.hosts[created[session] - 1] for session in site.open_sessions]


def test_open_series_move_to_the_host_of_an_assigned_token(site, tunnels, config):
    """After an upgrade all series are on the host for paid plans, though no connection was lost."""
    states, errors = Calls(), Calls()
    hooks = {"on_state": states, "on_error": errors, "on_reconnect": errors, "on_gap": errors}
    with TvDatafeedLive(config=config, auth_token=site.issue_token(ANN), **hooks) as tvl:
        for interval in (Interval.in_1_minute, Interval.in_5_minute):
            assert tvl.new_seis("BTCUSD", "BITSTAMP", interval)
        tvl.token = site.issue_token(PAYS)
        assert site.wait_until(lambda s: sessions_by_host(s, tunnels) == [PAID, PAID])
        assert tunnels.hosts == [FREE, PAID]
        assert all(status.state == "LIVE" for status in tvl.status())
        # And back, when the plan has ended.
        tvl.token = site.issue_token(ANN)
        assert site.wait_until(lambda s: sessions_by_host(s, tunnels) == [FREE, FREE])
        assert tunnels.hosts == [FREE, PAID]
    assert errors.calls == []
    assert {state for _seis, state in states.calls} == {"STARTING", "LIVE", "STOPPED"}


def test_series_that_move_lose_no_bar(site, tunnels, config):
    """The bars after the move follow those before it, each once."""
    bars = Bars()
    with TvDatafeedLive(config=config, auth_token=site.issue_token(ANN)) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        # The bar that closes while the series is on its way.
        site.now += 60
        tvl.token = site.issue_token(PAYS)
        assert site.wait_until(lambda s: sessions_by_host(s, tunnels) == [PAID])
        site.move(60)
        assert bars.wait(3)
    opens = [moment for frame in bars.frames for moment in frame.index]
    assert [(b - a).total_seconds() for a, b in itertools.pairwise(opens)] == [60, 60]


def test_series_stay_where_the_token_has_the_same_host(site, tunnels, config):
    """Another token of the same plan opens no series again, nor does one where a host is named."""
    free, paid = site.issue_token(ANN), site.issue_token(PAYS)
    named = with_network(config, ws_url=DEFAULT_URL)
    for given, token in ((config, site.issue_token(ANN)), (named, paid)):
        with TvDatafeedLive(config=given, auth_token=free) as tvl:
            assert tvl.new_seis(*BTC)
            sessions = site.open_sessions
            tvl.token = token
            # The connection of this request gets the token after what the feed does with it.
            get(tvl)
            assert site.wait_until(lambda s, sessions=sessions: s.open_sessions == sessions)
    assert set(tunnels.hosts) == {FREE}


def test_series_move_with_a_renewed_token(site, tunnels, config):
    """A token that is renewed before its end may be of another plan, and the series follow it."""
    passed_s = 0.0

    def clock():
        return time.time() + passed_s

    site.auth_clock = clock
    token = site.issue_token(ANN)
    with TvDatafeedLive(config=config, auth_token=token, **cookies_of(site, PAYS)) as tvl:
        tvl._account._authenticator._clock = clock  # tokens last for hours
        assert tvl.new_seis(*BTC)
        passed_s = site.token_lifetime_s - 60.0
        # Whatever wakes the supervisor makes it look at the token, which it has not used since.
        assert tvl.new_seis("BTCUSD", "BITSTAMP", Interval.in_5_minute)
        assert site.wait_until(lambda s: sessions_by_host(s, tunnels) == [PAID, PAID])
    assert tunnels.hosts == [FREE, PAID]
