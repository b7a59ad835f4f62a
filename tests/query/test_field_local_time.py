"""Local time is that of the process, also after its zone has changed."""

import datetime as dt
import threading
import timeit

import pytest
import tzlocal

from tests.scale import PATIENCE_S, scaled
from tvDatafeed import Interval
from tvDatafeed.query.dates import local_timezone

OPENS = dt.datetime(2026, 8, 10, 9)  # noqa: DTZ001 - local time
EPOCH_S = {
    "Asia/Tokyo": 1786320000,
    "Europe/Berlin": 1786345200,
    "Europe/Paris": 1786345200,
    "America/New_York": 1786366800,
}


def bar_at(tv, start, timezone=None):
    """The frame of the one hour that opens at a moment."""
    end = start + dt.timedelta(minutes=1)
    asked = {"start_date": start, "end_date": end, "timezone": timezone}
    return tv.get_hist("BINANCE:BTCUSDT", interval=Interval.in_1_hour, **asked)


def assert_local(tv, start):
    """A naive limit and a naive index are what the process's own clock shows."""
    bar = bar_at(tv, start)
    true = bar_at(tv, dt.datetime.fromtimestamp(start.timestamp(), dt.timezone.utc), "UTC")
    assert bar.index[0] == start
    assert bar["close"].tolist() == true["close"].tolist()


def test_index_and_dates_follow_the_process(tv, set_zone):
    """After each time.tzset both the index and naive limits are in the new zone."""
    for zone in (*EPOCH_S, "Asia/Tokyo"):
        set_zone(zone)
        assert OPENS.timestamp() == EPOCH_S[zone]
        assert_local(tv, OPENS)


def test_zones_of_the_same_names_differ(set_zone):
    """Berlin had no summer time in 1978 and Paris had; today both have the same offsets."""
    offsets = []
    for zone in ("Europe/Berlin", "Europe/Paris"):
        set_zone(zone)
        moment = dt.datetime(1978, 7, 1, tzinfo=dt.timezone.utc)
        offsets.append(moment.astimezone(local_timezone()).utcoffset())
    assert offsets == [dt.timedelta(hours=1), dt.timedelta(hours=2)]


@pytest.mark.parametrize("rule", ["CET-1CEST,M3.5.0,M10.5.0/3", "XYZ-5:30"])
def test_rule_after_a_zone(tv, set_zone, rule):
    """A rule without a zone's name replaces a zone, and a zone replaces it."""
    for zone in ("America/New_York", rule, "Asia/Tokyo"):
        set_zone(zone)
        start = OPENS.replace(minute=30) if zone == "XYZ-5:30" else OPENS
        assert_local(tv, start)


def test_empty_name_is_what_the_system_makes_of_it(tv, set_zone):
    """TZ="" is UTC for the C library, whatever zone the machine has."""
    set_zone("Asia/Tokyo")
    assert_local(tv, OPENS)
    set_zone("")
    assert_local(tv, OPENS)


def test_variable_without_tzset_changes_nothing(tv, set_zone, monkeypatch):
    """The clock of the process changes by time.tzset alone, and so does the index."""
    set_zone("Asia/Tokyo")
    assert_local(tv, OPENS)
    monkeypatch.setenv("TZ", "America/New_York")
    assert_local(tv, OPENS)


def test_looking_it_up_is_cheap(set_zone):
    """A live bar asks for the zone each time: a look-up takes microseconds."""
    set_zone("Europe/Berlin")
    local_timezone()
    assert timeit.timeit(local_timezone, number=1000) < scaled(0.05)


def test_two_threads_ask_at_once(set_zone, monkeypatch):
    """A thread that asks while another one looks the zone up gets the zone too."""
    looks_up, reload = threading.Event(), tzlocal.reload_localzone

    def slow():
        looks_up.set()
        # The other thread asks meanwhile, which announces nothing.
        threading.Event().wait(0.1)
        return reload()

    monkeypatch.setattr(tzlocal, "reload_localzone", slow)
    set_zone("Europe/Berlin")
    first = threading.Thread(target=local_timezone)
    first.start()
    assert looks_up.wait(PATIENCE_S)
    assert str(local_timezone()) == "Europe/Berlin"
    first.join()
