"""The zone of an object: that of all its frames, unless a call names another one."""

import datetime as dt
import zoneinfo

import pandas as pd
import pytest

from tests.feed import BTC, Bars, LiveServer, live_config
from tests.loopback import impatient
from tvDatafeed import ConfigurationError, TvDatafeed, TvDatafeedConfig, TvDatafeedLive
from tvDatafeed.config import DataConfig

UTC = dt.timezone.utc
TOKYO = zoneinfo.ZoneInfo("Asia/Tokyo")
ZONES = [
    ("UTC", UTC, "UTC"),
    (UTC, UTC, "UTC"),
    (zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("UTC"), "UTC"),
    ("Asia/Tokyo", TOKYO, "Asia/Tokyo"),
    (" Asia/Tokyo ", TOKYO, "Asia/Tokyo"),
    (TOKYO, TOKYO, "Asia/Tokyo"),
    ("exchange", zoneinfo.ZoneInfo("America/New_York"), "America/New_York"),
]
WRONG = ["Mars", "../etc/passwd", 5, True, b"UTC", ["UTC"], dt.timedelta(hours=1)]


@pytest.fixture
def tokyo(monkeypatch):
    """TV_TIMEZONE names Tokyo."""
    monkeypatch.setenv("TV_TIMEZONE", "Asia/Tokyo")


def settings(server):
    """The settings of the environment, with a server."""
    found = TvDatafeedConfig.from_env()
    return TvDatafeedConfig(network=impatient(server).network, data=found.data)


@pytest.mark.parametrize(("timezone", "zone", "name"), ZONES)
def test_zone_of_the_object(server, timezone, zone, name):
    """All frames of a client are in its zone, and naive dates are read in it."""
    with TvDatafeed(config=server.config(), timezone=timezone) as tv:
        frame = tv.get_hist("NASDAQ:AAPL")
        assert frame.index.tz == zone
        assert frame.attrs["timezone"] == name
        many = tv.get_hist_multi(["NASDAQ:AAPL", "NASDAQ:MSFT"], n_bars=3)
        assert {str(one.index.tz) for one in many.values()} == {name}
        since = tv.get_hist("BINANCE:BTCUSDT", start_date="2026-08-12")
        assert since.index[0] == pd.Timestamp("2026-08-12", tz="UTC")


@pytest.mark.parametrize(("timezone", "zone", "name"), ZONES)
def test_zone_of_a_call_wins(server, tokyo, timezone, zone, name):
    """A call's zone goes before the object's, and that before TV_TIMEZONE."""
    with TvDatafeed(config=settings(server), timezone="Europe/Berlin") as tv:
        assert str(tv.get_hist("NASDAQ:AAPL").index.tz) == "Europe/Berlin"
        frame = tv.get_hist("NASDAQ:AAPL", timezone=timezone)
        assert (frame.index.tz, frame.attrs["timezone"]) == (zone, name)
    with TvDatafeed(config=settings(server)) as tv:
        assert str(tv.get_hist("NASDAQ:AAPL").index.tz) == "Asia/Tokyo"


@pytest.mark.parametrize("empty", ["", " "])
def test_empty_text_is_naive_local_time(server, tokyo, set_zone, empty):
    """Of a call and of an object, whatever TV_TIMEZONE and the object say."""
    set_zone("America/New_York")
    with TvDatafeed(config=settings(server)) as tv:
        naive = tv.get_hist("NASDAQ:AAPL", timezone=empty)
    with TvDatafeed(config=settings(server), timezone="UTC") as tv:
        pd.testing.assert_frame_equal(tv.get_hist("NASDAQ:AAPL", timezone=empty), naive)
    with TvDatafeed(config=settings(server), timezone=empty) as tv:
        pd.testing.assert_frame_equal(tv.get_hist("NASDAQ:AAPL"), naive)
    assert naive.index.tz is None
    assert "timezone" not in naive.attrs
    assert str(naive.index[-1].time()) == "09:30:00"


@pytest.mark.parametrize("timezone", WRONG)
@pytest.mark.parametrize("kind", [TvDatafeed, TvDatafeedLive])
def test_wrong_zone_is_refused_when_the_object_is_made(server, kind, timezone):
    """Nothing is sent, not even a password."""
    with pytest.raises(ConfigurationError, match="timezone"):
        kind("alice", "open sesame", config=server.config(), timezone=timezone)
    assert server.logins == []
    assert server.connections_opened == 0


@pytest.mark.parametrize("timezone", WRONG)
def test_wrong_zone_of_a_call(tv, server, timezone):
    """It is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="timezone"):
        tv.get_hist("NASDAQ:AAPL", timezone=timezone)
    assert server.connections_opened == 0


def test_wrong_zone_of_the_environment(server, monkeypatch):
    """TV_TIMEZONE is looked at when the object is made, unless a parameter replaces it."""
    monkeypatch.setenv("TV_TIMEZONE", "Mars")
    with pytest.raises(ConfigurationError, match="no such timezone"):
        TvDatafeed(config=settings(server))
    with TvDatafeed(config=settings(server), timezone="UTC") as tv:
        assert str(tv.get_hist("NASDAQ:AAPL").index.tz) == "UTC"


def test_zone_object_in_the_settings(server):
    """The settings accept what the parameter does."""
    config = TvDatafeedConfig(network=server.config().network, data=DataConfig(timezone=TOKYO))
    with TvDatafeed(config=config) as tv:
        assert tv.get_hist("NASDAQ:AAPL").index.tz == TOKYO


@pytest.mark.parametrize(("timezone", "zone", "name"), ZONES[:6])
def test_live_frames(timezone, zone, name):
    """Callbacks, iterators and the history of a Seis have the zone of the feed."""
    with (
        LiveServer() as server,
        TvDatafeedLive(
            config=live_config(server, data={"timezone": "Europe/Berlin"}), timezone=timezone
        ) as tvl,
    ):
        bars = Bars()
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        _seis, streamed = next(iter(tvl.stream(seis, replay_last=True)))
        frames = [bars.frames[0], streamed, seis.get_hist(n_bars=2)]
    assert [frame.index.tz for frame in frames] == [zone] * 3
    assert {frame.attrs["timezone"] for frame in frames} == {name}


def test_live_frames_in_local_time(tokyo):
    """An empty text is naive local time for a feed too."""
    with LiveServer() as server, TvDatafeedLive(config=settings(server), timezone="") as tvl:
        bars = Bars()
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
    assert bars.frames[0].index.tz is None
    assert "timezone" not in bars.frames[0].attrs


@pytest.mark.parametrize("use", ["use", "only", "off"])
def test_stored_bars(server, tmp_path, use):
    """What comes from the store has the zone of the client that asks."""
    store = tmp_path / "bars.db"
    with TvDatafeed(config=server.config(), store=store, timezone="UTC") as tv:
        tv.get_hist("NASDAQ:AAPL")
    with TvDatafeed(config=server.config(), store=store, timezone=TOKYO) as tv:
        assert tv.get_hist("NASDAQ:AAPL", store=use).index.tz == TOKYO
        assert tv.store.read_bars("NASDAQ:AAPL", timezone=UTC).index.tz == UTC
