"""RedisFeed with a group: each bar goes to one of its readers, at least once."""

import threading

import pandas as pd
import pytest

from tests.delivery import hooks
from tests.delivery.hooks import OPENED_S, SEIS, bar
from tests.feed import Bars, until
from tests.scale import PATIENCE_S
from tvDatafeed import Interval
from tvDatafeed.delivery import RedisFeed, RedisPublisher

SERIES = ("BTCUSDT", "BINANCE", Interval.in_1_minute)


@pytest.fixture
def publisher(redis, prefix):
    """A publisher that runs."""
    with RedisPublisher(redis.url, prefix=prefix) as running:
        yield running


@pytest.fixture
def member(redis, prefix):
    """Make readers of one group; all are closed at the end."""
    feeds = []

    def make(**options):
        feeds.append(RedisFeed(redis.url, prefix=prefix, group="g", timezone="UTC", **options))
        return feeds[-1]

    yield make
    for feed in feeds:
        feed.close()


def moments(*numbers):
    """When bars open."""
    return [pd.Timestamp(OPENED_S + 60 * n, unit="s", tz="UTC") for n in numbers]


def publish(publisher, *numbers):
    """Publish bars, and wait until they are."""
    for number in numbers:
        publisher(SEIS, bar(number))
    assert publisher.flush(PATIENCE_S)


def key_of(prefix):
    """The key of the series of these tests."""
    return f"{prefix}:bars:BINANCE:BTCUSDT:1"


def pending(redis, prefix):
    """How many entries are not acknowledged."""
    return redis.command("XPENDING", key_of(prefix), "g")["pending"]


def test_each_bar_goes_to_one_reader(redis, publisher, member, prefix):
    """All readers together get each bar once, each of them in order, and acknowledge it."""
    readers = [Bars() for _reader in range(3)]
    for bars in readers:
        member().subscribe(*SERIES, bars)
    publish(publisher, *range(60))
    assert until(lambda: sum(len(bars.frames) for bars in readers) >= 60)
    assert until(lambda: pending(redis, prefix) == 0)
    assert sorted(o for bars in readers for o in bars.opens) == moments(*range(60))
    assert all(bars.opens == sorted(bars.opens) for bars in readers)


def test_group_goes_on_where_it_left_off(publisher, member):
    """A new group begins with now, and one that is there already where it left off."""
    publish(publisher, 0)
    bars = Bars()
    with member() as first:
        first.subscribe(*SERIES, bars)
        publish(publisher, 1)
        assert bars.wait(1)
    publish(publisher, 2, 3)
    member().subscribe(*SERIES, bars, start="first")
    assert bars.wait(3)
    assert bars.opens == moments(1, 2, 3)


def test_start_of_a_new_group(publisher, member):
    """A new group may begin with a moment."""
    publish(publisher, *range(4))
    bars = Bars()
    member().subscribe(*SERIES, bars, start=moments(2)[0].to_pydatetime())
    assert bars.wait(2)
    assert bars.opens == moments(2, 3)


def test_acknowledged_after_the_callback(redis, publisher, member, prefix):
    """A bar is pending until its callback has returned, also by an exception."""
    held, bars = threading.Event(), Bars(lambda *_bar: held.wait(PATIENCE_S))

    def callback(seis, data):
        bars(seis, data)
        raise ValueError("made up")

    member().subscribe(*SERIES, callback)
    publish(publisher, 0, 1)
    assert until(lambda: pending(redis, prefix) == 2)
    held.set()
    assert until(lambda: pending(redis, prefix) == 0)
    assert bars.opens == moments(0, 1)


def test_stream_acknowledges_the_last_bar(redis, publisher, member, prefix):
    """In a loop, a bar is acknowledged when the next one is requested."""
    feed = member()
    feed.subscribe(*SERIES)
    publish(publisher, 0, 1)
    coming = feed.stream()
    next(coming)
    assert until(lambda: pending(redis, prefix) == 2)
    next(coming)
    assert until(lambda: pending(redis, prefix) == 1)
    coming.close()


def test_same_name_goes_on_with_its_own(redis, publisher, member, prefix):
    """A reader that starts again under its name gets at once what it had not acknowledged."""
    held, before, after = threading.Event(), Bars(), Bars()
    first = member(name="a")
    first.subscribe(*SERIES, lambda *_bar: (before(*_bar), held.wait(PATIENCE_S)))
    publish(publisher, *range(150))
    assert before.wait(1)
    assert until(lambda: pending(redis, prefix) == 150)
    assert not first.close(0)
    publish(publisher, 150)
    member(name="a").subscribe(*SERIES, after)
    assert after.wait(151)
    held.set()
    assert after.opens == moments(*range(151))
    assert until(lambda: pending(redis, prefix) == 0)


def _take(redis, prefix, count):
    """Be a reader that takes bars, and dies."""
    key = key_of(prefix)
    command = ("XREADGROUP", "GROUP", "g", "dead", "COUNT", count, "STREAMS", key, ">")
    assert redis.command(*command)


def test_bars_of_a_dead_reader_are_claimed(redis, publisher, member, prefix):
    """What a dead reader has left goes to another one after a while."""
    bars = Bars()
    with member() as first:
        first.subscribe(*SERIES, Bars())
    publish(publisher, *range(5))
    _take(redis, prefix, 3)
    member(claim_after_s=0.3).subscribe(*SERIES, bars)
    assert bars.wait(5)
    assert sorted(bars.opens) == moments(*range(5))
    assert until(lambda: pending(redis, prefix) == 0)


@pytest.mark.slow
def test_slow_reader_keeps_its_bars(publisher, member):
    """A reader whose callback takes longer than the time of a claim is not taken for dead."""
    held, slow, quick = threading.Event(), Bars(), Bars()
    first = member(claim_after_s=1.2)
    first.subscribe(*SERIES, lambda *_bar: (slow(*_bar), held.wait(PATIENCE_S)))
    publish(publisher, 0)
    assert slow.wait(1)
    # It would claim before the first one renews its own claim by claiming again.
    member(claim_after_s=1.0).subscribe(*SERIES, quick)
    # Longer than it takes to claim; what must not happen announces nothing.
    assert not quick.wait(1, timeout=3.0)
    held.set()
    publish(publisher, 1)
    assert until(lambda: len(slow.frames) + len(quick.frames) == 2)


def test_gap_is_reported_once(redis, publisher, member, prefix):
    """What was trimmed before any reader of the group got it is a gap, for one of them."""
    with member() as first:
        bars = Bars()
        first.subscribe(*SERIES, bars)
        publish(publisher, 0)
        assert bars.wait(1)
    publisher(SEIS, hooks.bars(500, 1))
    assert publisher.flush(PATIENCE_S)
    redis.command("XTRIM", key_of(prefix), "MAXLEN", "=", 201)
    gaps, readers = [], [Bars(), Bars()]
    for bars in readers:
        feed = member(on_gap=lambda _seis, start, end: gaps.append((start, end)))
        feed.subscribe(*SERIES, bars)
    assert until(lambda: sum(len(bars.frames) for bars in readers) >= 201)
    assert sorted(o for bars in readers for o in bars.opens) == moments(*range(300, 501))
    assert gaps == [tuple(moments(0, 300))]


def test_trimmed_before_it_was_acknowledged(redis, publisher, member, prefix):
    """Of a dead reader's bars, those that were trimmed are gaps."""
    with member() as first:
        first.subscribe(*SERIES, Bars())
    publish(publisher, *range(4))
    _take(redis, prefix, 4)
    redis.command("XTRIM", key_of(prefix), "MAXLEN", "=", 3)
    gaps, bars = [], Bars()
    feed = member(claim_after_s=0.2, on_gap=lambda _seis, *gap: gaps.append(gap))
    feed.subscribe(*SERIES, bars)
    assert bars.wait(3)
    assert bars.opens == moments(1, 2, 3)
    assert until(lambda: gaps == [tuple(moments(0, 0))])
    assert until(lambda: pending(redis, prefix) == 0)


@pytest.mark.parametrize("lose_data", [False, True])
def test_restarted_server(own_redis, prefix, lose_data):
    """A server that was restarted, also without its data and the group, loses no bar."""
    received, gaps = [Bars(), Bars()], []
    feeds = [
        RedisFeed(
            own_redis.url,
            prefix=prefix,
            group="g",
            timezone="UTC",
            on_gap=lambda *gap: gaps.append(gap),
        )
        for _reader in received
    ]
    with RedisPublisher(own_redis.url, prefix=prefix) as publisher, feeds[0], feeds[1]:
        for feed, bars in zip(feeds, received, strict=True):
            feed.subscribe(*SERIES, bars)
        for number in range(10):
            if number in {3, 6}:
                own_redis.restart(lose_data=lose_data)
            publish(publisher, number)
        opens = lambda: {o for bars in received for o in bars.opens}  # noqa: E731
        assert until(lambda: opens() == set(moments(*range(10))))
    assert gaps == []


def test_dead_reader_and_lost_data(own_redis, prefix):
    """What a dead reader had not acknowledged comes also when the server loses it; once for us."""
    bars = Bars()
    options = {"prefix": prefix, "group": "g", "timezone": "UTC"}
    with RedisPublisher(own_redis.url, prefix=prefix) as publisher:
        with RedisFeed(own_redis.url, **options) as first:
            first.subscribe(*SERIES, Bars())
        publish(publisher, *range(5))
        _take(own_redis, prefix, 3)
        with RedisFeed(own_redis.url, **options) as feed:
            feed.subscribe(*SERIES, bars)
            assert bars.wait(2)
            assert until(lambda: pending(own_redis, prefix) == 3)
            own_redis.restart(lose_data=True)
            publish(publisher, 5)
            assert bars.wait(6)
            assert until(lambda: pending(own_redis, prefix) == 0)
    assert bars.opens == moments(3, 4, 0, 1, 2, 5)


def test_group_that_was_removed(redis, publisher, member, prefix):
    """A group, or a stream, that is removed under a reader is made again."""
    bars = Bars()
    member().subscribe(*SERIES, bars)
    publish(publisher, 0)
    assert bars.wait(1)
    redis.command("XGROUP", "DESTROY", key_of(prefix), "g")
    publish(publisher, 1)
    assert bars.wait(2)
    redis.command("DEL", key_of(prefix))
    publish(publisher, 2)
    assert bars.wait(3)
    assert bars.opens == moments(0, 1, 2)


def test_no_trace_of_a_reader(redis, publisher, member, prefix):
    """A reader without a name of its own leaves the group when it is closed, if nothing waits."""
    bars = Bars()
    with member() as feed:
        feed.subscribe(*SERIES, bars)
        publish(publisher, 0)
        assert bars.wait(1)
        assert len(redis.command("XINFO", "CONSUMERS", key_of(prefix), "g")) == 1
    assert redis.command("XINFO", "CONSUMERS", key_of(prefix), "g") == []
