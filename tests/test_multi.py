"""Many symbols over one connection: order, errors, limits, and what is left behind."""

import builtins
import datetime as dt
import os
import pickle
import signal
import sys
import textwrap
import threading
import time

import pandas as pd
import pytest

from tests.loopback import NOW, expected, impatient
from tests.programs import run
from tests.scale import PATIENCE_S, scaled
from tvDatafeed import (
    AuthenticationError,
    ConfigurationError,
    DataError,
    DataNotFoundError,
    DataValidationError,
    EntitlementError,
    Interval,
    InvalidIntervalError,
    InvalidOHLCError,
    SymbolNotFoundError,
    TvDatafeed,
    WebSocketError,
)
from tvDatafeed.testing import (
    Account,
    EmptyHistory,
    FakeTradingView,
    FinMidFrame,
    LateReply,
    Listing,
    Market,
    NoCompletion,
    Refusal,
    ReplaceBars,
    SessionCap,
)

HOUR = Interval.in_1_hour
GOOD = [f"S{number:03}" for number in range(93)]


@pytest.fixture(scope="module")
def market():
    """Ninety-three stocks that trade around the clock, and three that will be refused."""
    return Market(
        tuple(
            Listing(f"NASDAQ:{name}", f"Stock {name}", 100.0 + number, dt.date(2020, 1, 1))
            for number, name in enumerate([*GOOD, "SLOW", "ODD", "NONE"])
        )
    )


@pytest.fixture
def server(market):
    with FakeTradingView(market=market, clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def tv(server):
    with TvDatafeed(config=impatient(server)) as client:
        yield client


@pytest.mark.slow
def test_a_hundred_symbols_with_seven_bad_ones(server, tv):
    """93 frames and 7 typed errors with reasons, in the order of the symbols."""
    server.refuse("NASDAQ:PAID", Refusal("symbol_error", "permission denied", ("group", "paid")))
    server.refuse("NASDAQ:SLOW", Refusal("series_error", "resolution_not_entitled"))
    server.refuse("NASDAQ:ODD", Refusal("critical_error", "invalid parameters"))
    server.refuse("NASDAQ:NONE", Refusal("series_error", "something new"))
    bad = {
        "PAID": (EntitlementError, "permission denied (group paid)"),
        "SLOW": (EntitlementError, "resolution_not_entitled"),
        "ODD": (DataError, "invalid parameters"),
        "NONE": (DataError, "something new"),
        "NOPE": (SymbolNotFoundError, "'NOPE' not found on NASDAQ"),
        "NYSE:S001": (SymbolNotFoundError, "'S001' not found on NYSE"),
        "NO GOOD": (DataValidationError, "white space"),
    }
    symbols = [*GOOD]
    for place, name in zip((0, 13, 14, 50, 77, 98, 99), bad, strict=True):
        symbols.insert(place, name)
    assert len(symbols) == 100
    frames = tv.get_hist_multi(symbols, "NASDAQ", HOUR, 30, timezone="UTC", on_error="collect")
    assert list(frames) == GOOD
    assert list(frames.errors) == list(bad)
    for name, (kind, words) in bad.items():
        assert type(frames.errors[name]) is kind
        assert words in str(frames.errors[name])
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, expected(server, f"NASDAQ:{name}", HOUR, 30))
    assert server.connections_opened == 1
    assert server.peak_sessions <= 10
    assert server.wait_until(lambda s: not s.open_sessions)


@pytest.mark.parametrize("window", [1, 3, 93])
@pytest.mark.slow
def test_never_more_sessions_than_asked_for(server, tv, window):
    """`max_concurrent` bounds the open chart sessions, and is made use of."""
    server.inject()
    frames = tv.get_hist_multi(GOOD, "NASDAQ", HOUR, 2, max_concurrent=window)
    assert len(frames) == 93
    assert frames.errors == {}
    assert server.peak_sessions <= window
    assert server.wait_until(lambda s: not s.open_sessions)


def test_the_next_request_does_not_wait_for_the_frame_before(server, tv):
    """When a result reaches the caller, its place has already been given to the next request."""
    requested = []

    def report(_done, _total, _name):
        if not requested:
            requested.append(server.wait_until(has_four_requests, PATIENCE_S))

    def has_four_requests(server):
        return sum(message.method == "create_series" for message in server.received) >= 4

    tv.get_hist_multi(GOOD[:6], "NASDAQ", HOUR, 2, max_concurrent=3, progress=report)
    assert requested == [True]


@pytest.mark.slow
def test_they_are_pipelined(market):
    """Ten at a time over a link of 100 ms: nine round trips and not ninety-three."""
    with (
        FakeTradingView(market=market, clock=lambda: NOW, round_trip_s=0.1) as server,
        TvDatafeed(config=server.config()) as tv,
    ):
        tv.get_hist("S000", "NASDAQ")
        started = time.monotonic()
        frames = tv.get_hist_multi(GOOD, "NASDAQ", HOUR, 10)
        took = time.monotonic() - started
        assert len(frames) == 93
        assert 0.9 < took < scaled(4.0)
        assert server.peak_sessions == 10


def test_the_first_failure_is_raised_and_the_rest_given_up(server, tv):
    """`on_error="raise"`, the default, leaves no session behind and the object usable."""
    server.inject(*(NoCompletion(symbol=f"NASDAQ:{name}") for name in GOOD[:9]))
    started = time.monotonic()
    with pytest.raises(SymbolNotFoundError, match="NOPE"):
        tv.get_hist_multi([*GOOD[:9], "NOPE", *GOOD[9:]], "NASDAQ", HOUR)
    assert time.monotonic() - started < scaled(4.0)
    assert server.wait_until(lambda s: not s.open_sessions)
    server.clear_faults()
    assert len(tv.get_hist("S000", "NASDAQ")) == 10
    assert server.connections_opened == 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be raised in one process there")
def test_ctrl_c_stops_at_once_and_frees_all_sessions(server, tv):
    """KeyboardInterrupt passes through, the server's sessions are freed, the object is usable."""
    server.inject(NoCompletion())
    interrupter = threading.Thread(
        target=lambda: (
            server.wait_until(lambda s: len(s.open_sessions) == 10),
            os.kill(os.getpid(), signal.SIGINT),
        )
    )
    interrupter.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        tv.get_hist_multi(GOOD, "NASDAQ", HOUR)
    assert time.monotonic() - started < scaled(4.0)
    interrupter.join(PATIENCE_S)
    assert server.wait_until(lambda s: not s.open_sessions)
    server.clear_faults()
    assert len(tv.get_hist_multi(GOOD[:20], "NASDAQ", HOUR)) == 20
    # The server may see the tenth session while the thread is still sending it,
    # and half a message costs the connection.
    assert server.connections_opened <= 2


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
@pytest.mark.slow
def test_ctrl_c_at_any_moment(server):
    """Wherever it strikes, no lock, no place and no session is kept, and the object is usable."""
    program = """
        import faulthandler, os, random, signal, sys, threading
        from tvDatafeed import Interval, TvDatafeed
        faulthandler.dump_traceback_later(float(sys.argv[1]), exit=True)
        # A message that was interrupted costs the connection, and the next one comes at once.
        os.environ |= {"TV_BASE_RETRY_DELAY": "0.01", "TV_REQUESTS_PER_MINUTE": "6000"}
        choose, names = random.Random(7), [f"NASDAQ:S{n:03}" for n in range(60)]
        with TvDatafeed(verbose=False) as tv:
            # Other libraries are not made to be interrupted in the middle of their import.
            tv.get_hist_multi(names[:12], n_bars=1)
            for _ in range(25):
                strike = threading.Timer(choose.uniform(0, 0.05), os.kill, (os.getpid(), 2))
                try:
                    try:
                        strike.start()
                        while strike.is_alive():
                            tv.get_hist_multi(names, interval=Interval.in_1_hour, n_bars=10)
                    finally:
                        strike.join()
                except KeyboardInterrupt:
                    pass
                assert len(tv.get_hist_multi(names[:12], n_bars=1)) == 12
            assert tv.stats()["open_sessions"] == 0
        print("usable")
        """
    done = run("-c", textwrap.dedent(program), str(PATIENCE_S), server=server)
    assert (done.returncode, done.stdout.strip()) == (0, "usable"), done.stderr
    assert server.wait_until(lambda s: not s.open_sessions)


def test_progress_is_told_to_a_callable(server, tv):
    """It is called with (done, total, symbol) after each, failures included, in this thread."""
    calls, threads = [], set()

    def report(done, total, symbol):
        threads.add(threading.current_thread())
        calls.append((done, total, symbol))

    names = ["S001", "NOPE", "S002", "BAD ONE", "S001", "NASDAQ:S002"]
    frames = tv.get_hist_multi(names, "NASDAQ", HOUR, progress=report, on_error="collect")
    assert [call[:2] for call in calls] == [(n, 5) for n in range(1, 6)]
    assert {call[2] for call in calls} == {"S001", "NOPE", "S002", "BAD ONE", "NASDAQ:S002"}
    assert threads == {threading.current_thread()}
    assert list(frames) == ["S001", "S002", "NASDAQ:S002"]
    assert list(frames.errors) == ["NOPE", "BAD ONE"]


def test_a_symbol_given_twice_is_asked_for_once(server, tv):
    """Also under another spelling; each name has a frame of its own."""
    frames = tv.get_hist_multi(["S001", "nasdaq:s001", "S001"], "NASDAQ", HOUR)
    assert list(frames) == ["S001", "nasdaq:s001"]
    first, second = frames.values()
    pd.testing.assert_frame_equal(first, second)
    first["close"] = 0.0
    assert second["close"].min() > 0
    created = [r for r in server.received if r.method == "create_series"]
    assert len(created) == 1


def test_a_callable_that_raises_ends_the_batch(server, tv):
    """Its error passes through, and no session is left."""

    def refuse(done, _total, _symbol):
        if done == 5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        tv.get_hist_multi(GOOD, "NASDAQ", HOUR, progress=refuse)
    assert server.wait_until(lambda s: not s.open_sessions)


def test_progress_bar_of_tqdm(server, tv, capsys):
    """True draws a bar on stderr, which ends full."""
    tv.get_hist_multi(GOOD[:7], "NASDAQ", HOUR, progress=True)
    assert "7/7" in capsys.readouterr().err


def test_progress_bar_without_tqdm(server, tv, monkeypatch):
    """Where tqdm is missing, the error has the line that installs it, and nothing is sent."""
    load = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name.startswith("tqdm"):
            raise ImportError(name)
        return load(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigurationError, match=r"pip install .tvdatafeed\[progress\]"):
        tv.get_hist_multi(GOOD, "NASDAQ", HOUR, progress=True)
    assert server.accepted == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_concurrent": 0}, DataValidationError),
        ({"max_concurrent": "ten"}, DataValidationError),
        ({"on_error": "ignore"}, DataValidationError),
        ({"progress": "yes"}, DataValidationError),
        ({"n_bars": 0}, DataValidationError),
        ({"start_date": "2024-01-01", "n_bars": 1}, DataValidationError),
        ({"interval": "1x"}, InvalidIntervalError),
        ({"timezone": "Mars"}, ConfigurationError),
        ({"fut_contract": 0}, ValueError),
    ],
)
def test_arguments_that_cannot_be_right(server, tv, arguments, error):
    """What is wrong with the call is raised whatever `on_error` says, and nothing is sent."""
    with pytest.raises(error):
        tv.get_hist_multi(GOOD, "NASDAQ", **{"on_error": "collect", **arguments})
    assert server.accepted == 0


def test_no_symbols_and_one(server, tv):
    """An empty list gives nothing, and a text is one symbol."""
    assert tv.get_hist_multi([], "NASDAQ") == {}
    assert server.accepted == 0
    assert list(tv.get_hist_multi("S001", "NASDAQ")) == ["S001"]
    assert list(tv.get_hist_multi(iter(["S001", "S002"]), "NASDAQ")) == ["S001", "S002"]


def test_bad_bars_and_none_are_errors_of_their_symbol(server, tv):
    """What is found when the frame is made counts as well."""
    server.inject(EmptyHistory(symbol="NASDAQ:S001"))
    broken = ReplaceBars(rows=[(NOW - 60, 1, 0.5, 1, 1, 1)], symbol="NASDAQ:S002")
    server.inject(broken)
    frames = tv.get_hist_multi(
        ["S001", "S002", "S003"], "NASDAQ", HOUR, 1, on_error="collect", validate="raise"
    )
    assert list(frames) == ["S003"]
    assert {n: type(e) for n, e in frames.errors.items()} == {
        "S001": DataNotFoundError,
        "S002": InvalidOHLCError,
    }


@pytest.mark.slow
def test_a_connection_that_breaks_costs_no_symbol(server, tv):
    """What was running is requested again on the next connection, bar for bar."""
    server.inject(FinMidFrame(times=3))
    frames = tv.get_hist_multi(GOOD, "NASDAQ", HOUR, 50, timezone="UTC")
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, expected(server, f"NASDAQ:{name}", HOUR, 50))
    assert server.connections_opened == 4
    assert server.wait_until(lambda s: not s.open_sessions)


@pytest.mark.slow
def test_more_at_a_time_than_a_connection_carries(server):
    """Beyond the cap of a connection, ours or the server's, another one is opened."""
    with TvDatafeed(config=impatient(server, max_sessions=4)) as tv:
        assert len(tv.get_hist_multi(GOOD, "NASDAQ", HOUR, max_concurrent=12)) == 93
        assert server.connections_opened == 3
    server.inject(SessionCap(limit=5))
    with TvDatafeed(config=impatient(server)) as tv:
        assert len(tv.get_hist_multi(GOOD, "NASDAQ", HOUR, max_concurrent=12)) == 93


def test_a_window_wider_than_the_places_waits_for_nobody(server):
    """What has been answered makes room at once; nothing waits for leave to connect again."""
    config = impatient(server, max_sessions=1, burst_size=1, requests_per_minute=1)
    with TvDatafeed(config=config) as tv:
        started = time.monotonic()
        told = []
        frames = tv.get_hist_multi(
            GOOD[:40],
            "NASDAQ",
            HOUR,
            max_concurrent=20,
            progress=lambda done, *_: told.append(done),
        )
        assert time.monotonic() - started < scaled(20.0)
    assert len(frames) == 40
    assert told == list(range(1, 41))
    assert server.connections_opened == 1
    assert server.peak_sessions == 1


def test_threads_wait_for_a_place_and_not_for_a_connection(server):
    """A place that another thread leaves is taken at once, where no connection may be opened."""
    results = []
    config = impatient(server, max_sessions=1, burst_size=1, requests_per_minute=4)
    with TvDatafeed(config=config) as tv:

        def ask(name):
            results.append(len(tv.get_hist(name, "NASDAQ", HOUR)))

        threads = [threading.Thread(target=ask, args=(name,)) for name in GOOD[:30]]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < scaled(10.0)
    assert results == [10] * 30
    assert server.connections_opened == 1


def test_a_cap_of_the_server_is_learned_once(server):
    """A connection that takes one session costs no symbol, and the next one is not overrun."""
    server.inject(SessionCap(limit=1))
    with TvDatafeed(config=impatient(server, burst_size=3, requests_per_minute=1)) as tv:
        frames = tv.get_hist_multi(GOOD[:30], "NASDAQ", HOUR)
        assert len(frames) == 30
        refused = tv.stats()["errors"]["RateLimitError"]
    assert server.connections_opened <= 3
    assert refused < 30


@pytest.mark.slow
def test_one_whose_time_is_over_takes_none_with_it(server):
    """A symbol that is requested again too late fails alone."""
    server.inject(NoCompletion(symbol="NASDAQ:S000"), LateReply(delay_s=0.05))
    config = impatient(server, max_response_time=0.4, max_sessions=2, burst_size=1)
    with TvDatafeed(config=config) as tv:
        frames = tv.get_hist_multi(GOOD[:20], "NASDAQ", HOUR, max_concurrent=4, on_error="collect")
    assert list(frames) == GOOD[1:20]
    assert list(frames.errors) == ["S000"]


def test_faults_without_a_connection_are_counted_too(server):
    """`stats` counts an outage in which no connection is tried."""
    server.stop()
    with TvDatafeed(config=impatient(server, max_retries=0, failure_threshold=1)) as tv:
        for count in (1, 2):
            with pytest.raises(WebSocketError):
                tv.get_hist("S000", "NASDAQ")
            assert tv.stats()["errors"] == {"WebSocketError": count}


def test_an_outage_takes_its_time_once(server):
    """When there is no connection, all symbols fail together and not one after the other."""
    config = impatient(server, max_response_time=0.5, connect_timeout=0.3)
    server.stop()
    started = time.monotonic()
    with TvDatafeed(config=config) as tv:
        frames = tv.get_hist_multi(GOOD, "NASDAQ", HOUR, on_error="collect")
    assert time.monotonic() - started < scaled(4.0)
    assert frames == {}
    assert list(frames.errors) == GOOD
    assert all(isinstance(e, WebSocketError) for e in frames.errors.values())
    assert len({id(e) for e in frames.errors.values()}) == 93


def test_a_token_that_ends_is_renewed_once_for_all(market):
    """A refused token costs one renewal and no symbol."""
    alice = Account("alice", "open sesame")
    with FakeTradingView(market=market, clock=lambda: NOW, accounts=[alice]) as server:
        cookies = server.issue_cookies("alice")
        with TvDatafeed(
            sessionid=cookies.sessionid,
            sessionid_sign=cookies.sessionid_sign,
            token_cache=False,
            config=impatient(server),
        ) as tv:
            tv.get_hist("S000", "NASDAQ")
            issued = server.tokens_issued
            server.expire_tokens(now=True)
            assert len(tv.get_hist_multi(GOOD, "NASDAQ", HOUR)) == 93
            assert server.tokens_issued == issued + 1


def test_a_token_that_is_refused_is_nobodys_own_failure(market):
    """Without a way to renew it every symbol has the error, after one attempt."""
    with FakeTradingView(market=market, bad_tokens=["eyJhbGciOiJub25lIn0.e30.x"]) as server:
        with TvDatafeed(auth_token="eyJhbGciOiJub25lIn0.e30.x", config=impatient(server)) as tv:
            frames = tv.get_hist_multi(GOOD[:5], "NASDAQ", HOUR, on_error="collect")
        assert {type(e) for e in frames.errors.values()} == {AuthenticationError}


def test_frames_are_a_dict_that_can_be_pickled(server, tv):
    """The result is a dict, shows itself in a line, and keeps its errors in a pickle."""
    frames = tv.get_hist_multi(["S001", "NOPE"], "NASDAQ", HOUR, on_error="collect")
    assert isinstance(frames, dict)
    assert repr(frames) == "<1 frames, 1 errors: S001>"
    again = pickle.loads(pickle.dumps(frames))  # noqa: S301 - our own
    pd.testing.assert_frame_equal(again["S001"], frames["S001"])
    assert list(again.errors) == ["NOPE"]
    assert pd.concat(frames).index.names[1] == "datetime"
