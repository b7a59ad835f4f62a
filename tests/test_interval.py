"""The intervals, their values and their lengths."""

import doctest

import pytest

from tvDatafeed import interval
from tvDatafeed.interval import Interval, interval_len

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
    """Names, values and order stay, so that code which lists them goes on working."""
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
