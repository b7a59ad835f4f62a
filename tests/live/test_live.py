"""The live feed: each closed bar once and in order, through the API that bots use."""

import datetime as dt
import logging
import math
import threading
import time

import pandas as pd
import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, live, until
from tests.loopback import frame_of
from tests.scale import PATIENCE_S, scaled
from tvDatafeed import (
    Consumer,
    DataError,
    DataValidationError,
    EntitlementError,
    Interval,
    InvalidIntervalError,
    LockTimeoutError,
    NetworkError,
    Seis,
    ThreadingError,
    TvDatafeed,
    TvDatafeedLive,
)
from tvDatafeed.testing import NoCompletion, Refusal


def listed(server):
    """The symbols that are followed on the server, by their sessions."""
    return len(server.open_sessions)


def test_each_closed_bar_once_and_in_order(server, tvl):
    """What the callback gets is what the history has, bar for bar."""
    seis = tvl.new_seis(*BTC)
    bars = Bars()
    consumer = tvl.new_consumer(seis, bars)
    assert bars.wait(1)
    for count in range(2, 12):
        server.move(60)
        assert bars.wait(count)
    told = pd.concat(bars.frames)
    market = server.market.bars("BITSTAMP:BTCUSD", "1", 12, server.now)[:-1]
    pd.testing.assert_frame_equal(told, frame_of(market, "BITSTAMP:BTCUSD"))
    assert bars.opens == server.closed(count=11)
    assert set(bars.seises) == {seis}
    assert all(f.attrs["closed"] and f.attrs["last_bar_closed"] for f in bars.frames)
    assert until(lambda: consumer.delivered == 11)
    assert listed(server) == 1


def test_a_callback_gets_a_frame_of_its_own(server, tvl):
    """What one callback does to its frame, no other sees."""
    seis = tvl.new_seis(*BTC)

    def spoil(_seis, data):
        data.loc[:, "close"] = -1.0
        del data["volume"]

    spoilt, sound = Bars(before=spoil), Bars()
    tvl.new_consumer(seis, spoilt)
    tvl.new_consumer(seis, sound)
    server.move(60)
    assert spoilt.wait(2)
    assert sound.wait(2)
    assert all(f["close"].iloc[0] > 0 and "volume" in f for f in sound.frames)


def test_a_frame_is_as_from_get_hist(server, tvl):
    """Columns, dtypes, index, its unit and zone."""
    seis = tvl.new_seis(*BTC)
    bars = Bars()
    tvl.new_consumer(seis, bars)
    assert bars.wait(1)
    history = tvl.get_hist("BTCUSD", "BITSTAMP", MINUTE, 2)
    pd.testing.assert_frame_equal(bars.frames[0], history[:1], check_freq=False)


@pytest.mark.parametrize(
    ("zone", "shown"),
    [(None, None), ("UTC", "UTC"), ("Asia/Kolkata", "Asia/Kolkata"), ("exchange", "Etc/UTC")],
)
def test_any_zone(server, zone, shown):
    """The feed works with each of them, ``TV_TIMEZONE`` included."""
    with live(server, data={"timezone": zone}) as tvl:
        bars = Bars()
        tvl.subscribe(*BTC, bars)
        server.move(60)
        assert bars.wait(2)
    assert bars.frames[1].attrs.get("timezone") == shown
    assert (bars.frames[1].index.tz is None) == (zone is None)
    if zone:
        assert bars.opens == server.closed(count=2)


def test_the_timezone_of_the_environment(server, monkeypatch):
    """The example file of older versions sets it to UTC, which ended their feeds."""
    for name, value in (
        ("TV_WS_URL", server.ws_url),
        ("TV_BASE_URL", server.base_url),
        ("TV_TIMEZONE", "UTC"),
    ):
        monkeypatch.setenv(name, value)
    bars = Bars()
    with TvDatafeedLive() as tvl:
        tvl.subscribe(*BTC, bars)
        server.move(60)
        assert bars.wait(2)
    assert bars.opens == server.closed(count=2)


def test_replay_of_the_last_bar(server, tvl):
    """A consumer begins with the bar that closed last, unless it does not want that."""
    seis = tvl.new_seis(*BTC)
    server.move(60)
    assert until(lambda: tvl.status()[0].delivered == 2)
    first, later = Bars(), Bars()
    tvl.new_consumer(seis, first)
    tvl.new_consumer(seis, later, replay_last=False)
    assert first.wait(1)
    server.move(60)
    assert first.wait(2)
    assert later.wait(1)
    assert first.opens == server.closed(count=2)
    assert later.opens == server.closed(count=1)


def test_the_bar_that_forms(server, tvl):
    """With ``bars="all"`` each change of it is reported, and the closed one follows."""
    seis = tvl.new_seis(*BTC)
    every, closed = Bars(), Bars()
    tvl.new_consumer(seis, every, bars="all")
    tvl.new_consumer(seis, closed)
    assert every.wait(1)
    for count in (2, 3, 4):
        server.move(15)
        assert every.wait(count)
    server.move(15)
    assert every.wait(6)
    assert closed.wait(2)
    flags = [frame.attrs["closed"] for frame in every.frames]
    assert flags[:4] == [True, False, False, False]
    assert flags.count(True) == 2
    assert [f.attrs["closed"] for f in closed.frames] == [True, True]
    assert len({frame.index[0] for frame in every.frames[1:4]}) == 1


def test_a_seis_is_listed_once(server, tvl):
    """The same three are the same object, whatever the case, from fifty threads at once."""
    found = []
    go = threading.Barrier(50)

    def list_it():
        go.wait()
        found.append(tvl.new_seis("btcusd", "Bitstamp", MINUTE))

    threads = [threading.Thread(target=list_it) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 50
    assert all(seis is found[0] for seis in found)
    assert found[0] is tvl.new_seis("BITSTAMP:BTCUSD", "ignored", MINUTE)
    created = [m for m in server.received if m.method == "chart_create_session"]
    assert len(created) == listed(server) == 1


def test_outgoing_frames_of_a_feed_are_shown_on_request(tvl, caplog):
    """ws_debug is about the feed's series too, and can be switched off again."""
    tvl.ws_debug = True
    with caplog.at_level(logging.DEBUG, "tvDatafeed"):
        tvl.new_seis(*BTC)
        assert until(lambda: "create_series" in caplog.text)
        tvl.ws_debug = False
        tvl.stats()
        caplog.clear()
        tvl.new_seis("NASDAQ:AAPL", "", MINUTE)
    assert "create_series" not in caplog.text


def test_not_listed(server, tvl):
    """TradingView's word on the socket, with the error of old."""
    with pytest.raises(ValueError, match="is not listed in TradingView") as caught:
        tvl.new_seis("NOPE", "NASDAQ", MINUTE)
    assert "'NOPE' not found" in str(caught.value.__cause__)
    assert tvl.status() == []
    assert server.wait_until(lambda s: not s.open_sessions)
    server.refuse("NASDAQ:AAPL", Refusal("symbol_error", "permission denied"))
    with pytest.raises(EntitlementError, match="permission denied"):
        tvl.new_seis("AAPL", "NASDAQ", MINUTE)
    with pytest.raises(EntitlementError, match="seconds_not_entitled"):
        tvl.new_seis("BTCUSD", "BITSTAMP", Interval.in_1_second)
    assert tvl.new_seis(*BTC)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("", "NASDAQ", MINUTE), DataValidationError),
        (("AAPL", "", MINUTE), DataValidationError),
        (("AAPL", "NASDAQ", "1x"), InvalidIntervalError),
        ((*BTC, -2), ValueError),
    ],
)
def test_arguments_that_cannot_be_right(server, tvl, arguments, error):
    """They are refused before anything is sent."""
    with pytest.raises(error):
        tvl.new_seis(*arguments)
    assert server.accepted == 0


def test_an_outage_is_a_network_error(server):
    """It is never reported as not listed, and comes within the time of a request."""
    server.stop()
    with live(server, max_response_time=1.0) as tvl:
        started = time.monotonic()
        with pytest.raises(NetworkError):
            tvl.new_seis(*BTC)
        assert time.monotonic() - started < scaled(4.0)
        assert tvl.status() == []
        server.start()
        assert tvl.new_seis(*BTC)


def test_a_server_that_does_not_answer(server):
    """The start of a Seis has the deadline of a request."""
    server.inject(NoCompletion())
    with live(server, max_response_time=0.5, max_retries=0) as tvl:
        with pytest.raises(NetworkError):
            tvl.new_seis(*BTC)
    assert server.wait_until(lambda s: not s.open_sessions)


def test_del_seis(server, tvl):
    """Its consumers end, its session is freed, and it may be listed again."""
    seis = tvl.new_seis(*BTC)
    bars = Bars()
    consumer = seis.new_consumer(bars)
    assert bars.wait(1)
    assert seis.del_seis() is True
    consumer.join(PATIENCE_S)
    assert not consumer.is_alive()
    assert seis.tvdatafeed is None
    assert server.wait_until(lambda s: not s.open_sessions)
    with pytest.raises(ValueError, match="Seis is not listed"):
        tvl.del_seis(seis)
    with pytest.raises(ValueError, match="Seis is not listed"):
        tvl.new_consumer(seis, bars)
    with pytest.raises(NameError, match="TvDatafeed not provided"):
        seis.get_hist()
    again = Bars()
    fresh = tvl.new_seis(*BTC)
    assert fresh is not seis
    fresh.new_consumer(again)
    server.move(60)
    assert again.wait(2)
    assert bars.opens == again.opens[:1]


def test_del_consumer(server, tvl):
    """No call begins after it; the Seis stays, and other consumers continue."""
    seis = tvl.new_seis(*BTC)
    gone, stays = Bars(), Bars()
    consumer = tvl.new_consumer(seis, gone)
    tvl.new_consumer(seis, stays)
    assert gone.wait(1)
    assert seis.get_consumers() != []
    assert tvl.del_consumer(consumer) is True
    server.move(60)
    assert stays.wait(2)
    assert len(gone.frames) == 1
    consumer.join(PATIENCE_S)
    assert repr(consumer) == "Consumer(stopped)"
    assert tvl.del_consumer(consumer) is True
    assert consumer.del_consumer() is True
    assert len(seis.get_consumers()) == 1


def test_a_seis_without_consumers_goes_on(server, tvl):
    """Its bars are dropped, and counted."""
    tvl.new_seis(*BTC)
    server.move(180)
    assert until(lambda: tvl.status()[0].delivered == 4)


def test_timeouts_of_old(server, tvl):
    """A Seis that another thread is opening gives False, from `subscribe` an error; no call waits
    for anything else."""
    seis = tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
    consumer = tvl.new_consumer(seis, Bars())
    server.inject(NoCompletion(times=1))
    other = threading.Thread(target=lambda: _outcome(tvl))
    other.start()
    assert server.wait_until(lambda s: len(s.open_sessions) == 2)
    for timeout in (0, 0.05):
        assert tvl.new_seis(*BTC, timeout) is False
        with pytest.raises(LockTimeoutError):
            tvl.subscribe(*BTC, Bars(), timeout)
        assert tvl.del_consumer(tvl.new_consumer(seis, Bars(), timeout), timeout) is True
        assert len(seis.get_hist(5, timeout)) == 5
        assert len(tvl.get_hist("AAPL", "NASDAQ", timeout=timeout)) == 10
    assert seis.get_consumers() == [consumer]
    assert tvl.del_seis(seis, 0) is True
    tvl.close()
    other.join(PATIENCE_S)
    assert not other.is_alive()


def test_another_thread_that_lists_it_is_waited_for(server):
    """As long as the caller likes, and no longer."""
    server.inject(NoCompletion(times=1))
    with live(server, max_response_time=5.0) as tvl:
        results = []
        other = threading.Thread(target=lambda: results.append(_outcome(tvl)))
        other.start()
        assert server.wait_until(lambda s: len(s.open_sessions) == 1)
        started = time.monotonic()
        assert tvl.new_seis(*BTC, 0.2) is False
        assert 0.15 < time.monotonic() - started < scaled(4.0)
        tvl.close()
        other.join(PATIENCE_S)
    assert not other.is_alive()


def _outcome(tvl):
    try:
        return tvl.new_seis(*BTC)
    except Exception as error:  # noqa: BLE001 - whatever comes
        return error


def test_history_beside_the_feed(server, tvl):
    """`get_hist` has its timeout where it always stood, and the dates as keywords."""
    seis = tvl.new_seis(*BTC)
    assert len(tvl.get_hist("AAPL", "NASDAQ", Interval.in_daily, 7, None, False, -1)) == 7
    assert len(tvl.get_hist("AAPL", "NASDAQ")) == 10
    days = tvl.get_hist("AAPL", "NASDAQ", start_date="2026-07-01", end_date="2026-07-31")
    assert len(days) == 22
    assert len(seis.get_hist(n_bars=3)) == 3
    assert list(tvl.get_hist_multi(["AAPL", "MSFT"], "NASDAQ")) == ["AAPL", "MSFT"]
    with pytest.raises(ValueError, match="timeout"):
        tvl.get_hist("AAPL", "NASDAQ", timeout=-3)
    assert server.connections_opened == 1


def test_the_feed_starts_again(server, tvl):
    """After the last `del_seis`, after `del_tvdatafeed` and after `close`."""

    def works():
        bars = Bars()
        tvl.subscribe(*BTC, bars)
        server.move(60)
        return bars.wait(2)

    assert works()
    tvl.del_seis(Seis(*BTC))
    assert works()
    tvl.del_tvdatafeed()
    tvl.del_tvdatafeed()
    assert tvl.status() == []
    assert len(tvl.get_hist("AAPL", "NASDAQ")) == 10
    assert works()
    assert tvl.close()
    assert tvl.close()
    assert server.wait_until(lambda s: not s.open_connections)
    assert works()


def test_threads_end_with_the_feed(server):
    """Consumers, hooks, keeper and the feed's own thread; then the connection's."""
    before = set(threading.enumerate())
    tvl = live(server, hooks={"on_state": Calls()})
    consumer = tvl.subscribe(*BTC, Bars())
    names = {t.name for t in threading.enumerate()} - {t.name for t in before}
    assert {
        "tvDatafeed-live",
        "tvDatafeed-hooks",
        "tvDatafeed-keeper",
        "tvDatafeed-reader",
    } <= names
    assert consumer.name in names
    tvl.del_seis(consumer.seis)
    left = {"tvDatafeed-live", "tvDatafeed-hooks", "tvDatafeed-keeper", consumer.name}
    assert until(lambda: not left & {t.name for t in threading.enumerate()})
    assert tvl.close()


def test_status(server, tvl):
    """One record for each Seis."""
    started = server.now
    seis = tvl.new_seis(*BTC)
    (status,) = tvl.status()
    assert (status.seis, status.state, status.delivered) == (seis, "LIVE", 1)
    assert (status.dropped, status.corrections, status.error) == (0, 0, None)
    assert status.last_bar == server.closed()[0]
    assert status.last_bar.tzinfo is dt.timezone.utc
    server.move(61)
    assert until(lambda: tvl.status()[0].delivered == 2)
    assert 0 <= tvl.status()[0].lag_ms < 5000
    assert server.now > started


def test_status_in_a_notebook(server, tvl):
    """A table, whose texts do no harm."""
    tvl.new_seis(*BTC)
    html = tvl.status()._repr_html_()  # the name that IPython looks for
    assert "<table" in html
    for cell in ("BITSTAMP:BTCUSD", "LIVE", "state", "lag_ms"):
        assert cell in html
    # The server cannot produce an error with this text.
    tvl._registry._registered[Seis(*BTC)].series.report(DataError("<b>no</b>"))
    assert "&lt;b&gt;no&lt;/b&gt;" in tvl.status()._repr_html_()
    tvl.del_tvdatafeed()
    assert "<table" in tvl.status()._repr_html_()


def test_states_are_told(server):
    """From the start to the end, and through a reconnection."""
    states = Calls()
    with live(server, hooks={"on_state": states}) as tvl:
        seis = tvl.new_seis(*BTC)
        server.drop_connections()
        assert states.wait(lambda calls: [c[1] for c in calls].count("LIVE") == 2)
        tvl.del_seis(seis)
        tvl.close()
    assert [state for _seis, state in states.calls] == [
        "STARTING",
        "LIVE",
        "RECONNECTING",
        "LIVE",
        "STOPPED",
    ]
    assert {each for each, _state in states.calls} == {seis}


def test_stream(server, tvl):
    """Bars as an iterator, over all that is listed or some of it."""
    btc = tvl.new_seis(*BTC)
    eth = tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
    only, both = tvl.stream(btc, replay_last=True), tvl.stream()
    seis, bar = next(only)
    assert (seis, list(bar.index)) == (btc, server.closed())
    server.move(60)
    seis, bar = next(only)
    assert (seis, list(bar.index)) == (btc, server.closed())
    assert {next(both)[0], next(both)[0]} == {btc, eth}
    tvl.del_seis(btc)
    assert list(only) == []
    server.move(60)
    assert next(both)[0] is eth
    both.close()
    assert (
        list(tvl.stream(eth, bars="all", max_queue=1)) == [] if tvl.del_seis(eth) is None else True
    )


def test_stream_of_nothing_ends_and_of_a_stranger_is_refused(tvl):
    """Options that cannot be right are refused when it is called."""
    assert list(tvl.stream()) == []
    with pytest.raises(ValueError, match="not listed"):
        tvl.stream(Seis(*BTC))
    with pytest.raises(DataValidationError):
        tvl.stream(bars="some")
    with pytest.raises(DataValidationError):
        tvl.stream(max_queue=0)


def test_wait(server, tvl):
    """It ends with the feed, or when its time is over."""
    assert tvl.wait() is True
    seis = tvl.new_seis(*BTC)
    assert tvl.wait(0.05) is False
    threading.Timer(0.05, tvl.del_seis, [seis]).start()
    assert tvl.wait(PATIENCE_S) is True


def test_two_feeds_in_one_process(server):
    """One that is closed leaves the other alone."""
    with live(server) as one, live(server) as other:
        first, second = Bars(), Bars()
        one.subscribe(*BTC, first)
        other.subscribe(*BTC, second)
        one.close()
        server.move(60)
        assert second.wait(2)
        assert len(first.frames) == 1


def test_a_feed_is_a_tvdatafeed(server, tvl):
    """Class, names and the attributes of old."""
    seis = tvl.new_seis(*BTC)
    consumer = seis.new_consumer(print)
    assert isinstance(tvl, TvDatafeed)
    assert seis.tvdatafeed is tvl
    assert isinstance(consumer, Consumer)
    assert consumer.name == "print_BTCUSD_BITSTAMP_1"
    assert str(consumer) == 'Seis("BTCUSD","BITSTAMP",Interval.in_1_minute),callback=print'


def test_thread_that_cannot_start(server, tvl, monkeypatch):
    """It is an error of ours, and nothing is listed."""
    real = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith(("tvDatafeed-live", "print_")):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ThreadingError, match="can't start new thread"):
        tvl.new_seis(*BTC)
    assert tvl.status() == []
    monkeypatch.undo()
    seis = tvl.new_seis(*BTC)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ThreadingError, match="can't start new thread"):
        tvl.new_consumer(seis, print)
    assert seis.get_consumers() == []
    monkeypatch.undo()
    assert tvl.new_consumer(seis, print)


@pytest.mark.parametrize("timeout", [math.inf, 1e300])
def test_close_without_a_limit(server, timeout):
    """As long as it takes."""
    with live(server) as tvl:
        bars = Bars()
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        assert tvl.close(timeout)
        assert not tvl.status()
