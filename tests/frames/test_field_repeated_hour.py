"""An hour that local time shows twice is logged once, and its two passes can be distinguished."""

import datetime as dt
import logging
import zoneinfo

import pytest

from tests.feed import BTC, Bars, LiveServer, live
from tests.loopback import impatient
from tvDatafeed import Interval, TvDatafeed

BERLIN = "Europe/Berlin"
# Clocks in Berlin are set back at 2025-10-26 01:00 UTC.
SET_BACK = dt.datetime(2025, 10, 26, 1, tzinfo=dt.timezone.utc)
HOUR = dt.timedelta(hours=1)
NEAR = {"start_date": SET_BACK - 3 * HOUR, "end_date": SET_BACK + 3 * HOUR}
SYMBOL = "BINANCE:BTCUSDT"


def warnings_of(caplog):
    """The warnings that name the remedy."""
    return [r for r in caplog.records if 'timezone="UTC"' in r.getMessage()]


@pytest.mark.parametrize("interval", [Interval.in_1_hour, Interval.in_15_minute])
@pytest.mark.parametrize("zone", [BERLIN, "CET-1CEST,M3.5.0,M10.5.0/3"])
def test_frame_that_spans_the_hour(tv, set_zone, caplog, interval, zone):
    """One WARNING of the logger of frames, which names the symbol and the remedy."""
    set_zone(zone)
    frame = tv.get_hist(SYMBOL, interval=interval, **NEAR)
    assert not frame.index.is_unique
    (warning,) = warnings_of(caplog)
    assert warning.levelno == logging.WARNING
    assert warning.name.startswith("tvDatafeed.frames")
    assert SYMBOL in warning.getMessage()


def test_frame_that_spans_the_hour_of_new_york(tv, set_zone, caplog):
    """Each zone has its own hour."""
    set_zone("America/New_York")
    asked = {"start_date": "2025-11-02T03:00Z", "end_date": "2025-11-02T09:00Z"}
    frame = tv.get_hist(SYMBOL, interval=Interval.in_1_hour, **asked)
    assert not frame.index.is_unique
    (warning,) = warnings_of(caplog)
    assert "2025-11-02 01:00:00" in warning.getMessage()


def test_frame_that_touches_the_hour(tv, set_zone, caplog):
    """One bar of each pass is enough, and both passes are needed."""
    set_zone(BERLIN)
    quarter = {"interval": Interval.in_15_minute}
    for start, end in (
        (SET_BACK - HOUR, SET_BACK - HOUR / 4),
        (SET_BACK, SET_BACK + HOUR),
    ):
        frame = tv.get_hist(SYMBOL, **quarter, start_date=start, end_date=end)
        assert frame.index.is_unique
    assert warnings_of(caplog) == []
    tv.get_hist(SYMBOL, **quarter, start_date=SET_BACK - HOUR / 4, end_date=SET_BACK)
    assert len(warnings_of(caplog)) == 1


def test_one_warning_of_an_object(server, set_zone, caplog, tmp_path):
    """Frames of a client are warned of once; another client and a store have their own warning."""
    set_zone(BERLIN)
    asked = {"interval": Interval.in_1_hour, **NEAR}
    with TvDatafeed(config=impatient(server), store=tmp_path / "bars.db") as tv:
        for _again in range(3):
            tv.get_hist(SYMBOL, **asked)
        frames = tv.get_hist_multi([SYMBOL, "BITSTAMP:BTCUSD"], **asked)
        assert not any(frame.index.is_unique for frame in frames.values())
        assert len(warnings_of(caplog)) == 1
        for _again in range(2):
            tv.store.read_bars(SYMBOL, **asked)
        assert len(warnings_of(caplog)) == 2
    with TvDatafeed(config=impatient(server)) as tv:
        tv.get_hist_multi([SYMBOL, "BITSTAMP:BTCUSD"], **asked)
    assert len(warnings_of(caplog)) == 3


def test_no_warning_with_a_zone_of_the_object(server, set_zone, caplog):
    """The remedy may stand in the object."""
    set_zone(BERLIN)
    with TvDatafeed(config=impatient(server), timezone="UTC") as tv:
        assert tv.get_hist(SYMBOL, interval=Interval.in_1_hour, **NEAR).index.is_unique
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("question", "zone"),
    [
        pytest.param({**NEAR, "timezone": "UTC"}, BERLIN, id="UTC"),
        pytest.param({**NEAR, "timezone": BERLIN}, BERLIN, id="aware"),
        pytest.param(NEAR, "Asia/Tokyo", id="no such hour here"),
        pytest.param({**NEAR, "end_date": SET_BACK - HOUR / 4}, BERLIN, id="before"),
        pytest.param({**NEAR, "start_date": SET_BACK}, BERLIN, id="after"),
        pytest.param({"interval": Interval.in_4_hour, **NEAR}, BERLIN, id="long bars"),
        pytest.param({"interval": Interval.in_daily, "n_bars": 2000}, "Europe/London", id="daily"),
        pytest.param(
            {"start_date": "2026-03-28T12:00Z", "end_date": "2026-03-29T12:00Z"},
            BERLIN,
            id="clocks set forward",
        ),
    ],
)
def test_frame_that_shows_no_hour_twice(tv, set_zone, caplog, question, zone):
    """Without a repetition there is nothing to warn of."""
    set_zone(zone)
    frame = tv.get_hist(SYMBOL, **{"interval": Interval.in_1_hour, **question})
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    assert warnings_of(caplog) == []


def test_live_bars_of_the_hour(set_zone, caplog):
    """A feed warns once, however many bars, subscribers and series it has."""
    set_zone(BERLIN)
    with (
        LiveServer(now=(SET_BACK - HOUR / 60).timestamp()) as server,
        live(server, data={"timezone": None}) as tvl,
    ):
        subscribers = [Bars(), Bars()]
        for bars in subscribers:
            tvl.subscribe(*BTC, bars)
        other = Bars()
        tvl.subscribe("BTCUSDT", "BINANCE", Interval.in_1_minute, other)
        for count in range(2, 5):
            server.move(60)
            assert all(bars.wait(count) for bars in [*subscribers, other])
        tvl.get_hist(SYMBOL, interval=Interval.in_1_hour, n_bars=5)
        opens = subscribers[0].opens
        assert min(opens) == opens[-2] < opens[0]
        (warning,) = warnings_of(caplog)
        assert warning.name.startswith("tvDatafeed.frames")


def test_live_bars_in_utc(set_zone, caplog):
    """With a zone, live bars continue in order."""
    set_zone(BERLIN)
    with LiveServer(now=(SET_BACK - HOUR / 60).timestamp()) as server, live(server) as tvl:
        bars = Bars()
        tvl.subscribe(*BTC, bars)
        for count in range(2, 5):
            server.move(60)
            assert bars.wait(count)
        assert bars.opens == sorted(set(bars.opens))
    assert warnings_of(caplog) == []


def test_naive_limit_of_the_hour(tv, set_zone):
    """A naive limit is in the first of both hours, and with fold=1 in the second."""
    set_zone(BERLIN)
    for fold in (0, 1):
        start = dt.datetime(2025, 10, 26, 2, fold=fold)  # noqa: DTZ001
        frame = tv.get_hist(
            SYMBOL, interval=Interval.in_1_hour, start_date=start, end_date=SET_BACK + HOUR * 2
        )
        true = tv.get_hist(
            SYMBOL,
            interval=Interval.in_1_hour,
            start_date=SET_BACK - HOUR * (1 - fold),
            end_date=SET_BACK + HOUR * 2,
            timezone="UTC",
        )
        assert frame["close"].tolist() == true["close"].tolist()


def test_zone_as_an_object(server):
    """A tzinfo is as good as its name."""
    with TvDatafeed(config=impatient(server)) as tv:
        for zone in (zoneinfo.ZoneInfo("Asia/Tokyo"), dt.timezone.utc, dt.timezone(HOUR)):
            frame = tv.get_hist(SYMBOL, timezone=zone)
            assert frame.index.tz == zone
            assert frame.attrs["timezone"] == str(zone)
