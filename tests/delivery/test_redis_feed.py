"""RedisFeed without a group: each reader gets every bar."""

import datetime as dt
import logging
import os
import sys
import threading

import pandas as pd
import pytest

from tests.delivery import hooks
from tests.delivery.hooks import OPENED_S, SEIS, bar
from tests.feed import BTC, Bars, LiveServer, live, until
from tests.programs import run
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import RedisFeed, RedisPublisher
from tvDatafeed.exceptions import (
    ConfigurationError,
    DataValidationError,
    DeliveryError,
    InvalidIntervalError,
)

SERIES = ("BTCUSDT", "BINANCE", Interval.in_1_minute)
OTHER = Seis("ETHUSDT", "BINANCE", Interval.in_1_minute)


@pytest.fixture
def publisher(redis, prefix):
    """A publisher that runs."""
    with RedisPublisher(redis.url, prefix=prefix) as running:
        yield running


@pytest.fixture
def feed(redis, prefix):
    """A feed that runs."""
    with RedisFeed(redis.url, prefix=prefix, timezone="UTC") as running:
        yield running


def moment(number):
    """When a bar opens."""
    return pd.Timestamp(OPENED_S + 60 * number, unit="s", tz="UTC")


def moments(*numbers):
    """When bars open."""
    return [moment(number) for number in numbers]


def publish(publisher, *numbers, seis=SEIS, **values):
    """Publish bars, and wait until they are."""
    for number in numbers:
        publisher(seis, bar(number, **values))
    assert publisher.flush(PATIENCE_S)


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_frames_are_those_of_the_live_feed(redis, prefix, zone):
    """A callback gets the frame that it gets from the live feed itself."""
    ours, theirs = Bars(), Bars()
    with (
        LiveServer() as server,
        RedisFeed(redis.url, prefix=prefix, timezone=zone) as feed,
        RedisPublisher(redis.url, prefix=prefix) as publisher,
        live(server, data={"timezone": zone}) as tvl,
    ):
        feed.subscribe(*BTC, ours)
        seis = tvl.new_seis(*BTC)
        tvl.new_consumer(seis, theirs)
        tvl.new_consumer(seis, publisher)
        for count in range(1, 4):
            assert theirs.wait(count)
            server.move()
        assert ours.wait(3)
    for got, expected in zip(ours.frames[:3], theirs.frames[:3], strict=True):
        pd.testing.assert_frame_equal(got, expected)
        assert got.attrs == expected.attrs
        assert [type(got[name].iloc[0]) for name in got] == [
            type(expected[name].iloc[0]) for name in expected
        ]
    assert {(s.symbol, s.exchange, s.interval) for s in ours.seises} == {BTC}
    assert ours.seises[0].full_symbol == seis.full_symbol


def test_from_now_on(publisher, feed):
    """Without a start, what was published before is left out and nothing after it is missed."""
    publish(publisher, 0, 1)
    bars = Bars()
    feed.subscribe(*SERIES, bars)
    publish(publisher, 2, 3)
    assert bars.wait(2)
    assert bars.opens == moments(2, 3)
    assert until(lambda: feed.status()["series"]["BINANCE:BTCUSDT|1"]["delivered"] == 2)
    assert feed.status() == {
        "connected": True,
        "error": None,
        "series": {
            "BINANCE:BTCUSDT|1": {
                "last": "2023-11-14T22:17:00Z",
                "delivered": 2,
                "queued": 0,
                "gaps": 0,
            }
        },
    }


@pytest.mark.parametrize(
    ("start", "numbers"),
    [
        ("first", (0, 1, 2, 3)),
        (moment(2).to_pydatetime(), (2, 3)),
        ("2023-11-14T22:16:00Z", (2, 3)),
        ("2023-11-14T22:15:30", (2, 3)),
        ("2023-11-14", (0, 1, 2, 3)),
        (dt.date(2023, 11, 15), ()),
    ],
)
def test_start(publisher, feed, start, numbers):
    """A moment, a text or "first" replays what is there, and goes on with what comes."""
    publish(publisher, 0, 1, 2, 3)
    bars = Bars()
    feed.subscribe(*SERIES, bars, start=start)
    publish(publisher, 10_000)
    assert bars.wait(len(numbers) + 1)
    assert bars.opens == moments(*numbers, 10_000)


def test_corrections_are_delivered(publisher, feed):
    """The same bar with other numbers comes again, and is no gap."""
    bars, gaps = Bars(), []
    feed.on_gap = lambda *gap: gaps.append(gap)
    feed.subscribe(*SERIES, bars)
    publish(publisher, 0, 1)
    publish(publisher, 1, close=100.9)
    publish(publisher, 2)
    assert bars.wait(4)
    assert bars.opens == moments(0, 1, 1, 2)
    assert [frame["close"].iloc[0] for frame in bars.frames] == [100.5, 100.5, 100.9, 100.5]
    assert gaps == []


def test_many_bars_and_a_slow_callback(publisher, feed):
    """One callback that stands still delays no other, and misses nothing afterwards."""
    held, quick, slow = threading.Event(), Bars(), Bars(lambda *_bar: held.wait(PATIENCE_S))
    feed.subscribe(*SERIES, slow)
    feed.subscribe("ETHUSDT", "BINANCE", Interval.in_1_minute, quick)
    try:
        for seis in (SEIS, OTHER):
            publisher(seis, hooks.bars(2000))
        assert quick.wait(2000)
        assert slow.frames == []
        # What does not fit waits in Redis.
        assert feed.status()["series"]["BINANCE:BTCUSDT|1"]["queued"] <= 500
    finally:
        held.set()
    assert slow.wait(2000)
    assert slow.opens == quick.opens == moments(*range(2000))
    assert feed.status()["series"]["BINANCE:BTCUSDT|1"]["gaps"] == 0


def test_callback_that_raises(publisher, feed, caplog):
    """Errors of a callback are logged once, and the bars go on."""
    bars = Bars()

    def callback(seis, data):
        bars(seis, data)
        raise ValueError("made up")

    feed.subscribe(*SERIES, callback)
    publish(publisher, *range(5))
    assert bars.wait(5)
    assert [r.levelname for r in caplog.records if "made up" in r.exc_text] == ["ERROR"]


def test_exit_in_a_callback(publisher, feed, caplog):
    """sys.exit() in a callback ends its subscription alone."""
    others = Bars()
    feed.subscribe(*SERIES, lambda *_bar: sys.exit())
    feed.subscribe("ETHUSDT", "BINANCE", Interval.in_1_minute, others)
    publish(publisher, 0, 1)
    publish(publisher, 0, 1, seis=OTHER)
    assert others.wait(2)
    assert until(lambda: "has ended" in caplog.text)


def test_stream(publisher, feed):
    """Series without a callback are iterated over, in one loop."""
    seis = feed.subscribe(*SERIES)
    other = feed.subscribe("ETHUSDT", "BINANCE", Interval.in_1_minute)
    publish(publisher, 0, 1)
    publish(publisher, 0, seis=OTHER)
    got = []
    for found, frame in feed.stream():
        got.append((found, frame.index[0]))
        if len(got) == 3:
            break
    assert sorted(got, key=lambda pair: (str(pair[0]), pair[1])) == [
        (seis, moment(0)),
        (seis, moment(1)),
        (other, moment(0)),
    ]


def test_stream_ends_with_the_feed(feed):
    """Closing the feed ends the loop and `wait`."""
    feed.subscribe(*SERIES)
    ended = []
    threads = [
        threading.Thread(target=lambda: ended.append(list(feed.stream()))),
        threading.Thread(target=lambda: ended.append(feed.wait())),
    ]
    for thread in threads:
        thread.start()
    assert not feed.wait(0.01)
    assert feed.close(PATIENCE_S)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(ended, key=str) == [True, []]
    with pytest.raises(DeliveryError, match="closed"):
        feed.subscribe(*SERIES)


def test_close_in_a_callback(publisher, feed):
    """A callback may close its feed."""
    closed = []
    feed.subscribe(*SERIES, lambda *_bar: closed.append(feed.close()))
    publish(publisher, 0)
    assert feed.wait(PATIENCE_S)
    assert until(lambda: closed == [True])


def test_new_subscription_is_read_at_once(publisher, feed):
    """A reader that waits for one series is woken for another."""
    feed.subscribe(*SERIES, Bars())
    assert until(lambda: feed.status()["connected"])
    with at_most(AT_ONCE_S):
        for number in range(20):
            bars = Bars()
            feed.subscribe(f"S{number}", "BINANCE", Interval.in_1_minute, bars)
            publish(publisher, 0, seis=Seis(f"S{number}", "BINANCE", Interval.in_1_minute))
            assert bars.wait(1)


def _trim(redis, prefix, count):
    redis.command("XTRIM", f"{prefix}:bars:BINANCE:BTCUSDT:1", "MAXLEN", "=", count)


def test_trimmed_history_is_a_gap(redis, publisher, feed, prefix, caplog):
    """What was trimmed before it was read is reported exactly, before the bar that follows."""
    held, events = threading.Event(), []

    def callback(_seis, data):
        events.append(data.index[0])
        held.wait(PATIENCE_S)

    feed.on_gap = lambda seis, start, end: events.append((seis.symbol, start, end))
    feed.subscribe(*SERIES, callback)
    try:
        # More than waits in memory.
        publisher(SEIS, hooks.bars(1000))
        assert publisher.flush(PATIENCE_S)
        assert until(lambda: feed.status()["series"]["BINANCE:BTCUSDT|1"]["queued"] > 400)
        _trim(redis, prefix, 10)
    finally:
        held.set()
    assert until(lambda: len(events) > 0 and events[-1] == moment(999))
    (at,) = [number for number, event in enumerate(events) if isinstance(event, tuple)]
    assert events[at] == ("BTCUSDT", events[at - 1], moment(990))
    assert events[at + 1 :] == moments(*range(990, 1000))
    assert [e for e in events if not isinstance(e, tuple)] == moments(*range(at), *range(990, 1000))
    assert caplog.text.count("were trimmed") == 1
    assert feed.status()["series"]["BINANCE:BTCUSDT|1"]["gaps"] == 1


def test_gap_at_the_start(redis, publisher, feed, prefix):
    """A moment from which on bars were trimmed is a gap; one whose bars are all there is not."""
    publish(publisher, *range(10))
    _trim(redis, prefix, 5)
    gaps, bars = [], Bars()
    feed.on_gap = lambda _seis, start, end: gaps.append((start, end))
    feed.subscribe(*SERIES, bars, start=moment(2).to_pydatetime())
    assert bars.wait(5)
    assert gaps == [(moment(2), moment(5))]
    with RedisFeed(redis.url, prefix=prefix, on_gap=feed.on_gap) as other:
        whole = Bars()
        other.subscribe(*SERIES, whole, start=moment(5).to_pydatetime())
        assert whole.wait(5)
    assert len(gaps) == 1


def test_closed_market_is_no_gap(publisher, feed, caplog):
    """Bars that never were, as at night, are no gap."""
    bars = Bars()
    feed.subscribe(*SERIES, bars, start="first")
    publish(publisher, 0, 1000, 2000, 2001)
    assert bars.wait(4)
    assert feed.status()["series"]["BINANCE:BTCUSDT|1"]["gaps"] == 0
    assert "trimmed" not in caplog.text


def test_outage(own_redis, prefix, caplog):
    """A reader connects again by itself, misses nothing, and says so once."""
    caplog.set_level(logging.INFO, "tvDatafeed.delivery.redisreader")
    bars = Bars()
    with (
        RedisPublisher(own_redis.url, prefix=prefix) as publisher,
        RedisFeed(own_redis.url, prefix=prefix, timezone="UTC") as feed,
    ):
        feed.subscribe(*SERIES, bars)
        for number in range(6):
            if number % 2:
                own_redis.restart(lose_data=number == 3)
            publish(publisher, number)
            assert bars.wait(number + 1)
        feed.close()
    assert bars.opens == moments(*range(6))
    reader = [r.levelname for r in caplog.records if "redisreader" in r.name]
    assert reader == ["WARNING", "INFO"] * 3


def test_server_that_comes_later(own_redis, prefix):
    """A feed may be made while the server is away; it begins when the server is there."""
    own_redis.kill()
    bars = Bars()
    with RedisFeed(own_redis.url, prefix=prefix, timezone="UTC") as feed:
        with at_most(AT_ONCE_S):
            feed.subscribe(*SERIES, bars)
        assert until(lambda: "TV_REDIS_URL" in (feed.status()["error"] or ""))
        own_redis.start()
        assert until(lambda: feed.status()["connected"])
        with RedisPublisher(own_redis.url, prefix=prefix) as publisher:
            publish(publisher, 0)
        assert bars.wait(1)


def test_foreign_entries(redis, publisher, feed, prefix, caplog):
    """Entries of another program are left out, with one warning."""
    bars = Bars()
    feed.subscribe(*SERIES, bars)
    for number in range(2):
        redis.command("XADD", f"{prefix}:bars:BINANCE:BTCUSDT:1", f"{number + 1}-0", "a", "b")
    publish(publisher, 0)
    assert bars.wait(1)
    assert bars.opens == moments(0)
    assert caplog.text.count("is not a bar") == 1


def test_key_of_another_program(redis, publisher, feed, prefix, caplog):
    """A key that is no stream costs that series alone."""
    bars = Bars()
    redis.command("SET", f"{prefix}:bars:BINANCE:BTCUSDT:1", "mine")
    feed.subscribe(*SERIES, Bars())
    feed.subscribe("ETHUSDT", "BINANCE", Interval.in_1_minute, bars)
    publish(publisher, 0, seis=OTHER)
    assert bars.wait(1)
    assert caplog.text.count("is not read") == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"timezone": "exchange"}, ConfigurationError),
        ({"timezone": "Nowhere/City"}, ConfigurationError),
        ({"group": ""}, ConfigurationError),
        ({"name": "a\nb"}, ConfigurationError),
        ({"claim_after_s": 0}, ConfigurationError),
        ({"claim_after_s": -1}, ConfigurationError),
        ({"url": "http://h"}, ConfigurationError),
    ],
)
def test_bad_arguments(arguments, error):
    """What cannot be used is an error when the feed is made."""
    with pytest.raises(error):
        RedisFeed(**{"url": "redis://h", **arguments})


async def _coroutine(_seis, _data):
    pass


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("", "BINANCE", Interval.in_1_minute), {}, DataValidationError),
        (("A", "BINANCE", "1"), {}, InvalidIntervalError),
        ((*SERIES, 1), {}, DataValidationError),
        ((*SERIES, _coroutine), {}, DataValidationError),
        (SERIES, {"start": "yesterday"}, DataValidationError),
        (SERIES, {"start": 1}, DataValidationError),
    ],
)
def test_bad_subscriptions(feed, arguments, options, error):
    """What cannot be followed is an error, and changes nothing."""
    with pytest.raises(error):
        feed.subscribe(*arguments, **options)
    assert feed.status()["series"] == {}


def test_a_coroutine_function(feed):
    """As callback or hook it is refused, with the line that works."""
    works = r"pass lambda seis, data: asyncio\.run_coroutine_threadsafe\(f\(seis, data\), loop\)"
    with pytest.raises(DataValidationError, match=works):
        feed.subscribe(*SERIES, _coroutine)
    with pytest.raises(DataValidationError, match="pass lambda seis, start, end: asyncio"):
        RedisFeed("redis://h", on_gap=_coroutine)


def test_one_subscription_for_a_series(feed):
    """A series is followed once in a feed; a loop needs a series without a callback."""
    feed.subscribe(*SERIES, Bars())
    with pytest.raises(DeliveryError, match="another RedisFeed"):
        feed.subscribe("binance:btcusdt", "", Interval.in_1_minute)
    with pytest.raises(DeliveryError, match="without a callback"):
        feed.stream()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forked_child(publisher, feed):
    """A forked child follows nothing, and may subscribe anew; its parent's feed goes on."""
    bars = Bars()
    feed.subscribe(*SERIES, bars)
    publish(publisher, 0)
    assert bars.wait(1)
    child = os.fork()
    if not child:
        code = 1
        try:
            followed = feed.status()["series"]
            own = Bars()
            feed.subscribe(*SERIES, own, start="first")
            code = 0 if own.wait(1) and followed == {} and feed.close() else 2
        finally:
            os._exit(code)
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    publish(publisher, 1)
    assert bars.wait(2)


INTERRUPTED = """
import os, signal, sys, threading
from tvDatafeed import Interval
from tvDatafeed.delivery import RedisFeed
with RedisFeed(sys.argv[1]) as feed:
    feed.subscribe("BTCUSDT", "BINANCE", Interval.in_1_minute)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        feed.wait() if sys.argv[2] == "wait" else list(feed.stream())
    except KeyboardInterrupt:
        print(feed.wait(0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["wait", "stream"])
@pytest.mark.skipif(sys.platform == "win32", reason="interrupts as POSIX has them")
def test_interrupt(redis, where):
    """Ctrl-C closes the feed and is raised."""
    ended = run("-c", INTERRUPTED, redis.url, where)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")
