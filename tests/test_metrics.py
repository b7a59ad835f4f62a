"""Figures for Prometheus, and the server that shows them beside the health of the feed."""

import contextlib
import json
import re
import socket
import sys
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.delivery.hooks import SEIS, bar
from tests.delivery.receiver import SECRET
from tests.feed import BTC, Bars, LiveServer, live, until
from tests.programs import run
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import ConfigurationError, TvDatafeed
from tvDatafeed.delivery import Outbox, Webhook
from tvDatafeed.metrics import MetricsServer, TvDatafeedCollector
from tvDatafeed.store import BarStore

LABELS = {"symbol": "BTCUSD", "exchange": "BITSTAMP", "interval": "1"}


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


@pytest.fixture
def tvl(server):
    with live(server) as feed:
        yield feed


def registered(*arguments, **parts):
    """A registry of its own with one collector."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(TvDatafeedCollector(*arguments, **parts))
    return registry


def samples(registry, name):
    """The samples of one family, of one moment."""
    return [
        sample for family in registry.collect() if family.name == name for sample in family.samples
    ]


def fetch(url, method="GET"):
    """The status, the body and the headers of an answer."""
    request = urllib.request.Request(url, method=method)  # noqa: S310 - of this machine
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def test_figures_of_a_feed(server, tvl):
    """Each number of `stats` and `status` is a figure, in seconds where it is a time."""
    registry = registered(tvl)
    value = registry.get_sample_value
    assert value("tvdatafeed_feed_ok") == 1
    assert value("tvdatafeed_feed_seises") == 0
    bars = Bars()
    tvl.subscribe(*BTC, bars)
    assert bars.wait(1)
    server.move(60)
    assert bars.wait(2)
    stats, (status,) = tvl.stats(), tvl.status()
    assert value("tvdatafeed_client_up") == value("tvdatafeed_feed_up") == 1
    assert value("tvdatafeed_client_open_connections") == 1
    for name in ("connections", "reconnects", "ignored", "violations", "requests"):
        assert value(f"tvdatafeed_client_{name}_total") == stats[name]
    assert value("tvdatafeed_client_messages_total") >= stats["messages"]
    assert value("tvdatafeed_feed_connected") == value("tvdatafeed_feed_ok") == 1
    assert 0 <= value("tvdatafeed_feed_heard_seconds") < PATIENCE_S
    prefix = "tvdatafeed_seis_"
    assert value(f"{prefix}bars_total", LABELS) == status.delivered == 2
    assert value(f"{prefix}last_bar_timestamp_seconds", LABELS) == status.last_bar.timestamp()
    assert value(f"{prefix}lag_seconds", LABELS) == status.lag_ms / 1000
    assert value(f"{prefix}market_open", LABELS) == 1
    assert value(f"{prefix}overdue_seconds", LABELS) == 0
    assert value(f"{prefix}queued_bars", LABELS) == 0
    states = {
        state: value(f"{prefix}state", LABELS | {"state": state})
        for state in ("STARTING", "LIVE", "RECONNECTING", "FAILED", "STOPPED")
    }
    assert states == dict.fromkeys(states, 0) | {"LIVE": 1}


def test_an_outage_is_seen(server, tvl):
    """The feed is not well, and the fault is counted by its class."""
    registry = registered(tvl)
    tvl.new_seis(*BTC)
    server.stop()
    assert until(lambda: registry.get_sample_value("tvdatafeed_feed_ok") == 0)
    # The feed notices the loss before its first try to connect again fails.
    assert until(lambda: tvl.stats()["errors"])
    kinds = {sample.labels["kind"] for sample in samples(registry, "tvdatafeed_client_errors")}
    assert kinds
    # A later try may fail in another way.
    assert kinds <= set(tvl.stats()["errors"])
    server.start()
    assert until(lambda: registry.get_sample_value("tvdatafeed_feed_ok") == 1)


def test_conventions(server, tvl, tmp_path):
    """Names have their unit, counters end in _total, each has a text, and no URL is a label."""
    tvl.subscribe(*BTC, Bars())
    with (
        BarStore(tmp_path / "bars.db") as store,
        Webhook("http://127.0.0.1:9/secret-path", SECRET, outbox=tmp_path / "outbox.db") as hook,
    ):
        hook(SEIS, bar())
        parts = {"store": store, "webhook": hook, "outbox": hook.outbox}
        text = generate_latest(registered(tvl, **parts)).decode()
        hook.close(0)
    families = list(text_string_to_metric_families(text))
    names = {family.name for family in families}
    assert {f"tvdatafeed_{part}_up" for part in ("client", "feed", *parts)} <= names
    assert len(names) == len(families)
    for family in families:
        assert re.fullmatch(r"tvdatafeed_[a-z]+(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")
        assert family.type in {"gauge", "counter"}
        assert not re.search(r"_(ms|s|minutes|kb|mb)$", family.name)
        allowed = {"symbol", "exchange", "interval", "state", "quantile", "kind"}
        assert {label for sample in family.samples for label in sample.labels} <= allowed
    assert "secret-path" not in text


def test_figures_of_an_outbox_and_a_store(tv, tmp_path):
    """A plain client has no feed; the outbox and the store have the numbers of their stats."""
    with (
        BarStore(tmp_path / "bars.db") as store,
        Webhook("http://127.0.0.1:9/", SECRET, outbox=tmp_path / "outbox.db") as hook,
    ):
        hook(SEIS, bar())
        registry = registered(tv, store, hook, hook.outbox)
        value = registry.get_sample_value
        for part in ("outbox", "webhook"):
            assert value(f"tvdatafeed_{part}_pending_messages") == 1
            assert value(f"tvdatafeed_{part}_dead_messages") == 0
            assert 0 <= value(f"tvdatafeed_{part}_oldest_seconds") < PATIENCE_S
        assert value("tvdatafeed_outbox_size_bytes") == hook.outbox.stats()["bytes"]
        assert value("tvdatafeed_webhook_owner") in {0, 1}
        # Of one moment: the state may change between two.
        for name in ("tvdatafeed_webhook_state", "tvdatafeed_outbox_destinations"):
            states = {sample.labels["state"]: sample.value for sample in samples(registry, name)}
            assert sorted(states) == ["disabled", "failing", "ok"]
            assert sum(states.values()) == 1
        assert value("tvdatafeed_store_records") == 0
        assert value("tvdatafeed_feed_up") is None
        hook.close(0)


def test_a_part_that_fails(tv, tmp_path):
    """Of an outbox that cannot be opened its ..._up is 0; all others are there."""
    (tmp_path / "disk").write_text("no folder")
    outbox = Outbox(tmp_path / "disk" / "outbox.db")
    registry = registered(tv, outbox=outbox)
    assert registry.get_sample_value("tvdatafeed_outbox_up") == 0
    assert registry.get_sample_value("tvdatafeed_client_up") == 1
    assert registry.get_sample_value("tvdatafeed_outbox_pending_messages") is None
    outbox.close()


def test_asking_needs_no_network(server, tmp_path):
    """A client that was never used opens no connection for its figures."""
    with live(server) as tvl:
        registry = registered(tvl)
        assert registry.get_sample_value("tvdatafeed_client_connections_total") == 0
        assert registry.get_sample_value("tvdatafeed_feed_heard_seconds") is None
    assert server.connections_opened == 0


def test_two_registries(tv):
    """A collector may be in several registries; two of a kind in one are refused there."""
    registry = registered(tv)
    CollectorRegistry().register(TvDatafeedCollector(tv))
    with pytest.raises(ValueError, match="tvdatafeed_client"):
        registry.register(TvDatafeedCollector(tv))


def test_package_is_missing(monkeypatch, tv):
    """The error has the command that installs it; importing the module needs nothing."""
    monkeypatch.delitem(sys.modules, "tvDatafeed.common.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for make in (lambda: TvDatafeedCollector(tv), lambda: MetricsServer(tv, 0)):
        with pytest.raises(ConfigurationError, match=r'pip install "tvdatafeed\[metrics\]"'):
            make()


@pytest.mark.slow
def test_import_is_quick():
    """Neither the package nor this part loads what is slow to import."""
    slow = {"prometheus_client", "wsgiref", "http", "pandas", "ssl"}
    done = run("-c", f"import sys, tvDatafeed.metrics; print({slow!r} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_server(server, tvl):
    """It shows the figures, and the health as JSON with a status that says whether it is ok."""
    tvl.new_seis(*BTC)
    with MetricsServer(tvl, 0) as metrics:
        status, body, headers = fetch(f"{metrics.url}/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain")
        assert b"tvdatafeed_feed_ok 1.0" in body
        status, body, headers = fetch(f"{metrics.url}/health")
        assert (status, headers["content-type"]) == (200, "application/json")
        health = json.loads(body)
        assert health["ok"]
        assert health["seises"][0]["symbol"] == "BITSTAMP:BTCUSD"
        assert fetch(f"{metrics.url}/health", "HEAD")[:2] == (200, b"")
        server.stop()
        assert until(lambda: fetch(f"{metrics.url}/health")[0] == 503)
        status, body, _headers = fetch(f"{metrics.url}/health")
        assert (status, json.loads(body)["ok"]) == (503, False)
        assert fetch(f"{metrics.url}/metrics")[0] == 200
        server.start()
        assert until(lambda: fetch(f"{metrics.url}/health")[0] == 200)
    assert metrics.close()
    with pytest.raises(OSError, match=r".+"):
        fetch(f"{metrics.url}/health")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/health/", 404),
        ("POST", "/health", 405),
        ("POST", "/metrics", 405),
        ("GET", "/metrics?name[]=tvdatafeed_feed_ok", 200),
        ("GET", "/health?verbose", 200),
    ],
)
def test_other_requests(tvl, method, path, status):
    """Each has the answer that HTTP has for it."""
    with MetricsServer(tvl, 0) as metrics:
        assert fetch(metrics.url + path, method)[0] == status


def test_port_in_use(tvl):
    """The error has the system's reason and the next step, and leaves no thread."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="choose another one, or 0 for any") as caught:
            MetricsServer(tvl, port)
    assert caught.value.parameter == "port"
    with MetricsServer(tvl, port) as metrics:
        assert metrics.port == port


@pytest.mark.parametrize("host", ["no-such-host.invalid", "256.1.1.1", "a" * 100])
def test_host_that_is_none(tvl, host):
    """It is an error of a setting."""
    with pytest.raises(ConfigurationError, match="cannot be listened on"):
        MetricsServer(tvl, 0, host=host)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6")
def test_address_of_version_6(tvl):
    """Its URL has brackets."""
    with MetricsServer(tvl, 0, host="::1") as metrics:
        assert metrics.url == f"http://[::1]:{metrics.port}"
        assert fetch(f"{metrics.url}/health")[0] == 200


def test_port_is_free_again(tvl):
    """A service that is restarted listens on the same port at once."""
    port = 0
    for _ in range(3):
        with MetricsServer(tvl, port) as metrics:
            port = metrics.port
            assert fetch(f"{metrics.url}/health")[0] == 200


def test_many_at_a_time(tvl):
    """Scrapes side by side each have an answer, while others hold a connection open."""
    statuses = []
    with MetricsServer(tvl, 0) as metrics, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection((metrics.host, metrics.port)))

        def scrape():
            statuses.append(fetch(f"{metrics.url}/metrics")[0])

        for _ in range(4):
            threads = [threading.Thread(target=scrape) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert statuses == [200] * 8
        with at_most(AT_ONCE_S):
            assert metrics.close()


def test_client_that_goes(tvl, capsys):
    """A client that hangs up or sends nonsense leaves stderr empty, and harms no other."""
    with MetricsServer(tvl, 0) as metrics:
        for text in (b"", b"GET /metrics", b"\x16\x03\x01" * 50, b"GET /health HTTP/1.1\r\n\r\n"):
            with socket.create_connection((metrics.host, metrics.port)) as connection:
                connection.sendall(text)
        assert fetch(f"{metrics.url}/health")[0] == 200
    assert capsys.readouterr() == ("", "")


def test_closed_client(server):
    """After `close` figures and health are still answered."""
    with live(server) as tvl:
        tvl.new_seis(*BTC)
        with MetricsServer(tvl, 0) as metrics:
            tvl.close()
            status, body, _headers = fetch(f"{metrics.url}/health")
            assert (status, json.loads(body)["seises"]) == (200, [])
            assert fetch(f"{metrics.url}/metrics")[0] == 200


def test_plain_client_has_no_health(server):
    """The collector has a client's figures alone."""
    with TvDatafeed(config=server.config()) as tv:
        names = {family.name for family in TvDatafeedCollector(tv).collect()}
    assert names
    assert not [name for name in names if "feed_feed" in name or "seis" in name]
