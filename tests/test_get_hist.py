"""get_hist against a loopback TradingView: what comes, and what is refused."""

import logging
import os
import signal
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

from tests.loopback import at_once, expected
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
    ProtocolError,
    RateLimitError,
    SymbolNotFoundError,
    TvDatafeed,
    TvDatafeedConfig,
    WebSocketError,
    WebSocketTimeoutError,
)
from tvDatafeed.config import DataConfig, NetworkConfig
from tvDatafeed.testing import (
    CriticalErrorReply,
    EmptyHistory,
    FakeTradingView,
    ForeignSession,
    LateReply,
    NoCompletion,
    ProtocolErrorReply,
    Refusal,
    ReplaceBars,
)

# The shape of a JWT: the loopback server takes it for an account's token, one with a plan.
PAID_TOKEN = "eyJhbGciOiJSUzUxMiJ9.eyJ1c2VyX2lkIjo0MiwicGxhbiI6InBybyJ9.bWFkZS11cA"
ACCOUNT_TOKEN = "eyJhbGciOiJSUzUxMiJ9.eyJ1c2VyX2lkIjo0Mn0.bWFkZS11cA"


@pytest.mark.parametrize("interval", Interval)
@pytest.mark.parametrize(
    "symbol", ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "SP:SPX", "KRX:005930", "BINANCE:DOGEUSDT"]
)
@pytest.mark.slow
def test_bars_are_those_of_the_market(server, tv, symbol, interval):
    """Every interval of a coin, a stock, an index and two non-ASCII names, bar for bar."""
    if interval.value.endswith("S"):
        tv.token = PAID_TOKEN
    frame = tv.get_hist(symbol, interval=interval, n_bars=50, timezone="UTC")
    pd.testing.assert_frame_equal(frame, expected(server, symbol, interval, 50))


@pytest.mark.parametrize("count", [1, 10, 5000])
def test_as_many_bars_as_asked_for(server, tv, count):
    """One bar, the default's ten, and five thousand in one answer."""
    frame = tv.get_hist("BTCUSDT", "BINANCE", Interval.in_1_minute, count, timezone="UTC")
    wanted = expected(server, "BINANCE:BTCUSDT", Interval.in_1_minute, count)
    pd.testing.assert_frame_equal(frame, wanted)
    assert frame.attrs == {"last_bar_closed": False, "timezone": "UTC"}


def test_default_is_ten_daily_bars(tv):
    """Without a number there are ten bars, as there always were."""
    assert len(tv.get_hist("AAPL", "NASDAQ")) == 10


def test_case_and_exchange_in_the_symbol(server, tv):
    """Names are upper-cased, and an exchange in the symbol wins over the parameter."""
    for call in (
        ("aapl", "nasdaq"),
        ("nasdaq:aapl", "NSE"),
        ("NASDAQ:AAPL", ""),
        (" aapl ", "NASDAQ"),
    ):
        assert tv.get_hist(*call, n_bars=1)["symbol"].tolist() == ["NASDAQ:AAPL"]
    assert server.connections_opened == 1


def test_continuous_future_and_extended_session_are_asked_for(server, tv):
    """A contract number and the session reach the wire in TradingView's form."""
    with pytest.raises(SymbolNotFoundError):
        tv.get_hist("GOLD", "MCX", fut_contract=2, extended_session=True)
    with pytest.raises(SymbolNotFoundError):
        tv.get_hist("MCX:GOLD", fut_contract=2)
    asked = [r.params[2] for r in server.received if r.method == "resolve_symbol"]
    assert '"symbol":"MCX:GOLD2!"' in asked[0]
    assert '"session":"extended"' in asked[0]
    assert '"symbol":"MCX:GOLD2!"' in asked[1]
    assert '"session":"regular"' in asked[1]


def test_fewer_bars_than_asked_for_are_told(tv):
    """A young symbol gives what there is, and the attributes tell how much and why."""
    frame = tv.get_hist("SP:SPX", interval=Interval.in_monthly, n_bars=5000, timezone="UTC")
    assert frame.attrs["requested"] == 5000
    assert frame.attrs["received"] == len(frame) < 5000
    assert (frame.attrs["complete"], frame.attrs["reason"]) == (True, "no older bars exist")


@pytest.mark.parametrize(
    ("timezone", "zone"),
    [
        ("UTC", "UTC"),
        ("utc", "UTC"),
        ("Asia/Kolkata", "Asia/Kolkata"),
        ("exchange", "America/New_York"),
    ],
)
def test_timezone_of_the_index(server, tv, timezone, zone):
    """UTC, an IANA name, or the zone of the symbol's exchange."""
    frame = tv.get_hist("NASDAQ:AAPL", n_bars=400, timezone=timezone)
    wanted = expected(server, "NASDAQ:AAPL", Interval.in_daily, 400, zone)
    assert (frame.index == wanted.index).all()
    assert str(frame.index.tz) == zone
    assert frame.attrs["timezone"] == (zone if timezone == "exchange" else timezone)


def test_index_is_naive_local_time_by_default(server, tv):
    """Without a timezone the index has none, and no attribute names one."""
    frame = tv.get_hist("NASDAQ:AAPL")
    assert frame.index.tz is None
    assert "timezone" not in frame.attrs


def test_timezone_of_the_environment(server, monkeypatch):
    """TV_TIMEZONE is the default, and a parameter wins over it."""
    monkeypatch.setenv("TV_TIMEZONE", "Asia/Tokyo")
    monkeypatch.setenv("TV_WS_URL", server.ws_url)
    with TvDatafeed() as tv:
        assert str(tv.get_hist("NASDAQ:AAPL").index.tz) == "Asia/Tokyo"
        assert str(tv.get_hist("NASDAQ:AAPL", timezone="UTC").index.tz) == "UTC"


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"symbol": ""}, DataValidationError, "symbol"),
        ({"symbol": "   "}, DataValidationError, "symbol"),
        ({"symbol": 'AA"PL'}, DataValidationError, "symbol"),
        ({"symbol": "AA\\PL"}, DataValidationError, "symbol"),
        ({"symbol": "AA\x00PL"}, DataValidationError, "symbol"),
        ({"symbol": "A" * 129}, DataValidationError, "symbol"),
        ({"symbol": None}, DataValidationError, "symbol"),
        ({"symbol": 5}, DataValidationError, "symbol"),
        ({"exchange": ""}, DataValidationError, "exchange"),
        ({"exchange": None}, DataValidationError, "exchange"),
        ({"exchange": "NAS DAQ"}, DataValidationError, "exchange"),
        ({"n_bars": 0}, DataValidationError, "n_bars"),
        ({"n_bars": -1}, DataValidationError, "n_bars"),
        ({"n_bars": True}, DataValidationError, "n_bars"),
        ({"n_bars": 2.5}, DataValidationError, "n_bars"),
        ({"n_bars": "10"}, DataValidationError, "n_bars"),
        ({"validate": "yes"}, DataValidationError, "validate"),
    ],
)
def test_bad_values_are_refused_before_a_socket_is_opened(server, tv, arguments, error, field):
    """The error names the field, and nothing reaches the network."""
    with pytest.raises(error) as caught:
        tv.get_hist(**{"symbol": "AAPL", "exchange": "NASDAQ", **arguments})
    assert caught.value.field == field
    assert server.accepted == 0


@pytest.mark.parametrize("interval", ["1x", None, 1, Interval])
def test_what_is_no_interval_is_refused(server, tv, interval):
    """The error carries what was given."""
    with pytest.raises(InvalidIntervalError) as caught:
        tv.get_hist("AAPL", "NASDAQ", interval)
    assert caught.value.interval is interval
    assert server.accepted == 0


@pytest.mark.parametrize("contract", [0, -1, True, "1", 1.0, object()])
def test_what_is_no_contract_is_refused(server, tv, contract):
    """As in the lineage it is a ValueError with these words."""
    with pytest.raises(ValueError, match=r"^not a valid contract$"):
        tv.get_hist("AAPL", "NASDAQ", fut_contract=contract)
    assert server.accepted == 0


@pytest.mark.parametrize(
    "timezone", ["Nowhere/Nowhere", "../etc/passwd", "America", "\x00", "/etc"]
)
def test_what_is_no_timezone_is_refused(server, tv, timezone):
    """A configuration error with the name, whatever zoneinfo makes of it."""
    with pytest.raises(ConfigurationError) as caught:
        tv.get_hist("AAPL", "NASDAQ", timezone=timezone)
    assert (caught.value.parameter, caught.value.value) == ("timezone", timezone)
    assert server.accepted == 0


def test_whole_numbers_of_numpy_are_numbers(tv):
    """What has the value of an int is one."""
    assert len(tv.get_hist("NASDAQ:AAPL", n_bars=np.int64(3))) == 3


@pytest.mark.parametrize(
    ("refusal", "error", "reason"),
    [
        (Refusal("symbol_error", "permission denied"), EntitlementError, "permission denied"),
        (
            Refusal("symbol_error", "permission denied", ("group", "economics_paid")),
            EntitlementError,
            "permission denied (group economics_paid)",
        ),
        (Refusal("series_error", "seconds_not_entitled"), EntitlementError, "seconds_not_entitled"),
        (Refusal("series_error", "custom_resolution"), EntitlementError, "custom_resolution"),
        (Refusal("series_error", "study_not_auth:X"), EntitlementError, "study_not_auth:X"),
        (Refusal("series_error", "resolve error"), SymbolNotFoundError, None),
        (Refusal("series_error", "anything else"), DataError, "anything else"),
        (Refusal("critical_error", "invalid parameters"), DataError, "invalid parameters"),
    ],
)
def test_refusals_raise_at_once_with_the_servers_reason(server, tv, refusal, error, reason):
    """Each refusal is its own exception, and the connection serves the next request."""
    server.refuse("NASDAQ:AAPL", refusal)
    caught = at_once(lambda: tv.get_hist("NASDAQ:AAPL"), error)
    if reason:
        assert caught.reason.startswith(reason)
    assert len(tv.get_hist("NASDAQ:MSFT")) == 10
    assert server.connections_opened == 1
    assert server.wait_until(lambda s: not s.open_sessions)


def test_unknown_symbol_raises_at_once(tv):
    """A symbol TradingView does not know is a DataNotFoundError with its name."""
    error = at_once(lambda: tv.get_hist("NOPE", "NASDAQ"), SymbolNotFoundError)
    assert isinstance(error, DataNotFoundError)
    assert (error.symbol, error.exchange) == ("NOPE", "NASDAQ")


def test_no_bars_is_an_error_and_never_an_empty_frame(server, tv):
    """A completed answer without bars raises with symbol and exchange."""
    server.inject(EmptyHistory())
    error = at_once(lambda: tv.get_hist("AAPL", "NASDAQ"), DataNotFoundError)
    assert (error.symbol, error.exchange) == ("AAPL", "NASDAQ")


def test_critical_error_of_a_quote_session_is_nothing_to_bars(server, tv):
    """It belongs to another session, and bars arrive."""
    server.inject(ForeignSession())
    assert len(tv.get_hist("NASDAQ:AAPL")) == 10


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("bad auth token", AuthenticationError),
        ("user connections limit reached", RateLimitError),
        ("banned by ip", WebSocketError),
        ("wrong data", ProtocolError),
    ],
)
def test_protocol_errors_raise_at_once(server, tv, reason, error):
    """The connection's refusal is the request's, and a later request opens another."""
    server.inject(ProtocolErrorReply(reason=reason))
    caught = at_once(lambda: tv.get_hist("NASDAQ:AAPL"), error)
    assert reason in str(caught)
    server.clear_faults()
    assert len(tv.get_hist("NASDAQ:AAPL")) == 10


def test_bad_token_is_told_without_showing_it(server):
    """A token that TradingView refuses is an AuthenticationError that does not repeat it."""
    with TvDatafeed(auth_token="a-stale-token", config=server.config()) as tv:
        error = at_once(lambda: tv.get_hist("NASDAQ:AAPL"), AuthenticationError)
    assert "a-stale-token" not in str(error)
    assert "bad auth token" in str(error)


def test_token_may_be_assigned(server, tv):
    """The next request signs in with it, on the same connection."""
    tv.get_hist("NASDAQ:AAPL")
    tv.token = ACCOUNT_TOKEN
    tv.get_hist("NASDAQ:AAPL")
    tv.token = "unauthorized_user_token"
    tv.get_hist("NASDAQ:AAPL")
    tokens = [r.params[0] for r in server.received if r.method == "set_auth_token"]
    assert tokens == ["unauthorized_user_token", ACCOUNT_TOKEN, "unauthorized_user_token"]
    assert server.connections_opened == 1


def test_answer_that_never_ends_meets_the_deadline(server):
    """The error names the operation, the seconds, and how many bars had come."""
    server.inject(NoCompletion(times=1))
    with TvDatafeed(config=server.config(max_response_time=0.3)) as tv:
        with pytest.raises(WebSocketTimeoutError) as caught:
            tv.get_hist("NASDAQ:AAPL", n_bars=7)
        assert caught.value.timeout == pytest.approx(0.3, abs=0.05)
        assert "NASDAQ:AAPL" in caught.value.operation
        assert "7 bars" in str(caught.value)
        assert server.wait_until(lambda s: not s.open_sessions)
        assert len(tv.get_hist("NASDAQ:AAPL", n_bars=7)) == 7


def test_patience_for_one_message(server):
    """ws_timeout bounds the silence of a request; -1 leaves it to the whole deadline."""
    server.inject(NoCompletion())
    with TvDatafeed(ws_timeout=0.2, config=server.config(max_response_time=20)) as tv:
        started = time.monotonic()
        with pytest.raises(WebSocketTimeoutError, match=r"0\.2s"):
            tv.get_hist("NASDAQ:AAPL")
        assert time.monotonic() - started < scaled(5.0)
        tv.ws_timeout, tv.max_response_time = -1, 0.4
        with pytest.raises(WebSocketTimeoutError, match=r"0\.4s"):
            tv.get_hist("NASDAQ:AAPL")


def test_late_reply_does_not_reach_the_next_request(server):
    """What comes for a request that timed out is dropped by its id."""
    server.inject(LateReply(delay_s=0.4, times=1))
    with TvDatafeed(config=server.config(max_response_time=0.2)) as tv:
        with pytest.raises(WebSocketTimeoutError):
            tv.get_hist("BINANCE:BTCUSDT", n_bars=3)
        tv.max_response_time = 10
        for _ in range(5):
            frame = tv.get_hist("NASDAQ:AAPL", n_bars=3, timezone="UTC")
            pd.testing.assert_frame_equal(
                frame, expected(server, "NASDAQ:AAPL", Interval.in_daily, 3)
            )


@pytest.mark.parametrize(
    "rows",
    [
        [[100.0, 1, 2, 0.5, 1.5, 9], [100.0, 1, 2, 0.5, 1.5, 9], [200.0, 1, 2, 0.5, 1.5, 9]],
        [[200.0, 1, 2, 0.5, 1.5, 9], [100.0, 1, 2, 0.5, 1.5, 9]],
    ],
    ids=["duplicate", "out of order"],
)
def test_bars_come_out_ascending_and_unique(server, tv, rows):
    """Whatever the order on the wire, one row a time."""
    server.inject(ReplaceBars(rows=rows))
    frame = tv.get_hist("NASDAQ:AAPL", timezone="UTC")
    assert [t.timestamp() for t in frame.index] == [100.0, 200.0]


def test_corrections_win(server, tv):
    """Of two bars with one time the later word stands."""
    server.inject(ReplaceBars(rows=[[100.0, 1, 2, 0.5, 1.5, 9], [100.0, 1, 2, 0.5, 1.25, 10]]))
    frame = tv.get_hist("NASDAQ:AAPL", timezone="UTC")
    assert frame[["close", "volume"]].to_numpy().tolist() == [[1.25, 10.0]]


def test_gaps_are_passed_through(server, tv):
    """A weekend is no bar."""
    frame = tv.get_hist("NASDAQ:AAPL", n_bars=10, timezone="exchange")
    assert set(frame.index.day_of_week) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("time_s", [1786714200000.0, 253370764800.0, -1e12])
def test_impossible_times_raise(server, tv, time_s):
    """A time in milliseconds, or of the year 9999, is an error of ours and not of pandas."""
    server.inject(ReplaceBars(rows=[[time_s, 1, 2, 0.5, 1.5, 9]]))
    at_once(lambda: tv.get_hist("NASDAQ:AAPL"), ProtocolError)


def test_volume_policy_of_the_config(server):
    """fill_missing_volume decides what an index without volume has."""
    config = TvDatafeedConfig(
        network=server.config().network, data=DataConfig(fill_missing_volume="nan")
    )
    with TvDatafeed(config=config) as tv:
        assert tv.get_hist("SP:SPX")["volume"].isna().all()


def test_validation_policy(server, tv, caplog):
    """Broken bars warn once a call, raise, or pass, as asked."""
    server.inject(ReplaceBars(rows=[[100.0, 1, 0.5, 0.4, 1.5, -9]]))
    with caplog.at_level(logging.WARNING, "tvDatafeed.frames"):
        tv.get_hist("NASDAQ:AAPL")
        tv.get_hist("NASDAQ:AAPL", validate="off")
    assert len(caplog.records) == 1
    with pytest.raises(DataValidationError):
        tv.get_hist("NASDAQ:AAPL", validate="raise")
    quiet = TvDatafeedConfig(network=server.config().network, data=DataConfig(validate_data=False))
    caplog.clear()
    with (
        TvDatafeed(config=quiet) as other,
        caplog.at_level(logging.WARNING, "tvDatafeed.frames"),
    ):
        other.get_hist("NASDAQ:AAPL")
    assert not any(r.name.startswith("tvDatafeed.frames") for r in caplog.records)


def test_default_number_of_bars_of_the_config(server):
    """default_bars is what a call without a number asks for."""
    config = TvDatafeedConfig(network=server.config().network, data=DataConfig(default_bars=3))
    with TvDatafeed(config=config) as tv:
        assert len(tv.get_hist("NASDAQ:AAPL")) == 3


def test_nothing_is_sent_before_the_first_request(server):
    """An object can be made, shown and closed offline."""
    with TvDatafeed(config=server.config()) as tv:
        assert "anonymous" in repr(tv)
    assert server.accepted == 0


def test_one_connection_serves_an_object(server, tv):
    """Requests follow each other on one connection, and each frees its session."""
    for _ in range(5):
        tv.get_hist("NASDAQ:AAPL")
    assert server.connections_opened == 1
    assert server.wait_until(lambda s: not s.open_sessions)


def test_close_ends_the_connection_and_is_not_the_end(server):
    """close() can be repeated, frees thread and socket, and a later call connects again."""
    tv = TvDatafeed(config=server.config())
    assert tv.close() is True
    tv.get_hist("NASDAQ:AAPL")
    assert tv.close() is True
    assert tv.close() is True
    assert server.wait_until(lambda s: s.open_connections == 0)
    assert len(tv.get_hist("NASDAQ:AAPL")) == 10
    assert server.connections_opened == 2
    assert tv.close(timeout=5) is True


def test_close_wakes_a_request(server):
    """A request that waits when the object is closed raises at once."""
    server.inject(NoCompletion())
    tv = TvDatafeed(config=server.config())
    errors = []

    def ask():
        try:
            tv.get_hist("NASDAQ:AAPL")
        except WebSocketError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert server.wait_until(lambda s: s.open_sessions)
    started = time.monotonic()
    assert tv.close() is True
    thread.join(PATIENCE_S)
    assert time.monotonic() - started < scaled(4.0)
    assert "closed by this program" in str(errors[0])


def test_broken_connection_is_replaced(server, tv):
    """After the server has gone and come back, the next call connects anew."""
    assert len(tv.get_hist("NASDAQ:AAPL")) == 10
    server.stop()
    with pytest.raises(WebSocketError):
        tv.get_hist("NASDAQ:AAPL")
    server.start()
    assert len(tv.get_hist("NASDAQ:AAPL")) == 10


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be raised in one process there")
def test_ctrl_c_leaves_at_once_and_the_object_usable(server, tv):
    """KeyboardInterrupt passes through, frees the server's session, and the next call works."""
    server.inject(NoCompletion(times=1))
    interrupter = threading.Thread(
        target=lambda: (
            server.wait_until(lambda s: s.open_sessions),
            os.kill(os.getpid(), signal.SIGINT),
        )
    )
    started = time.monotonic()
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        tv.get_hist("NASDAQ:AAPL")
    assert time.monotonic() - started < scaled(4.0)
    interrupter.join(PATIENCE_S)
    assert server.wait_until(lambda s: not s.open_sessions)
    assert len(tv.get_hist("NASDAQ:AAPL")) == 10
    assert server.connections_opened == 1


def test_heartbeats_are_echoed_while_nothing_is_asked():
    """A connection that waits for the next call answers the server."""
    beating = FakeTradingView(heartbeat_interval_s=0.05)
    with beating as server, TvDatafeed(config=server.config()) as tv:
        tv.get_hist("NASDAQ:AAPL")
        assert server.wait_until(lambda s: s.echoes >= 3)
        assert server.open_connections == 1


def test_outgoing_frames_are_shown_on_request(server, caplog):
    """ws_debug logs what is sent at DEBUG, the token redacted."""
    with TvDatafeed(auth_token=ACCOUNT_TOKEN, config=server.config()) as tv:
        tv.ws_debug = True
        with caplog.at_level(logging.DEBUG, "tvDatafeed"):
            tv.get_hist("NASDAQ:AAPL")
    assert "create_series" in caplog.text
    assert "set_auth_token" in caplog.text
    assert ACCOUNT_TOKEN not in caplog.text
    assert ACCOUNT_TOKEN not in repr(tv)


def test_debug_of_the_config_shows_frames(server, caplog):
    """TV_DEBUG's field turns ws_debug on."""
    config = TvDatafeedConfig(network=server.config().network, debug=True)
    with TvDatafeed(config=config) as tv, caplog.at_level(logging.DEBUG, "tvDatafeed"):
        tv.get_hist("NASDAQ:AAPL")
    assert "create_series" in caplog.text


@pytest.mark.parametrize(("verbose", "records"), [(True, 1), (False, 0)])
def test_verbose_is_about_our_own_records(server, caplog, verbose, records):
    """INFO records are made or not; the logger's level is the application's business."""
    level = logging.getLogger("tvDatafeed").level
    with caplog.at_level(logging.INFO, "tvDatafeed"):
        with TvDatafeed(verbose=verbose, config=server.config()) as tv:
            tv.get_hist("NASDAQ:AAPL")
        infos = [r for r in caplog.records if r.levelno == logging.INFO]
    assert len(infos) == records
    assert logging.getLogger("tvDatafeed").level == level


@pytest.mark.slow
def test_anonymous_use_is_a_warning_once(server):
    """A program without an account has one WARNING, at its first object; with one it has none."""
    program = """
import logging
from tvDatafeed import TvDatafeed, TvDatafeedLive
logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
for token in TOKENS:
    TvDatafeed(auth_token=token).close()
    TvDatafeedLive(auth_token=token).close()
"""
    anonymous = run("-c", program.replace("TOKENS", "(None, None)"), server=server)
    (line,) = anonymous.stderr.splitlines()
    assert line.startswith("WARNING tvDatafeed.main no account: ")
    token = run("-c", program.replace("TOKENS", f"({ACCOUNT_TOKEN!r},)"), server=server)
    assert (token.returncode, token.stderr) == (0, "")


def test_attributes_that_programs_read(server):
    """Ids, limits and switches are plain attributes."""
    config = server.config(recv_timeout=7, max_response_time=9)
    tv = TvDatafeed(config=config)
    assert (tv.ws, tv.ws_debug, tv.verbose) == (None, False, True)
    assert (tv.ws_timeout, tv.max_response_time) == (7.0, 9.0)
    assert tv.session.startswith("qs_")
    assert tv.chart_session.startswith("cs_")
    assert TvDatafeed(ws_timeout=3, config=config).ws_timeout == 3.0
    with pytest.raises(ConfigurationError) as caught:
        TvDatafeed(ws_timeout=0, config=config)
    assert caught.value.parameter == "ws_timeout"


@pytest.mark.slow
def test_threads_share_an_object(server, tv):
    """Forty calls at once from forty threads each get their own symbol's bars."""
    symbols = [s for s in server.market.symbols if s != "SP:SPX"]
    results = {}

    def ask(number):
        symbol = symbols[number % len(symbols)]
        results[number] = (symbol, tv.get_hist(symbol, n_bars=20 + number, timezone="UTC"))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    for number, (symbol, frame) in results.items():
        wanted = expected(server, symbol, Interval.in_daily, 20 + number)
        pd.testing.assert_frame_equal(frame, wanted)
    assert len(results) == 40
    assert server.connections_opened == 1


def test_connection_settings_are_honoured(monkeypatch):
    """TV_WS_URL is where the connection goes."""
    monkeypatch.setenv("TV_WS_URL", "ws://127.0.0.1:1/nowhere")
    monkeypatch.setenv("TV_MAX_RETRIES", "0")
    tv = TvDatafeed()
    with pytest.raises(WebSocketError, match=r"127\.0\.0\.1:1"):
        tv.get_hist("NASDAQ:AAPL")
    tv.close()


def test_critical_error_from_a_command(server, tv):
    """A critical_error that kills the chart session is that request's error alone."""
    server.inject(CriticalErrorReply(times=1))
    at_once(lambda: tv.get_hist("NASDAQ:AAPL"), DataError)
    assert len(tv.get_hist("NASDAQ:AAPL")) == 10


def test_custom_endpoint_by_config():
    """config= is used whole: the environment is not asked."""
    config = TvDatafeedConfig(network=NetworkConfig(ws_url="ws://127.0.0.1:1/x"))
    assert "127.0.0.1:1" in repr(TvDatafeed(config=config))
