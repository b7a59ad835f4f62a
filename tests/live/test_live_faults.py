"""The live feed through faults: nothing is lost, nothing comes twice, and nobody else suffers."""

import json
import logging
import math
import threading
import time

import pandas as pd
import pytest

from tests.feed import BTC, MINUTE, Bars, Calls, LiveServer, live, live_config, until
from tests.scale import PATIENCE_S
from tvDatafeed import (
    AuthenticationError,
    DataError,
    Interval,
    NetworkError,
    RateLimitError,
    TvDatafeedLive,
    WebSocketError,
)
from tvDatafeed.auth.account import Account as TokenAccount
from tvDatafeed.network.dispatcher import OpenStream
from tvDatafeed.testing import (
    Account,
    BadHeader,
    BinaryFrame,
    CloseCode,
    CompletionFirst,
    CompressedFrame,
    ConnectSilence,
    CriticalErrorReply,
    Drip,
    EndlessFragments,
    FinMidFrame,
    ForeignSession,
    GiantHeader,
    GluedHeartbeat,
    HalfOpen,
    HandshakeDrip,
    HandshakeStall,
    HeartbeatFlood,
    HeartbeatsOnly,
    HostileJson,
    InvalidUtf8,
    LateReply,
    LengthUnit,
    NeverRead,
    NoCompletion,
    ProtocolErrorReply,
    Refuse,
    RstMidFrame,
    SessionCap,
    SplitPackets,
    TruncatedJson,
    UnknownMessages,
    UpgradeGarbage,
    UpgradeStatus,
    WrongLength,
)

SYMBOL = "BITSTAMP:BTCUSD"
# Faults that pass, with how often they strike.
PASSING = [
    BadHeader(times=1),
    BadHeader("~m~" + "9" * 40 + "~m~", times=1),
    BinaryFrame(times=1),
    CloseCode(1000, times=2),
    CloseCode(1001, times=2),
    CloseCode(1008, times=2),
    CloseCode(1012, times=1),
    CloseCode(4001, times=1),
    CompletionFirst(times=1),
    CompressedFrame(times=1),
    ConnectSilence(times=1),
    Drip(bytes_per_s=20, times=1),
    EndlessFragments(times=1),
    FinMidFrame(times=3),
    ForeignSession(times=1),
    GiantHeader(times=1),
    GluedHeartbeat(times=2),
    HalfOpen(times=1),
    HandshakeDrip(bytes_per_s=20, times=1),
    HandshakeStall(times=1),
    HeartbeatFlood(times=1),
    HeartbeatsOnly(times=1),
    *(
        HostileJson(kind, times=1)
        for kind in ("nan", "infinity", "long_number", "deep", "lone_surrogate")
    ),
    InvalidUtf8(times=2),
    LateReply(delay_s=0.2, times=1),
    LengthUnit("bytes", times=2),
    NeverRead(times=1),
    NoCompletion(times=1),
    ProtocolErrorReply(reason="something new", times=2),
    ProtocolErrorReply(reason="user connections limit reached", times=1),
    Refuse("rst", times=6),
    Refuse("fin", times=3),
    RstMidFrame(times=3),
    SplitPackets(times=1),
    TruncatedJson(times=1),
    UnknownMessages(times=1),
    UpgradeStatus(429, times=1),
    *(UpgradeStatus(status, times=2) for status in (500, 502, 503, 504)),
    WrongLength(times=1),
]


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


@pytest.fixture
def tvl(server):
    with live(server) as feed:
        yield feed


def hasty(server, **more):
    """A feed that gives up on what does not come within some tenths of a second."""
    limits = {
        "connect_timeout": 0.3,
        "recv_timeout": 0.4,
        "max_response_time": 0.8,
        "silence_timeout": 0.5,
        "ping_timeout": 0.2,
        "send_timeout": 0.3,
    }
    return live(server, **{**limits, **more})


def tell_time(server, session):
    """Let the client know what time it is there, and nothing else."""
    message = {"m": "series_loading", "p": [session, "sds_1", "s1"]}
    server.push(json.dumps(message | {"t_ms": int(server.now * 1000)}))


@pytest.mark.parametrize("fault", PASSING, ids=repr)
def test_fault_while_it_reconnects(server, fault):
    """Rows 1 to 45: the feed comes back by itself, and what was missed follows in order."""
    bars = Bars()
    with hasty(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(fault)
        server.now += 180
        server.drop_connections()
        assert bars.wait(4), tvl.status()
        server.clear_faults()
        # What a fault has frozen is noticed by its silence.
        assert until(lambda: tvl.status()[0].state == "LIVE")
        server.now += 60
        assert until(lambda: server.tick() or len(bars.frames) >= 5)
    assert bars.opens == server.closed(count=5)


@pytest.mark.parametrize("fault", [f for f in PASSING if hasattr(f, "symbol")], ids=repr)
def test_fault_in_the_midst_of_updates(server, fault):
    """The same faults where a tick comes: no bar is lost with it."""
    bars = Bars()
    with hasty(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(fault)
        for count in (2, 3, 4):
            server.now += 60
            assert until(lambda wanted=count: server.tick() or len(bars.frames) >= wanted)
        server.clear_faults()
    assert bars.opens == server.closed(count=4)


def test_server_that_restarts(server):
    """Three times; the last bars of the downtime follow, and each return is told once."""
    bars, returns = Bars(), Calls()
    with live(server, hooks={"on_reconnect": returns}) as tvl:
        tvl.subscribe(*BTC, bars)
        for count in (1, 2, 3):
            server.move(60)
            assert bars.wait(count * 3 - 1)
            server.stop()
            server.now += 120
            server.start()
            assert bars.wait(count * 3 + 1)
            assert returns.wait(lambda calls, count=count: len(calls) == count)
        assert tvl.stats()["reconnects"] >= 3
    assert bars.opens == server.closed(count=10)
    for start, end in returns.calls:
        assert start.utcoffset().total_seconds() == 0
        assert start < end


def test_a_gap_longer_than_a_page(server):
    """What one page holds is refilled, and the rest reported (row 18)."""
    bars, gaps = Bars(), Calls()
    with live(server, hooks={"on_gap": gaps}, data={"max_bars": 50}) as tvl:
        seis = tvl.new_seis(*BTC)
        seis.new_consumer(bars)
        assert bars.wait(1)
        last = server.closed()[0]
        server.now += 200 * 60
        server.drop_connections()
        assert bars.wait(50)
        assert gaps.wait(lambda calls: len(calls) == 1)
    assert bars.opens == [last, *server.closed(count=49)]
    ((told, start, end),) = gaps.calls
    assert told is seis
    assert (pd.Timestamp(start), pd.Timestamp(end)) == (last, bars.opens[1])


@pytest.mark.parametrize(
    "fault",
    [
        UpgradeStatus(403),
        UpgradeStatus(200, b"<html>"),
        UpgradeGarbage(),
        ProtocolErrorReply(reason="banned"),
    ],
    ids=repr,
)
def test_what_will_not_pass_is_told_once(server, fault):
    """A refusal that stays: one error for each Seis, no storm, and `new_seis` tries again."""
    errors, states = Calls(), Calls()
    with live(server, hooks={"on_error": errors, "on_state": states}) as tvl:
        one = tvl.new_seis(*BTC)
        other = tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
        bars = Bars()
        one.new_consumer(bars)
        accepted = server.accepted
        server.inject(fault)
        server.drop_connections()
        assert errors.wait(lambda calls: len(calls) == 2)
        assert {seis for seis, _error in errors.calls} == {one, other}
        assert all(isinstance(e, WebSocketError) and not e.retryable for _s, e in errors.calls)
        assert server.accepted - accepted <= 2
        assert {s.state for s in tvl.status()} == {"FAILED"}
        assert all(status.error for status in tvl.status())
        server.clear_faults()
        server.now += 60
        assert tvl.new_seis(*BTC) is one
        assert bars.wait(2)
        assert bars.opens == server.closed(count=2)
        assert until(lambda: [s.state for s in tvl.status()] == ["LIVE", "FAILED"])


def test_rate_limit_is_told_once_and_waited_for(server):
    """An episode of it is one error, and the feed goes on."""
    errors, bars = Calls(), Bars()
    with live(server, hooks={"on_error": errors}, max_retries=0) as tvl:
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        server.inject(UpgradeStatus(429, times=4))
        server.now += 60
        server.drop_connections()
        assert bars.wait(2)
        assert [who for who, _error in errors.calls] == [seis]
        assert isinstance(errors.calls[0][1], RateLimitError)


@pytest.mark.slow
def test_retry_after_is_waited_for(server):
    """A server that says when is not asked before (row 7)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(UpgradeStatus(429, retry_after=1, times=1))
        server.now += 60
        started = time.monotonic()
        server.drop_connections()
        assert bars.wait(2)
        assert time.monotonic() - started > 0.9


@pytest.mark.slow
def test_storm_is_bounded(server, caplog):
    """A server that accepts and drops at once is asked ever less often (row 20)."""
    bars = Bars()
    with live(server, base_retry_delay=0.05, max_retry_delay=0.4) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(CloseCode(1001))
        accepted = server.accepted
        server.drop_connections()
        started = time.monotonic()
        assert server.wait_until(lambda s: s.accepted - accepted >= 6)
        # 0.05, 0.1, 0.2, 0.4 and 0.4 s, each at least half.
        assert time.monotonic() - started > 0.5
        server.clear_faults()
        server.now += 60
        assert bars.wait(2)
    warnings = [r for r in caplog.records if r.name == "tvDatafeed.network"]
    assert len([r for r in warnings if r.levelno == logging.WARNING]) <= 3


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ('{"m":"series_error","p":["%s","sds_1","s1","something new","n"]}', DataError),
        ('{"m":"symbol_error","p":["%s","sds_sym_1","invalid symbol"]}', DataError),
        ('{"m":"critical_error","p":["%s","invalid parameters","x"]}', DataError),
    ],
)
def test_one_symbols_trouble_is_its_own(server, message, error):
    """A symbol that is delisted fails, and no other (row 58)."""
    errors, well = Calls(), Bars()
    with live(server, hooks={"on_error": errors}) as tvl:
        sick = tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
        (session,) = server.open_sessions
        tvl.subscribe(*BTC, well)
        server.push(message % session)
        assert errors.wait(lambda calls: len(calls) == 1)
        ((who, what),) = errors.calls
        assert who is sick
        assert isinstance(what, error)
        server.move(60)
        assert well.wait(2)
        assert [s.state for s in tvl.status()] == ["FAILED", "LIVE"]
        assert server.connections_opened == 1


def test_session_cap_opens_further_connections(server):
    """Ours or the server's: beyond it another connection carries the Seises (row 43)."""
    names = [s.partition(":") for s in server.market.symbols][:12]
    server.inject(SessionCap(limit=5))
    bars = Bars()
    with live(server, max_sessions=6) as tvl:
        for exchange, _, name in names:
            tvl.new_seis(name, exchange, Interval.in_daily)
        tvl.subscribe(*BTC, bars)
        assert len(server.open_sessions) == 13
        assert server.open_connections >= 3
        server.move(60)
        assert bars.wait(2)
        server.drop_connections()
        assert server.wait_until(lambda s: len(s.open_sessions) == 13, PATIENCE_S)
        assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))


def test_corrections_are_counted(server):
    """A bar that changes after it was told is not told again (row 47); history has the change."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        server.move(60)
        assert bars.wait(2)
        (session,) = server.open_sessions
        wrong = [bars.opens[1].timestamp(), 1.0, 2.0, 0.5, 1.5, 9.0]
        update = {"sds_1": {"s": [{"i": 0, "v": wrong}], "t": "s1"}}
        for _ in range(2):
            server.push(json.dumps({"m": "du", "p": [session, update]}))
        assert until(lambda: tvl.status()[0].corrections == 1)
        server.move(60)
        assert bars.wait(3)
        assert tvl.status()[0].corrections == 1
    assert bars.opens == server.closed(count=3)


def test_duplicates_and_disorder(server):
    """Whatever comes again, or in another order, is told once and in order (rows 45, 46, 48)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        market = server.market.bars(SYMBOL, "1", 300, server.now + 180)
        rows = [[float(b.time), *b[1:]] for b in market]
        for chosen in (rows[-2:-1], rows[-3:-2], rows[-2:], rows, rows[:50], rows[-4:]):
            items = [{"i": i, "v": row} for i, row in enumerate(chosen)]
            update = {"sds_1": {"s": items, "t": "s1"}}
            server.push(json.dumps({"m": "timescale_update", "p": [session, update, {}]}))
        assert bars.wait(4)
        server.now += 180
        server.move(60)
        assert bars.wait(5)
    assert bars.opens == server.closed(count=5)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([None, 2.0, 0.5, 1.5, 9.0], "without a price"),
        (["x", 2.0, 0.5, 1.5, 9.0], "without a price"),
        ([1.0, 0.5, 2.0, 1.5, 9.0], "does not hold its open and close"),
        ([1.0, 2.0, 0.5, 1.5, -9.0], "negative volume"),
        ([1.0, 2.0, 0.5, 1.5], None),
    ],
)
def test_broken_bars_are_told_as_they_came(server, caplog, cells, words):
    """With NaN for what is missing, and one WARNING for each Seis (rows 49 to 51)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        first = bars.opens[0].timestamp() + 60
        for n in range(4):
            row = [first + 60 * n, *cells]
            update = {"sds_1": {"s": [{"i": n, "v": row}], "t": "s1"}}
            server.push(json.dumps({"m": "timescale_update", "p": [session, update, {}]}))
        assert bars.wait(4)
    frame = bars.frames[1].iloc[0]
    assert math.isnan(frame["open"]) == (not isinstance(cells[0], float))
    assert frame["volume"] == (cells[4] if len(cells) > 4 else 0.0)
    warnings = [r.getMessage() for r in caplog.records if r.name == "tvDatafeed.live.livebar"]
    assert len(warnings) == (words is not None)
    assert words is None or words in warnings[0]


def test_missing_volume_goes_forward(server):
    """As the setting says, from the bar before."""
    bars = Bars()
    with live(server, data={"fill_missing_volume": "forward"}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        first = bars.opens[0].timestamp() + 60
        for n in range(2):
            update = {"sds_1": {"s": [{"i": n, "v": [first + 60 * n, 1, 2, 0.5, 1.5]}], "t": "s1"}}
            server.push(json.dumps({"m": "timescale_update", "p": [session, update, {}]}))
        assert bars.wait(2)
    assert len(bars.frames[1]) == 1
    assert bars.frames[1]["volume"].iloc[0] == bars.frames[0]["volume"].iloc[0]


def test_a_closed_market_is_silence(server):
    """Over a night and a weekend: no error, no reconnection, and the next bar comes."""
    errors, bars = Calls(), Bars()
    hooks = {"on_error": errors, "on_gap": errors, "on_reconnect": errors}
    with live(server, hooks=hooks) as tvl:
        # A Friday evening; it opens on Monday.
        tvl.subscribe("AAPL", "NASDAQ", MINUTE, bars)
        assert bars.wait(1)
        for _ in range(10):
            server.move(6 * 3600)
            if server.now > 1786973400 - 6 * 3600:
                break
        assert len(bars.frames) == 1
        server.now = 1786973400.0
        server.tick()
        server.move(61)
        assert bars.wait(2)
    assert bars.opens[1] == pd.Timestamp(1786973400, unit="s", tz="UTC")
    assert errors.calls == []


def test_the_last_bar_of_a_session_is_closed_by_the_clock(server):
    """Nothing comes after it, and yet it is told (design: the server's clock, two seconds on)."""
    server.now = 1786737599.0 - 60.5  # a minute and a half second before New York closes
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe("AAPL", "NASDAQ", Interval.in_3_minute, bars)
        assert bars.wait(1)
        # The clock of the server goes on by itself, as far as the client knows.
        server.now += 60.4
        (session,) = server.open_sessions
        stamp = {"t_ms": int((server.now + 2.0) * 1000)}
        server.push(json.dumps({"m": "series_loading", "p": [session, "sds_1", "s1"], **stamp}))
        server.tick()
        assert bars.wait(2)
    assert bars.opens[1] == pd.Timestamp(1786737600 - 180, unit="s", tz="UTC")


def test_a_stream_that_stays_silent_is_looked_after(server, monkeypatch):
    """A server that forgets a series: it is opened anew, and nothing was missed (safety net)."""
    monkeypatch.setattr("tvDatafeed.live.streaming.SILENCE_S", 0.1)
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        # Two seconds after the close of the forming bar there is no word of a new one.
        server.now += 62.5
        tell_time(server, session)
        assert bars.wait(2)
        assert server.wait_until(lambda s: session not in s.open_sessions)
        server.now += 60
        assert until(lambda: server.tick() or len(bars.frames) >= 3)
        assert server.connections_opened == 1
    assert bars.opens == server.closed(count=3)


@pytest.mark.slow
def test_polling(server):
    """``TV_LIVE_MODE=poll``: bars are asked for when they are due, and the same ones come."""
    bars = Bars()
    threads = {"live_mode": "poll", "retry_sleep": 0.05, "retry_limit": 2}
    with live(server, threads=threads) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        assert server.wait_until(lambda s: not s.open_sessions)
        # The bar that forms closes in a minute of the server; let that be now.
        server.now += 59.9
        tvl.del_seis(tvl.status()[0].seis)
        tvl.subscribe(*BTC, bars)
        assert bars.wait(2)
        server.now += 180
        assert bars.wait(5)
        server.drop_connections()
        server.now += 60
    assert server.wait_until(lambda s: not s.open_sessions)
    assert bars.opens[2:] == server.closed(count=4)[:3]


def test_a_token_that_ends_is_renewed():
    """One renewal for all, and the feed goes on (row 66)."""
    alice = Account("alice", "open sesame")
    with LiveServer(accounts=[alice]) as server:
        errors, bars = Calls(), Bars()
        config = live_config(server)
        with TvDatafeedLive(
            "alice", "open sesame", token_cache=False, config=config, on_error=errors
        ) as tvl:
            tvl.subscribe(*BTC, bars)
            tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
            assert bars.wait(1)
            issued = server.tokens_issued
            server.expire_tokens(now=True)
            server.now += 60
            server.tick()
            assert bars.wait(2)
            assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))
            assert server.tokens_issued == issued + 1
        assert errors.calls == []


def test_a_token_that_cannot_be_renewed_is_told():
    """Without credentials each Seis has the error, "reconnected" is never said (rows 21, 66)."""
    alice = Account("alice", "open sesame")
    with LiveServer(accounts=[alice]) as server:
        errors, returns = Calls(), Calls()
        config = live_config(server)
        with TvDatafeedLive(
            auth_token=server.issue_token("alice"),
            config=config,
            on_error=errors,
            on_reconnect=returns,
        ) as tvl:
            bars = Bars()
            one = tvl.subscribe(*BTC, bars).seis
            other = tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
            server.expire_tokens(now=True)
            assert errors.wait(lambda calls: len(calls) == 2)
            assert {who for who, _error in errors.calls} == {one, other}
            assert all(isinstance(error, AuthenticationError) for _who, error in errors.calls)
            assert {s.state for s in tvl.status()} == {"FAILED"}
            # Another token, as the community has it.
            tvl.token = server.issue_token("alice")
            server.now += 60
            assert bars.wait(2)
            assert until(lambda: {s.state for s in tvl.status()} == {"LIVE"})
        assert returns.calls == []


def test_a_token_is_renewed_before_its_end():
    """On the open connection, without a break."""
    alice = Account("alice", "open sesame")
    with LiveServer(accounts=[alice]) as server:
        passed_s = 0.0

        def clock():
            return time.time() + passed_s

        server.auth_clock = clock
        config = live_config(server)
        with TvDatafeedLive("alice", "open sesame", token_cache=False, config=config) as tvl:
            tvl._account._authenticator._clock = clock  # tokens last for hours
            bars = Bars()
            tvl.subscribe(*BTC, bars)
            assert bars.wait(1)
            passed_s = server.token_lifetime_s - 60.0
            # The feed looks now and then; another Seis makes it look now.
            tvl.new_seis("BTCUSDT", "BINANCE", MINUTE)
            assert server.wait_until(
                lambda s: (
                    len({r.params[0] for r in s.received if r.method == "set_auth_token"}) == 2
                )
            )
            server.move(60)
            assert bars.wait(2)
        assert server.connections_opened == 1


def test_bug_in_the_reader_is_survived(server, monkeypatch, caplog):
    """It is logged with its traceback, and the feed comes back (row 89)."""
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        from tvDatafeed.live.fanout import Fanout  # noqa: PLC0415 - to be broken

        real, broken = Fanout.deliver, []

        def deliver(fanout, update, **how):
            if not broken:
                broken.append(True)
                raise MemoryError
            return real(fanout, update, **how)

        monkeypatch.setattr(Fanout, "deliver", deliver)
        server.move(60)
        server.move(60)
        assert bars.wait(3)
    assert any("please report" in r.getMessage() for r in caplog.records)
    assert bars.opens == server.closed(count=3)


def test_errors_are_typed(server):
    """What comes to a hook is of ours."""
    errors = Calls()
    with live(server, hooks={"on_error": errors}, max_retries=0) as tvl:
        tvl.new_seis(*BTC)
        server.inject(CriticalErrorReply())
        server.drop_connections()
        assert errors.wait(bool)
    assert not isinstance(errors.calls[0][1], NetworkError)


@pytest.mark.slow
def test_an_outage_longer_than_a_mailbox(server):
    """What was missed comes whole, and nobody is called slow for it (row 18)."""
    bars, errors, gaps = Bars(), Calls(), Calls()
    with live(server, hooks={"on_error": errors, "on_gap": gaps}) as tvl:
        consumer = tvl.subscribe(*BTC, bars, max_queue=10)
        assert bars.wait(1)
        server.now += 1500 * 60
        server.drop_connections()
        assert bars.wait(1501, 60.0)
        assert consumer.dropped == 0
        (status,) = tvl.status()
        assert (status.dropped, status.delivered) == (0, 1501)
    assert (errors.calls, gaps.calls) == ([], [])
    assert bars.opens == server.closed(count=1501)


def test_a_correction_is_not_counted_again_after_a_reconnection(server):
    """The bar that is asked from on is known with its newest values."""
    bars, returns = Bars(), Calls()
    with live(server, hooks={"on_reconnect": returns}) as tvl:
        tvl.subscribe(*BTC, bars)
        server.move(60)
        assert bars.wait(2)
        last = server.market.bars(SYMBOL, "1", 2, server.now)[0]
        server.correct(SYMBOL, "1", last.time, volume=last.volume + 1.0)
        server.tick()
        assert until(lambda: tvl.status()[0].corrections == 1)
        for count in range(1, 4):
            server.drop_connections()
            assert returns.wait(lambda calls, count=count: len(calls) == count)
        assert tvl.status()[0].corrections == 1


def test_an_impossible_time_has_the_series_opened_anew(server):
    """It is no word on the symbol (row 52); where nothing else comes the pauses grow."""
    bars, errors = Bars(), Calls()
    with live(server, hooks={"on_error": errors}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        for _ in range(3):
            (session,) = server.open_sessions
            row = {"i": 0, "v": [1e300, 1.0, 2.0, 0.5, 1.5, 9.0]}
            update = {"sds_1": {"s": [row], "t": "s1"}}
            server.push(json.dumps({"m": "du", "p": [session, update]}))
            assert server.wait_until(
                lambda s, old=session: old not in s.open_sessions and s.open_sessions
            )
        assert until(lambda: tvl.status()[0].state == "LIVE")
        server.move(60)
        assert bars.wait(2)
    assert errors.calls == []
    assert bars.opens == server.closed(count=2)


def test_a_rate_limit_of_an_open_session_passes(server):
    """It is told once, and the feed goes on (contract 15), also where no place can be spared."""
    bars, errors = Bars(), Calls()
    with live(server, hooks={"on_error": errors}, max_sessions=1) as tvl:
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        (session,) = server.open_sessions
        told = ["exceed limit of series", "method: chart_create_session"]
        server.push(json.dumps({"m": "critical_error", "p": [session, *told]}))
        assert errors.wait(bool)
        ((who, error),) = errors.calls
        assert who == seis
        assert isinstance(error, RateLimitError)
        assert until(lambda: tvl.status()[0].state == "LIVE")
        server.move(60)
        assert bars.wait(2)


def test_a_late_correction_does_not_end_the_watch(server, monkeypatch):
    """A bar that the clock closed is corrected, and then the server forgets the series."""
    monkeypatch.setattr("tvDatafeed.live.streaming.SILENCE_S", 0.1)
    bars = Bars()
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (session,) = server.open_sessions
        server.now += 62.5
        tell_time(server, session)
        assert bars.wait(2)
        row = {"i": 0, "v": [bars.opens[1].timestamp(), 1.0, 2.0, 0.5, 1.5, 9.0]}
        update = {"sds_1": {"s": [row], "t": "s1"}}
        server.push(json.dumps({"m": "du", "p": [session, update]}))
        assert until(lambda: tvl.status()[0].corrections == 1)
        assert server.wait_until(lambda s: s.open_sessions and session not in s.open_sessions)


@pytest.mark.parametrize("then", ["go on", "delete"])
def test_no_token_for_a_moment(server, monkeypatch, then):
    """What was opened in that moment is neither opened twice nor left open."""
    monkeypatch.setattr("tvDatafeed.live.supervisor.WINDOW", 4)
    bars, intervals = Bars(), list(Interval)[:9]
    with live(server) as tvl:
        tvl.subscribe(*BTC, bars)
        for interval in intervals:
            tvl.new_seis("BTCUSDT", "BINANCE", interval)
        real, has_failed = TokenAccount.token, threading.Event()

        def token(account):
            # Only these queues show which series have opened and are not yet processed.
            ready = tvl._registry._supervisor._dispatcher._ready
            if not has_failed.is_set() and any(
                isinstance(result, OpenStream) for _, result in ready
            ):
                has_failed.set()
                if then == "delete":
                    for status in tvl.status():
                        tvl.del_seis(status.seis)
                raise NetworkError("no token now")
            if not has_failed.is_set():
                # The running ones are answered by now, which only these queues show.
                dispatcher = tvl._registry._supervisor._dispatcher
                until(lambda: dispatcher._outcomes.qsize() >= len(dispatcher._running))
            return real(account)

        monkeypatch.setattr(TokenAccount, "token", token)
        server.drop_connections()
        assert has_failed.wait(PATIENCE_S)
        if then == "delete":
            assert server.wait_until(lambda s: not s.open_sessions)
            return
        assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))
        assert len(server.open_sessions) == 10
        server.move(60)
        assert bars.wait(2)
    assert bars.opens == server.closed(count=2)


def test_what_is_listed_while_a_feed_is_closed_goes_on(server):
    """The connections are closed under it, and it comes back."""
    entered, go, bars = threading.Event(), threading.Event(), Bars()

    def slow(_seis, _data):
        entered.set()
        go.wait(PATIENCE_S)

    with live(server) as tvl:
        tvl.subscribe(*BTC, slow)
        assert entered.wait(PATIENCE_S)
        closing = threading.Thread(target=tvl.close)
        closing.start()
        assert until(lambda: not tvl.status())
        tvl.subscribe("BTCUSDT", "BINANCE", MINUTE, Bars())
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        go.set()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        assert server.wait_until(lambda s: len(s.open_sessions) == 2)
        server.move(60)
        assert bars.wait(2)
        assert until(lambda: all(s.state == "LIVE" for s in tvl.status()))
    assert bars.opens == server.closed(count=2)


def test_the_gap_begins_where_the_server_was_heard_last(server):
    """And not where somebody noticed."""
    bars, returns = Bars(), Calls()
    with live(server, hooks={"on_reconnect": returns}) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        (connection,) = tvl._connections()._connections  # no public clock shows it
        heard_s = connection.last_received_time_s()
        threading.Event().wait(0.3)
        server.drop_connections()
        assert returns.wait(bool)
        ((start, end),) = returns.calls
        assert abs(start.timestamp() - heard_s) < 0.1
        assert end > start
