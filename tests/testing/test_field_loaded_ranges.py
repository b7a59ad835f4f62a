"""A range of bars that a series has already is shown without sending them again."""

import json

import pytest

from tests.testing.client import NOW, named, names
from tests.testing.test_recorded_shapes import shape
from tvDatafeed.testing import Refusal, load_packets

COIN = "BINANCE:BTCUSDT"
MINUTE, HOUR = 60, 3600
SHOWN = ["series_loading", "series_timeframe", "series_timeframe", "series_completed"]


def modify(client, wanted_range, turnaround="s1", interval="1"):
    client.say("modify_series", "cs_plain", "sds_1", turnaround, "sym_1", interval, wanted_range)
    return client.messages()


def minutes(first, last):
    """Return the range between two moments, in minutes before now."""
    return f"r,{int(NOW) - first * MINUTE}:{int(NOW) - last * MINUTE}"


def timeframes(messages):
    return [message["p"][3:5] for message in messages if message["m"] == "series_timeframe"]


@pytest.fixture
def series(client):
    """A client with ten bars of a minute, the last of which begins now."""
    client.greet()
    client.history(COIN, "1", 10)
    return client


def test_recorded_shape(series, captures):
    """Messages, kinds and indexes are those of the recording, bars of an older page included."""
    entries = json.loads((captures / "2025-12-prodata-older-page.json").read_text("utf-8"))
    answer = next(entry["data"] for entry in entries if '"series_timeframe"' in entry["data"])
    real = [json.loads(payload) for payload in load_packets(answer)]
    series.say("request_more_data", "cs_plain", "sds_1", 8)
    series.messages()
    ours = modify(series, minutes(13, 0))
    assert names(ours) == names(real) == SHOWN
    assert shape(ours) == shape(real)
    assert [message["p"][6] for message in ours[1:3]] == [False, True]
    assert timeframes(ours) == [[-4, 9]] * 2


@pytest.mark.parametrize(
    ("wanted_range", "places"),
    [
        (minutes(9, 0), [0, 9]),
        (minutes(6, 4), [3, 5]),
        (minutes(5.5, 3.5), [4, 5]),
        (minutes(2, -600), [7, 9]),
        (minutes(-60, -600), [10, 9]),
    ],
    ids=["all", "some", "between bars", "into the future", "of the future"],
)
def test_places(series, wanted_range, places):
    """The places are those of the bars that begin in the range."""
    assert timeframes(modify(series, wanted_range)) == [places] * 2


def test_series_stays_live(series, server, clock):
    """The series keeps its bars and their indexes, and continues under the new turnaround."""
    assert modify(series, minutes(5, 0), "s2")[-1]["p"][3] == "s2"
    clock.now += MINUTE
    server.tick()
    last, successor = series.messages() + series.messages()
    assert (last["p"][1]["sds_1"]["t"], last["p"][1]["sds_1"]["s"][0]["i"]) == ("s2", 9)
    assert successor["p"][1]["sds_1"]["s"][0]["i"] == 10
    # A bar that was not sent yet is not in the range.
    clock.now += MINUTE
    assert timeframes(modify(series, minutes(0, -2))) == [[9, 10]] * 2


@pytest.mark.parametrize(
    ("wanted_range", "interval"),
    [(minutes(10, 0), "1"), (minutes(9, 0), "5"), ("", "1")],
    ids=["older bars", "another interval", "no range"],
)
def test_other_bars_are_sent(series, wanted_range, interval):
    """Bars that the series does not have are sent, after it is cleared."""
    answer = modify(series, wanted_range, "s2", interval)
    assert names(answer)[:3] == ["series_loading", "timescale_update", "timescale_update"]
    assert answer[2]["p"][1]["sds_1"]["s"]


def test_another_symbol(series):
    """The range of another symbol is sent, however many bars of the first are there."""
    series.say("resolve_symbol", "cs_plain", "sym_2", "BITSTAMP:BTCUSD")
    wanted_range = minutes(5, 0)
    series.say("modify_series", "cs_plain", "sds_1", "s2", "sym_2", "1", wanted_range)
    assert "symbol_resolved" in names(series.messages())


def test_series_of_the_past(client):
    """A series that ends in the past has no bars after its end."""
    client.greet()
    client.history(COIN, "1", ["bar_count", int(NOW) - HOUR, 10])
    assert timeframes(modify(client, minutes(65, 60))) == [[4, 9]] * 2
    assert names(modify(client, minutes(65, 59))) != SHOWN


def test_refused_meanwhile(series, server):
    """A symbol that is refused by now is refused for a range of bars that are there, too."""
    server.refuse(COIN, Refusal("series_error", "resolution_not_entitled"))
    assert named(modify(series, minutes(5, 0)), "series_error")["p"][3] == "resolution_not_entitled"


@pytest.mark.parametrize("wanted_range", ["yesterday", "r,1"])
def test_bad_range(series, wanted_range):
    """An invalid range still ends the session."""
    assert names(modify(series, wanted_range)) == ["critical_error"]
