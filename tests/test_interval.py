"""The intervals, their values and their lengths."""

import copy
import doctest
import pickle

import pytest

from tvDatafeed import InvalidIntervalError, interval
from tvDatafeed.interval import (
    INTERVAL_TEXTS,
    CustomInterval,
    Interval,
    as_interval,
    bar_seconds,
    interval_len,
)

MEMBERS = [
    ("in_1_minute", "1", 60),
    ("in_3_minute", "3", 180),
    ("in_5_minute", "5", 300),
    ("in_15_minute", "15", 900),
    ("in_30_minute", "30", 1800),
    ("in_45_minute", "45", 2700),
    ("in_1_hour", "1H", 3600),
    ("in_2_hour", "2H", 7200),
    ("in_3_hour", "3H", 10800),
    ("in_4_hour", "4H", 14400),
    ("in_daily", "1D", 86400),
    ("in_weekly", "1W", 604800),
    ("in_monthly", "1M", 2592000),
]


def test_the_first_thirteen_members_are_those_programs_know():
    """Names, values and order stay, so that code which lists them continues working."""
    known = [(member.name, member.value) for member in list(Interval)[:13]]
    assert known == [(name, value) for name, value, _ in MEMBERS]


@pytest.mark.parametrize(("name", "value", "seconds"), MEMBERS)
def test_an_interval_knows_its_length(name, value, seconds):
    """The length stands in the table and on the member."""
    assert interval_len[value] == seconds
    assert Interval[name].seconds == seconds


def test_the_table_has_each_interval_and_nothing_else():
    """A member without a length, or a length without a member, is a mistake."""
    assert list(interval_len) == [member.value for member in Interval]
    assert all(member.seconds > 0 for member in Interval)


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(interval).failed == 0


TEXTS = {
    **{f"{n}s": Interval(f"{n}S") for n in (1, 5, 10, 15, 30, 45)},
    **{f"{n}m": Interval(f"{n}") for n in (1, 3, 5, 10, 15, 30, 45)},
    **{f"{n}h": Interval(f"{n}H") for n in (1, 2, 3, 4)},
    **dict.fromkeys(("1d", "1D", "daily", "D"), Interval.in_daily),
    **dict.fromkeys(("1w", "1W", "weekly", "W"), Interval.in_weekly),
    **dict.fromkeys(("1mo", "1M", "monthly", "M"), Interval.in_monthly),
    "3M": Interval.in_3_monthly,
    "6M": Interval.in_6_monthly,
    **dict.fromkeys(("12M", "1y", "yearly"), Interval.in_yearly),
    # What TradingView itself writes, and the same length in another unit.
    "60": Interval.in_1_hour,
    "240": Interval.in_4_hour,
    "60m": Interval.in_1_hour,
    " 1h ": Interval.in_1_hour,
}
CUSTOM = [
    ("2m", "2", 120, "2m"),
    ("2", "2", 120, "2m"),
    ("20m", "20", 1200, "20m"),
    ("65m", "65", 3900, "65m"),
    ("90m", "90", 5400, "90m"),
    ("6h", "360", 21600, "6h"),
    ("6H", "360", 21600, "6h"),
    ("360", "360", 21600, "6h"),
    ("8h", "480", 28800, "8h"),
    ("12h", "720", 43200, "12h"),
    ("24h", "1440", 86400, "24h"),
    ("2D", "2D", 172800, "2D"),
    ("3d", "3D", 259200, "3D"),
    ("2w", "2W", 1209600, "2W"),
]


def copied(value):
    """What another process would get."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


@pytest.mark.parametrize(("text", "member"), TEXTS.items())
def test_a_text_is_its_member(text, member):
    """Minutes are m and months M, and a member has more than one text."""
    assert as_interval(text) is member
    assert Interval(text) is member
    assert bar_seconds(text) == member.seconds


@pytest.mark.parametrize("member", Interval)
def test_the_value_of_a_member_is_a_text_for_it(member):
    """As before, a value makes its member."""
    assert as_interval(member.value) is as_interval(member) is Interval(member.value) is member


@pytest.mark.parametrize(("text", "value", "seconds", "name"), CUSTOM)
def test_a_length_without_a_member(text, value, seconds, name):
    """It looks and behaves like a member: equal by its length, and a key of a dict."""
    custom = as_interval(text)
    assert (custom.value, custom.seconds, custom.name, str(custom)) == (value, seconds, name, name)
    assert custom.is_intraday == (value[-1] not in "DW")
    assert repr(custom) == f"CustomInterval({name!r})"
    assert custom == CustomInterval(value) == copied(custom)
    assert custom == copy.deepcopy(custom)
    assert {custom: 1}[CustomInterval(name)] == 1
    assert custom not in set(Interval)
    assert as_interval(custom) is custom
    with pytest.raises(AttributeError):
        custom.value = "1"


@pytest.mark.parametrize("text", ["2m", "6h", "2D"])
def test_the_enumeration_has_members_alone(text):
    """The error says where such a text goes."""
    with pytest.raises(InvalidIntervalError, match=f"pass the text '{text}' itself") as caught:
        Interval(text)
    assert isinstance(caught.value, ValueError)


def test_a_member_is_no_length_without_one():
    """One length has one value, so that equal series are equal."""
    with pytest.raises(InvalidIntervalError, match=r"this length is Interval\.in_1_hour$"):
        CustomInterval("60m")
    with pytest.raises(InvalidIntervalError):
        CustomInterval("7x")
    with pytest.raises(InvalidIntervalError):
        CustomInterval(60)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("1min", "1m, 1M, 10m"),
        ("30min", "30m, 3m, 3M"),
        ("1hour", "1h, 12h, 1mo"),
        ("H", "1h, 2h, 3h"),
        ("15M", "15m, 1M, 5m"),
        ("2M", "2m, 12M, 1M"),
        ("5h", "4h, 6h, 3h"),
        ("7m", "5m, 3m, 2m"),
        ("Daily", "daily, yearly, weekly"),
        ("15T", "15s, 15m, monthly"),
    ],
)
def test_a_text_that_fits_nothing(text, nearest):
    """The message has the three nearest ones, and all texts in one line."""
    with pytest.raises(InvalidIntervalError) as caught:
        as_interval(text)
    assert caught.value.interval == text
    assert caught.value.nearest == nearest.split(", ")
    assert caught.value.supported == list(INTERVAL_TEXTS)
    assert str(caught.value) == (
        f"Invalid interval: '{text}'. The nearest are {nearest}. "
        f"Supported intervals: {', '.join(INTERVAL_TEXTS)} (m: minutes, M: months)"
    )
    assert str(copied(caught.value)) == str(caught.value)
    with pytest.raises(InvalidIntervalError):
        Interval(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "0", "0m", "01m", "-1h", "1.5h", "1441", "1441m", "25h", "366D", "53W", "2S"),
        *("90s", "1 h", "1h\n1h", "\u0661h", "4M", "2y", "in_daily", "x" * 100_000),
    ],
)
def test_no_other_text_passes(text):
    """Zeros, fractions, foreign digits, lengths beyond TradingView's, and very long texts."""
    with pytest.raises(InvalidIntervalError):
        as_interval(text)
    assert bar_seconds(text, default=0.0) == 0.0


@pytest.mark.parametrize("value", [1, 60, 1.0, None, ["1h"], Interval, b"1h"])
def test_what_is_no_text(value):
    """It is refused as before: by the enumeration with a plain ValueError."""
    with pytest.raises(InvalidIntervalError) as caught:
        as_interval(value)
    assert caught.value.interval is value
    assert caught.value.nearest == []
    with pytest.raises(ValueError, match="is not a valid Interval") as plain:
        Interval(value)
    assert not isinstance(plain.value, InvalidIntervalError)


def test_each_usual_text_names_a_length():
    """The table that the command line and the errors show has no text that is refused."""
    assert len(set(INTERVAL_TEXTS)) == len(INTERVAL_TEXTS)
    lengths = [as_interval(text).seconds for text in INTERVAL_TEXTS]
    assert lengths == sorted(lengths)
    assert set(Interval) <= {as_interval(text) for text in INTERVAL_TEXTS}
