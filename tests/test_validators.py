"""The validators: what they accept, what they make of it, and how they refuse the rest."""

import doctest
import math
import time
from datetime import date, datetime, timedelta, timezone, tzinfo
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed import validators
from tvDatafeed.exceptions import (
    ConfigurationError,
    DataValidationError,
    InvalidIntervalError,
    InvalidOHLCError,
)
from tvDatafeed.interval import Interval
from tvDatafeed.validators import (
    Validators,
    validate_exchange,
    validate_n_bars,
    validate_ohlc,
    validate_symbol,
)

REAL_SYMBOLS = [
    "AAPL",
    "BRK.B",
    "M&M",
    "M_M",
    "NIFTY1!",
    "ES1!",
    "6E1!",
    "BTCUSDT.P",
    "BAJAJ-AUTO",
    "SPX500USD",
    "005930",
    "^NSEI",
    "AAPL/MSFT",
    "1/EURUSD",
    "USDTRY*2",
    "(NASDAQ:AAPL+NASDAQ:MSFT)/2",
    "NASDAQ:AAPL/NASDAQ:MSFT",
    "1/FX:EURUSD",
    "DJ:DJI",
    "CME_MINI:ES1!",
    "TVC:^VIX",
    "NIFTY241226C24000",
    "OPRA:SPXW241220C6000.0",
    "NSE:BANKNIFTY24DEC52000CE",
    "ПРИВЕТ",
    "MOEX:СБЕР",
    "トヨタ",
    "ÅÄÖ",
    "A" * 128,
]

REAL_EXCHANGES = [
    "NSE",
    "NASDAQ",
    "CME_MINI",
    "CBOT_MINI",
    "FX_IDC",
    "ICEUSA",
    "SP_DLY",
    "UNISWAP3ETH",
    "БИРЖА",
    "A.B-C&D",
]

UNPRINTABLE = ["\x00", "\x1b", "\x7f", "\x85", "\u200b", "\u202e", "\u2028", "\ufeff", "\ud800"]


class Whole:
    """An integer of another library."""

    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


class NoOffset(tzinfo):
    """A timezone that does not know its offset."""

    def utcoffset(self, moment):
        return None


def error_of(call, *args, **kwargs):
    with pytest.raises(DataValidationError) as caught:
        call(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize("symbol", REAL_SYMBOLS)
def test_a_real_symbol_is_accepted(symbol):
    """Every form of symbol that TradingView lists passes unchanged."""
    assert validate_symbol(symbol) == symbol


@pytest.mark.parametrize(
    ("given_symbol", "symbol"),
    [
        (" aapl ", "AAPL"),
        ("nasdaq:aapl", "NASDAQ:AAPL"),
        ("\tes1!\n", "ES1!"),
        ("straße", "STRASSE"),
        ("привет", "ПРИВЕТ"),
    ],
)
def test_a_symbol_is_stripped_and_upper_cased(given_symbol, symbol):
    """A symbol may be typed in any case, with blanks around it."""
    assert validate_symbol(given_symbol) == symbol


@pytest.mark.parametrize("value", [None, 1, 1.5, b"AAPL", ["AAPL"], Interval.in_daily])
@pytest.mark.parametrize(
    ("call", "field"), [(validate_symbol, "symbol"), (validate_exchange, "exchange")]
)
def test_a_name_is_a_str(call, field, value):
    """Anything else is refused by naming its type."""
    error = error_of(call, value)
    assert (error.field, error.value) == (field, value)
    assert type(value).__name__ in error.reason


@pytest.mark.parametrize("value", ["", " ", "\n", "\u2003"])
@pytest.mark.parametrize(
    ("call", "field"), [(validate_symbol, "symbol"), (validate_exchange, "exchange")]
)
def test_a_name_is_not_empty(call, field, value):
    """A blank text is as good as none."""
    error = error_of(call, value)
    assert error.field == field
    assert "empty" in error.reason


@pytest.mark.parametrize("value", ["A" * 129, "ß" * 65])
@pytest.mark.parametrize("call", [validate_symbol, validate_exchange])
def test_a_name_is_not_longer_than_128_characters(call, value):
    """What counts is the length of what would be sent."""
    assert "at most 128" in error_of(call, value).reason


@pytest.mark.parametrize("bad", [*UNPRINTABLE, " ", "\t", "\n", "\r", "\u00a0", '"', "\\"])
@pytest.mark.parametrize("call", [validate_symbol, validate_exchange])
def test_a_name_has_no_character_that_could_break_a_message(call, bad):
    """White space, control and invisible characters, quotes and backslashes are refused."""
    error = error_of(call, f"AA{bad}PL")
    assert error.value == f"AA{bad}PL"
    assert str(error).isprintable()


@pytest.mark.parametrize("bad", ["\x00", "\u200b", "\ud800", '"', "\\"])
@pytest.mark.parametrize("call", [validate_symbol, validate_exchange])
def test_a_bad_character_at_an_edge_is_found_too(call, bad):
    """The first and the last character are checked like those between."""
    error_of(call, f"{bad}AAPL")
    error_of(call, f"AAPL{bad}")


@pytest.mark.parametrize("symbol", ["---", "!", "^", "&/", "_"])
def test_a_symbol_has_a_letter_or_a_digit(symbol):
    """Signs alone are not a ticker."""
    assert "no letter and no digit" in error_of(validate_symbol, symbol).reason


@pytest.mark.parametrize(
    "symbol",
    [
        ":AAPL",
        "NASDAQ:",
        "NASDAQ::AAPL",
        "A:/B:C",
        "NASDAQ:AAPL/:MSFT",
        "NASDAQ:AAPL/NASDAQ:",
        "/:A",
        "A:*2",
        "(A:)",
    ],
)
def test_a_colon_stands_between_exchange_and_ticker(symbol):
    """A formatted symbol with one half missing is refused, in an expression too."""
    assert "exchange before each ':'" in error_of(validate_symbol, symbol).reason


@pytest.mark.parametrize("symbol", ["NASDAQ:AAPL", ":AAPL", "NASDAQ:AAPL/NASDAQ:MSFT"])
def test_a_formatted_symbol_can_be_refused(symbol):
    """Where the exchange is given apart, the symbol must not name one."""
    error = error_of(validate_symbol, symbol, allow_formatted=False)
    assert "already names its exchange" in error.reason


def test_a_plain_symbol_is_no_formatted_one():
    """Refusing formatted symbols leaves the others alone."""
    assert validate_symbol("brk.b", allow_formatted=False) == "BRK.B"


@pytest.mark.parametrize("exchange", REAL_EXCHANGES)
def test_a_real_exchange_is_accepted(exchange):
    """Every form of exchange code passes, in any case."""
    assert validate_exchange(exchange) == exchange
    assert validate_exchange(f" {exchange.lower()} ") == exchange


@pytest.mark.parametrize("exchange", ["NSE:", "NYSE ARCA", "A/B", "_A", "-", "{A}", "A;B", "~m~"])
def test_an_exchange_is_a_code(exchange):
    """What cannot stand before the colon of a symbol is refused."""
    assert error_of(validate_exchange, exchange).field == "exchange"


@given(st.text(st.characters()))
def test_a_symbol_is_safe_or_refused(text):
    """Whatever text comes in, the answer is a sendable symbol or our own error."""
    try:
        symbol = validate_symbol(text)
    except DataValidationError as error:
        assert error.field == "symbol"  # noqa: PT017 - both outcomes are fine
        return
    assert type(symbol) is str
    assert symbol.isprintable()
    assert not set(symbol) & set(' "\\')
    assert 0 < len(symbol.encode()) <= 4 * 128
    assert validate_symbol(symbol) == symbol
    assert Validators.SYMBOL_PATTERN.fullmatch(symbol)


@given(st.text(st.characters() | st.sampled_from(":/A_ ")))
def test_an_exchange_is_safe_or_refused(text):
    """Whatever text comes in, an accepted exchange forms a symbol that is accepted."""
    try:
        exchange = validate_exchange(text)
    except DataValidationError as error:
        assert error.field == "exchange"  # noqa: PT017 - both outcomes are fine
        return
    assert validate_exchange(exchange) == exchange
    assert Validators.EXCHANGE_PATTERN.fullmatch(exchange)
    assert ":" not in exchange


@pytest.mark.parametrize("pattern", [Validators.SYMBOL_PATTERN, Validators.EXCHANGE_PATTERN])
def test_the_patterns_match_the_whole_text(pattern):
    """A line break at the end is not overlooked, whichever way a pattern is used."""
    assert pattern.match("AAPL")
    assert not pattern.match("AAPL\n")
    assert not pattern.search("AA PL")


@pytest.mark.parametrize("n_bars", [1, 10, 5000, Whole(7)])
def test_a_number_of_bars_is_an_integer(n_bars):
    """Python's integers and those of other libraries become an int."""
    result = validate_n_bars(n_bars)
    assert type(result) is int
    assert result == getattr(n_bars, "number", n_bars)


def test_numpy_integers_are_integers():
    """Code that computes its number of bars with numpy does not need to convert it."""
    numpy = pytest.importorskip("numpy")
    assert validate_n_bars(numpy.int32(12)) == 12
    for value in (numpy.bool_(True), numpy.float64(12), numpy.array([1, 2])):
        error_of(validate_n_bars, value)


@pytest.mark.parametrize("n_bars", [True, False, "10", 10.0, 1.5, None, [1]])
def test_a_number_of_bars_is_nothing_else(n_bars):
    """A bool is not a number of bars, and a text or a float has to be converted first."""
    error = error_of(validate_n_bars, n_bars)
    assert (error.field, error.value) == ("n_bars", n_bars)
    assert type(n_bars).__name__ in error.reason


@pytest.mark.parametrize(
    ("n_bars", "options", "reason"),
    [
        (0, {}, "must be at least 1"),
        (-5, {}, "must be at least 1"),
        (5001, {}, "must be at most 5000"),
        pytest.param(10**5000, {}, "must be at most 5000", id="huge"),
        (11, {"max_bars": 10}, "must be at most 10"),
    ],
)
def test_a_number_of_bars_is_within_bounds(n_bars, options, reason):
    """The error says which bound was missed."""
    assert error_of(validate_n_bars, n_bars, **options).reason == reason


def test_the_bound_of_bars_can_be_raised():
    """The bound itself is allowed."""
    assert validate_n_bars(20_000, max_bars=20_000) == 20_000


@pytest.mark.parametrize("interval", [member.value for member in Interval])
def test_the_value_of_an_interval_is_valid(interval):
    """Each member's value passes, and the list has all of them."""
    assert Validators.validate_interval(interval) == interval
    assert interval in Validators.VALID_INTERVALS


@pytest.mark.parametrize("interval", ["", "1d", "2", "in_daily", None, 1, ["1"], Interval.in_daily])
def test_anything_else_is_no_interval(interval):
    """The error holds the offending value and lists what would do."""
    with pytest.raises(InvalidIntervalError) as caught:
        Validators.validate_interval(interval)
    assert caught.value.interval == interval
    assert caught.value.supported == [member.value for member in Interval]


@pytest.mark.parametrize("timeout", [5, 0.5, -1, "2.5"])
def test_a_timeout_becomes_a_float(timeout):
    """Seconds, or -1 for no limit."""
    assert Validators.validate_timeout(timeout) == float(timeout)


@pytest.mark.parametrize(
    "timeout", [0, -0.0, -0.5, -7, math.nan, math.inf, -math.inf, True, None, "x", [], 10**400]
)
def test_what_cannot_be_waited_for_is_no_timeout(timeout):
    """Zero, other negative numbers, and what is not a finite number are refused."""
    with pytest.raises(ConfigurationError) as caught:
        Validators.validate_timeout(timeout)
    assert caught.value.parameter == "timeout"


NAN = math.nan
AGREEING = [(1, 2, 0.5, 1.5), (1, 1, 1, 1), (2, 2, 1, 1), (-2, -1, -3, -2), (0.0, 0, 0, 0)]
CONTRADICTING = [
    (3, 2, 1, 1.5),
    (1.5, 2, 1, 3),
    (0.5, 2, 1, 1.5),
    (1.5, 2, 1, 0.5),
    (1, 1, 2, 1),
    (NAN, 2, 1, 1),
    (1, NAN, 1, 1),
    (1, 2, NAN, 1),
    (1, 2, 1, NAN),
    (NAN, NAN, NAN, NAN),
    (None, 2, 1, 1),
    ("1", 2, 1, 1),
]


@pytest.mark.parametrize("prices", AGREEING)
def test_prices_that_agree_are_valid(prices):
    """High is at least, and low at most, both open and close."""
    assert validate_ohlc(*prices) is True
    assert validate_ohlc(*prices, raise_on_error=False) is True


@pytest.mark.parametrize("prices", CONTRADICTING)
def test_prices_that_contradict_each_other_are_not(prices):
    """A bar that cannot have been, or that lacks a price, is an error or False."""
    assert validate_ohlc(*prices, raise_on_error=False) is False
    with pytest.raises(InvalidOHLCError) as caught:
        validate_ohlc(*prices)
    assert caught.value.value == "/".join(map(str, prices))


@pytest.mark.parametrize("volume", [0, 0.0, 1, 1e12, math.inf])
def test_a_volume_is_not_negative(volume):
    """Zero is a volume."""
    assert Validators.validate_volume(volume) is True


@pytest.mark.parametrize("volume", [-1, -0.5, NAN, None, "1"])
def test_anything_else_is_no_volume(volume):
    """It is an error or False."""
    assert Validators.validate_volume(volume, raise_on_error=False) is False
    assert error_of(Validators.validate_volume, volume).field == "volume"


def test_arrays_are_neither_prices_nor_volumes():
    """What has no single truth value is refused like any other wrong type."""
    numpy = pytest.importorskip("numpy")
    array = numpy.array([1.0, 2.0])
    assert validate_ohlc(array, array, array, array, raise_on_error=False) is False
    assert Validators.validate_volume(array, raise_on_error=False) is False


def test_credentials_are_both_or_neither():
    """Two make a login, none makes an anonymous client."""
    assert Validators.validate_credentials("ann", "hunter2") is True
    assert Validators.validate_credentials(None, None) is False


@pytest.mark.parametrize(
    ("username", "password", "parameter"),
    [
        (None, "hunter2", "username"),
        (None, "", "username"),
        ("ann", None, "password"),
        ("", None, "password"),
        ("", "hunter2", "username"),
        ("  ", "hunter2", "username"),
        ("ann", "", "password"),
        ("ann", " \t", "password"),
        ("", "", "username"),
        (7, "hunter2", "username"),
        ("ann", b"hunter2", "password"),
    ],
)
def test_half_of_the_credentials_is_an_error(username, password, parameter):
    """The error names the half that is missing or blank and never shows the password."""
    with pytest.raises(ConfigurationError) as caught:
        Validators.validate_credentials(username, password)
    assert caught.value.parameter == parameter
    assert caught.value.value == ("***" if parameter == "password" else username)
    assert "hunter2" not in str(caught.value)


UTC = timezone.utc
EAST = timezone(timedelta(hours=9))
PAST = datetime(2024, 1, 1)  # noqa: DTZ001 - naive datetimes are part of the interface
LATER = datetime(2024, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (PAST, PAST + timedelta(seconds=1)),
        (LATER, LATER + timedelta(days=1)),
        (PAST, LATER),
        (LATER, LATER.replace(day=2, tzinfo=EAST)),
        (datetime(2000, 1, 1), PAST),  # noqa: DTZ001
        (PAST, LATER.replace(tzinfo=NoOffset())),
    ],
)
def test_a_range_of_the_past_is_valid(start, end):
    """The limits come back as they were, with or without timezones."""
    result = Validators.validate_date_range(start, end)
    assert result[0] is start
    assert result[1] is end


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (PAST, None, "date_range"),
        (None, PAST, "date_range"),
        (PAST, PAST, "date_range"),
        (PAST + timedelta(1), PAST, "date_range"),
        (LATER, PAST, "date_range"),
        (LATER, LATER.astimezone(EAST), "date_range"),
        (LATER, LATER.replace(tzinfo=EAST), "date_range"),
        (datetime.max, LATER, "date_range"),  # noqa: DTZ901
        (LATER, datetime.min, "date_range"),  # noqa: DTZ901
        (date(2024, 1, 1), PAST, "start_date"),
        ("2024-01-01", PAST, "start_date"),
        (PAST, date(2024, 2, 1), "end_date"),
        (PAST, 1706745600, "end_date"),
        (datetime(1999, 12, 31), PAST, "start_date"),  # noqa: DTZ001
        (datetime(1999, 12, 31, tzinfo=UTC), PAST, "start_date"),
        (datetime.min, LATER, "start_date"),  # noqa: DTZ901
        (PAST, datetime.max, "end_date"),  # noqa: DTZ901
        (PAST, datetime.max.replace(tzinfo=UTC), "end_date"),
        (datetime(9000, 1, 1), datetime.max, "start_date"),  # noqa: DTZ001, DTZ901
    ],
)
def test_anything_else_is_no_range(start, end, field):
    """The error names the limit that is wrong, or the range when it takes both."""
    assert error_of(Validators.validate_date_range, start, end).field == field


@pytest.mark.parametrize("zone", [None, UTC, EAST])
def test_the_present_is_the_limit_of_the_past(zone):
    """A minute ago is past, a minute ahead is not, in every timezone."""
    now = datetime.now(tz=zone)
    minute = timedelta(minutes=1)
    Validators.validate_date_range(now - 2 * minute, now - minute)
    assert error_of(Validators.validate_date_range, now - minute, now + minute).field == "end_date"


def test_pandas_timestamps_are_datetimes():
    """A Timestamp passes; NaT, which calls itself a datetime, does not."""
    pandas = pytest.importorskip("pandas")
    start, end = pandas.Timestamp("2024-01-01"), pandas.Timestamp("2024-01-02", tz="UTC")
    assert Validators.validate_date_range(start, end) == (start, end)
    assert error_of(Validators.validate_date_range, start, pandas.NaT).field == "end_date"
    assert error_of(Validators.validate_date_range, pandas.NaT, PAST).field == "start_date"


@given(
    st.datetimes(timezones=st.sampled_from([None, UTC, EAST])),
    st.datetimes(timezones=st.sampled_from([None, UTC, EAST])),
)
def test_two_datetimes_are_a_range_or_an_error(start, end):
    """No pair of datetimes, however far away, ends in another error."""
    try:
        Validators.validate_date_range(start, end)
    except DataValidationError as error:
        assert error.field in {"date_range", "start_date", "end_date"}  # noqa: PT017
    else:
        assert min(start.year, end.year) >= 2000


@pytest.mark.parametrize(
    ("timestamp", "milliseconds"),
    [
        (946684800, 946684800000),
        (1704067200, 1704067200000),
        (1704067200.123, 1704067200123),
        (1704067200123, 1704067200123),
        (1704067200123.0, 1704067200123),
        (Fraction(3408134401, 2), 1704067200500),
    ],
)
def test_a_timestamp_becomes_milliseconds(timestamp, milliseconds):
    """Their size distinguishes seconds from milliseconds."""
    result = Validators.validate_timestamp(timestamp)
    assert result == milliseconds
    assert type(result) is int


def test_numpy_timestamps_do_not_wrap_around():
    """A number of 32 bits has no room for milliseconds; the answer has."""
    numpy = pytest.importorskip("numpy")
    assert Validators.validate_timestamp(numpy.int32(1704067200)) == 1704067200000


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (946684799, "before 2000"),
        (0, "before 2000"),
        (-1e300, "before 2000"),
        (9_999_999_999, "future"),
        (1e300, "future"),
        pytest.param(10**5000, "finite", id="huge"),
        (NAN, "finite"),
        (math.inf, "finite"),
        (-math.inf, "finite"),
        (True, "bool"),
        ("1704067200", "str"),
        (None, "NoneType"),
        (1j, "complex"),
    ],
)
def test_anything_else_is_no_timestamp(timestamp, reason):
    """The error says what is wrong with it, under the caller's name for it."""
    error = error_of(Validators.validate_timestamp, timestamp, "since")
    assert error.field == "since"
    assert reason in error.reason


def test_a_timestamp_is_not_in_the_future():
    """A minute ago is fine, a minute ahead is not."""
    now = time.time()
    assert Validators.validate_timestamp(now - 60) == pytest.approx((now - 60) * 1000, abs=1)
    assert error_of(Validators.validate_timestamp, now + 60).field == "timestamp"


def test_the_functions_are_the_methods():
    """Both ways to call a validator are the same."""
    assert validate_symbol is Validators.validate_symbol
    assert validate_exchange is Validators.validate_exchange
    assert validate_n_bars is Validators.validate_n_bars
    assert validate_ohlc is Validators.validate_ohlc


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(validators).failed == 0
