"""Older pages of the loopback TradingView have the shape of the recorded one."""

import json

from tests.testing.client import NOW, named, names
from tests.testing.test_recorded_shapes import shape
from tvDatafeed.testing import load_packets

COIN = "BINANCE:BTCUSDT"


def page_of(messages):
    """Return bars, series and timeline of an answer."""
    update = named(messages, "timescale_update")["p"]
    series = update[1]["sds_1"]
    return series["s"], series, update[2]


def older(client, size):
    client.say("request_more_data", "cs_plain", "sds_1", size)
    return client.messages()


def recorded_page(captures):
    """Return the messages of the recorded answer to request_more_data."""
    entries = json.loads((captures / "2025-12-prodata-older-page.json").read_text("utf-8"))
    answers = [
        [json.loads(payload) for payload in load_packets(entry["data"])]
        for entry in entries
        if entry["from"] == "server" and "~h~" not in entry["data"]
    ]
    (answer,) = [
        answer for answer in answers if '"index":-232' in json.dumps(answer).replace(" ", "")
    ]
    return [message for message in answer if message["p"][1] != {}]


def test_recorded_shape(client, captures):
    """Messages, keys, kinds, indexes and the pairs of index_diff are those of the recording."""
    real = recorded_page(captures)
    client.greet()
    client.history(COIN, "1", 300)
    client.say("request_more_tickmarks", "cs_plain", "sds_1", 10)
    client.messages()
    ours = older(client, 232)
    assert names(ours) == names(real) == ["series_loading", "timescale_update", "series_completed"]
    renamed = json.loads(json.dumps(real).replace('"sds_2"', '"sds_1"'))
    assert shape(ours) == shape(renamed)
    bars, _series, timeline = page_of(ours)
    real_bars, _series, real_timeline = page_of(renamed)
    assert [bar["i"] for bar in bars] == [bar["i"] for bar in real_bars] == list(range(-232, 0))
    assert (timeline["index"], timeline["zoffset"]) == (-232, 232)
    assert sorted(timeline["index_diff"]) == sorted(real_timeline["index_diff"])
    assert timeline["changes"] == [bar["v"][0] for bar in bars]
    places = [mark[2] for mark in timeline["marks"]]
    assert places == [mark[2] for mark in real_timeline["marks"]] == list(range(-232, 310))


def test_close_time_is_of_the_newest_bar(client):
    """The close time beside an older page is that of the newest bar of the series."""
    client.greet()
    _bars, first, _timeline = page_of(client.history(COIN, "1", 10))
    _bars, page, _timeline = page_of(older(client, 5))
    assert page["lbs"] == first["lbs"] == {"bar_close_time": NOW + 60}


def test_second_page_goes_on_below_the_first(client):
    """Indexes continue downwards, and no bar that was sent before gets another index."""
    client.greet()
    client.history(COIN, "1", 10)
    older(client, 5)
    bars, _series, timeline = page_of(older(client, 7))
    assert [bar["i"] for bar in bars] == list(range(-12, -5))
    assert (timeline["index"], timeline["zoffset"]) == (-12, 12)
    assert [mark[2] for mark in timeline["marks"]] == list(range(-12, 10))
    assert [-1_000_001, -6] in timeline["index_diff"]


def test_marks_are_those_of_one_large_request(client):
    """The marks of all pages are the marks of the same bars in one answer."""
    client.greet()
    client.history("NASDAQ:AAPL", "60", 20)
    marks = page_of(older(client, 30))[2]["marks"]
    whole = page_of(client.history("NASDAQ:AAPL", "60", 50))[2]["marks"]
    assert [mark[:2] for mark in marks] == [mark[:2] for mark in whole]


def test_live_bars_keep_their_indexes(client, server, clock):
    """After an older page a live bar continues from the index of the first page."""
    client.greet()
    client.history(COIN, "1", 10)
    older(client, 5)
    clock.now += 60
    server.tick()
    last, successor = client.messages() + client.messages()
    assert (last["m"], last["p"][1]["sds_1"]["s"][0]["i"]) == ("du", 9)
    assert successor["p"][1]["sds_1"]["s"][0]["i"] == 10
    marks = page_of(older(client, 5))[2]["marks"]
    assert [mark[2] for mark in marks] == list(range(-10, 11))


def test_bars_that_come_again_are_numbered_from_0(client):
    """A chart that changes its time zone gets all bars numbered again, as pages do after that."""
    client.greet()
    client.history(COIN, "1", 10)
    older(client, 5)
    client.say("switch_timezone", "cs_plain", "Asia/Kolkata")
    bars, _series, timeline = page_of(client.messages())
    assert [bar["i"] for bar in bars] == list(range(15))
    assert (timeline["index"], timeline["zoffset"]) == (0, 0)
    assert page_of(older(client, 3))[2]["index"] == -3
