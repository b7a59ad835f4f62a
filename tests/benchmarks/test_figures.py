"""Figures show what they are named for: a slowed path shows, a lost bar stops the benchmark.

Slow is a thousand seconds on a clock that skips them, so that no machine is slower by itself.
"""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest

from tests.benchmarks import client, delivery, depth, many, store, storeservers
from tests.benchmarks.measure import Figure
from tests.benchmarks.server import STOCKS
from tests.store.contention import Outcome
from tvDatafeed import TvDatafeed
from tvDatafeed.delivery import Webhook
from tvDatafeed.store import BarStore
from tvDatafeed.store.archive import Archive

SLOW_S = 1000.0
SLOW_MS = SLOW_S * 1000
BARS = 60


def numbers(text):
    """Return the numbers of a text."""
    return [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)]


def listed(figures):
    """Return all figures by work, after a look at whether each holds as its numbers say."""
    found = list(figures)
    for figure in found:
        assert isinstance(figure, Figure)
        limits = {"at most": 1, "at least": -1, "below": 1}
        sign = next((limits[word] for word in limits if word in figure.target), None)
        if figure.holds is None or sign is None or " p50 " in f" {figure.target} ":
            continue
        # The last number is the sum, where the target is one.
        limit = numbers(figure.target)[-1 if "transfer" in figure.target else 0]
        assert figure.holds == (figure.value * sign <= limit * sign), figure
    assert len({(figure.name, figure.work) for figure in found}) == len(found)
    return found


def first(figures, name):
    return next(figure for figure in listed(figures) if figure.name == name)


def cut(method):
    """Return a method whose frames lack their first bar."""

    def shorter(*arguments, **options):
        answer = method(*arguments, **options)
        if isinstance(answer, dict):
            return {symbol: frame.iloc[1:] for symbol, frame in answer.items()}
        return answer.iloc[1:]

    return shorter


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(client, "BARS", BARS)
    monkeypatch.setattr(store, "BARS", BARS)
    monkeypatch.setattr(depth, "COUNTS", [BARS, 2 * BARS, 3 * BARS])
    monkeypatch.setattr(many, "DAILY_SYMBOLS", STOCKS[:12])
    monkeypatch.setattr(many, "MINUTE_SYMBOLS", STOCKS[:2])
    for name in ("DAILY_BARS", "MINUTE_BARS"):
        monkeypatch.setattr(many, name, BARS)


@pytest.fixture
def plain_floor(monkeypatch):
    """A floor that needs no other package, for the figures that are measured beside it."""

    def floor_way():
        def frame_of(text):
            update = next(json.loads(p) for p in text.split("~m~") if "timescale_update" in p)
            rows = [item["v"] for item in update["p"][1]["sds_1"]["s"]]
            frame = pd.DataFrame(rows, columns=["time", "open", "high", "low", "close", "volume"])
            frame["time"] = "NASDAQ:AAPL"
            return frame

        return frame_of

    monkeypatch.setattr(client, "floor_way", floor_way)


@pytest.mark.usefixtures("plain_floor")
class TestParsing:
    def test_a_slower_frame_shows_and_the_floor_stays(self, monkeypatch, clock):
        monkeypatch.setattr(
            client, "history_to_frame", clock.slowed(client.history_to_frame, SLOW_S)
        )
        (figure,) = listed(client.parsing(2))
        took_ms, floor_ms, _ratio = numbers(figure.measured)
        assert took_ms >= SLOW_MS > floor_ms
        assert figure.value == pytest.approx(took_ms / floor_ms, rel=0.1)
        assert figure.holds is False

    def test_a_slower_floor_makes_the_ratio_small(self, monkeypatch, clock):
        frame_of = client.floor_way()
        monkeypatch.setattr(client, "floor_way", lambda: clock.slowed(frame_of, SLOW_S))
        (figure,) = listed(client.parsing(2))
        assert figure.holds is True

    def test_a_lost_bar_stops_it(self, monkeypatch):
        monkeypatch.setattr(client, "history_to_frame", cut(client.history_to_frame))
        with pytest.raises(SystemExit, match="59 of 60 bars"):
            list(client.parsing(2))

    def test_a_floor_with_other_bars_stops_it(self, monkeypatch):
        frame_of = client.floor_way()
        monkeypatch.setattr(client, "floor_way", lambda: lambda text: frame_of(text) * 2)
        with pytest.raises(SystemExit, match="other bars"):
            list(client.parsing(2))


def test_the_floor_has_the_bars_of_the_text():
    pytest.importorskip("simdjson")
    frame = client.floor_way()(client.history_text())
    assert len(frame) == BARS


def test_without_its_floor_a_call_is_measured_and_not_judged(monkeypatch):
    def absent():
        raise ImportError

    monkeypatch.setattr(client, "floor_way", absent)
    (figure,) = listed(client.parsing(2))
    assert figure.holds is None
    assert client.NO_FLOOR in figure.measured


@pytest.mark.slow
@pytest.mark.usefixtures("plain_floor")
class TestWarmCall:
    def test_a_slower_call_shows_and_the_floors_stay(self, monkeypatch, clock):
        monkeypatch.setattr(TvDatafeed, "get_hist", clock.slowed(TvDatafeed.get_hist, SLOW_S))
        call, bare, wall, peer = listed(client.warm_call(2, None))
        cpu_ms, floor_ms, _ratio = numbers(call.measured)
        assert cpu_ms >= SLOW_MS > floor_ms
        assert numbers(bare.measured)[0] < SLOW_MS
        assert wall.value >= SLOW_MS
        assert (call.holds, peer.holds) == (False, None)

    def test_the_peer_is_compared_by_cpu_time(self, monkeypatch, clock):
        monkeypatch.setattr(TvDatafeed, "get_hist", clock.slowed(TvDatafeed.get_hist, SLOW_S))
        monkeypatch.setattr(client, "peer_figures", lambda _command: {"cpu_ms": 30 * SLOW_MS})
        figure = listed(client.warm_call(2, "python"))[-1]
        assert 25 < figure.value <= 30
        assert figure.holds is True

    def test_a_lost_bar_stops_it(self, monkeypatch):
        monkeypatch.setattr(TvDatafeed, "get_hist", cut(TvDatafeed.get_hist))
        with pytest.raises(SystemExit, match="59 of 60 bars"):
            list(client.warm_call(2, None))


@pytest.mark.slow
class TestManySymbols:
    def test_a_slower_call_shows_and_the_bare_connection_stays(self, monkeypatch, clock):
        slow = clock.slowed(TvDatafeed.get_hist_multi, SLOW_S)
        monkeypatch.setattr(TvDatafeed, "get_hist_multi", slow)
        daily, wider, minute = listed(many.many_symbols({}, 1))
        for figure in (daily, minute):
            took_s, bare_s, _ratio = numbers(figure.measured)
            assert took_s >= SLOW_S > bare_s
            assert figure.holds is False
        assert wider.value >= SLOW_S
        assert numbers(minute.target)[-1] < SLOW_S

    def test_a_longer_round_trip_shows_in_both(self, monkeypatch):
        monkeypatch.setattr(many, "ROUND_TRIP_S", 0.1)
        daily = first(many.many_symbols({}, 1), "P3")
        took_s, bare_s, _ratio = numbers(daily.measured)
        # Twelve symbols, of which ten at a time.
        assert took_s >= 0.2
        assert bare_s >= 0.2

    def test_a_lost_bar_stops_it(self, monkeypatch):
        monkeypatch.setattr(TvDatafeed, "get_hist_multi", cut(TvDatafeed.get_hist_multi))
        with pytest.raises(SystemExit, match="59 of 60 bars"):
            list(many.many_symbols({}, 1))


@pytest.mark.slow
class TestDepth:
    def test_slower_and_larger_calls_show(self, monkeypatch, clock):
        get_hist = clock.slowed(TvDatafeed.get_hist, SLOW_S)

        def heavy(*arguments, **options):
            bytearray(50 * depth.MIB)
            return get_hist(*arguments, **options)

        monkeypatch.setattr(TvDatafeed, "get_hist", heavy)
        took, memory, line = listed(depth.deep_history(1))
        assert took.value >= SLOW_MS
        assert numbers(memory.measured)[0] >= 50
        assert memory.holds is False
        assert line.name == "P9"

    def test_a_lost_bar_stops_it(self, monkeypatch):
        monkeypatch.setattr(TvDatafeed, "get_hist", cut(TvDatafeed.get_hist))
        with pytest.raises(SystemExit, match="59 of 60 bars"):
            list(depth.deep_history(1))


@pytest.mark.parametrize(("seconds", "ratio", "holds"), [(2, 0.05, True), (11, 0.5, False)])
def test_imports_are_compared_less_an_empty_process(monkeypatch, clock, seconds, ratio, holds):
    programs = {"import tvDatafeed": seconds, "import pandas": 21, "pass": 1}

    def run(command, *, check, env):
        assert check
        assert not env["PYTHONDONTWRITEBYTECODE"]
        assert command[:2] == [sys.executable, "-c"]
        clock.skip(programs[command[2]] * SLOW_S)

    # With it, each process would compile the package again, and not pandas.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(subprocess, "run", run)
    (figure,) = listed(client.importing(3))
    assert figure.value == pytest.approx(ratio, rel=0.01)
    assert figure.holds is holds


class TestReading:
    def test_a_slower_store_shows_and_the_memory_stays(self, monkeypatch, clock):
        monkeypatch.setattr(BarStore, "read_bars", clock.slowed(BarStore.read_bars, SLOW_S))
        ours, rows = listed(store.reading(2))
        took_ms, memory_ms, _ratio = numbers(ours.measured)
        assert took_ms >= SLOW_MS > memory_ms
        assert numbers(rows.measured)[0] < SLOW_MS
        assert ours.holds is False

    def test_a_lost_bar_stops_it(self, monkeypatch):
        monkeypatch.setattr(BarStore, "read_bars", cut(BarStore.read_bars))
        with pytest.raises(SystemExit, match="59 of 60 bars"):
            list(store.reading(2))


class TestWriting:
    def test_a_slower_store_shows_and_rows_stay(self, monkeypatch, clock):
        monkeypatch.setattr(BarStore, "write_bars", clock.slowed(BarStore.write_bars, SLOW_S))
        rate, against = listed(store.writing(1))
        assert rate.value <= BARS / SLOW_S
        theirs_s, ours_s, _ratio = numbers(against.measured)
        assert ours_s >= SLOW_S > theirs_s
        assert (rate.holds, against.holds) == (False, False)

    def test_a_lost_bar_stops_it(self, monkeypatch):
        write_bars = BarStore.write_bars

        def write_less(self, frame, *arguments, **options):
            return write_bars(self, frame.iloc[1:], *arguments, **options)

        monkeypatch.setattr(BarStore, "write_bars", write_less)
        with pytest.raises(SystemExit, match="59 of 60 bars"):
            list(store.writing(1))


class TestAppending:
    def test_a_slower_store_shows_and_the_bare_insert_stays(self, monkeypatch, clock):
        monkeypatch.setattr(Archive, "append", clock.slowed(Archive.append, SLOW_S))
        ours, _frames, _rows = listed(store.appending(1))
        took_ms, p99_ms, bare_ms = numbers(ours.measured)
        assert took_ms >= SLOW_MS > bare_ms
        assert p99_ms >= SLOW_MS
        assert ours.holds is False

    def test_a_lost_bar_stops_it(self, monkeypatch):
        monkeypatch.setattr(store, "append", lambda *_: None)
        with pytest.raises(SystemExit, match="60 of 260 bars"):
            list(store.appending(1))


@pytest.mark.slow
class TestWarmCallWithStore:
    def test_a_slower_call_shows_and_the_reading_stays(self, monkeypatch, clock):
        monkeypatch.setattr(TvDatafeed, "get_hist", clock.slowed(TvDatafeed.get_hist, SLOW_S))
        wall, received, cpu = listed(store.warm_call(2))
        took_ms, bare_ms, _trips = numbers(wall.measured)
        assert took_ms >= SLOW_MS > bare_ms
        took_ms, read_ms, above_ms = numbers(cpu.measured)
        assert took_ms >= above_ms > SLOW_MS / 2 > read_ms
        assert received.value > 0
        assert (wall.holds, cpu.holds) == (False, False)

    def test_a_lost_bar_stops_it(self, monkeypatch):
        monkeypatch.setattr(TvDatafeed, "get_hist", cut(TvDatafeed.get_hist))
        with pytest.raises(SystemExit, match="59 of 60 bars"):
            list(store.warm_call(2))


class TestContention:
    @pytest.fixture
    def taken(self, monkeypatch):
        """Outcomes without processes; the seconds that each way took."""
        taken = []

        def outcome_of(_place, seconds, _processes, way, page):
            taken.append((way, page, seconds))
            rate, lost = {"frames": (300.0, 0), "feed": (300.0, 2), "rows": (100.0, 0)}[way]
            return Outcome(written=1, rate=rate, errors=0, lost=lost, slowest_s=0.0)

        monkeypatch.setattr(storeservers, "outcome_of", outcome_of)
        monkeypatch.setattr(storeservers, "has_server", lambda: False)
        return taken

    def test_only_the_case_of_the_target_takes_a_minute(self, taken):
        list(storeservers.contention(60.0))
        assert taken == [
            ("frames", 1000, 60.0),
            ("rows", 1000, storeservers.ROWS_S),
            ("feed", 1, storeservers.SHORT_S),
            ("rows", 1, storeservers.SHORT_S),
        ]

    @pytest.mark.usefixtures("taken")
    def test_lost_bars_do_not_hold_and_rows_are_the_measure(self):
        faults, rate, feed_faults, feed_rate, postgres = listed(storeservers.contention(60.0))
        assert (faults.holds, feed_faults.holds) == (True, False)
        assert feed_faults.value == 2
        assert rate.value == feed_rate.value == 3.0
        assert (rate.holds, feed_rate.holds, postgres.holds) == (True, None, None)


@pytest.mark.slow
class TestPosting:
    def test_a_slower_delivery_shows_and_the_bare_posts_stay(self, monkeypatch, clock):
        monkeypatch.setattr(Webhook, "flush", clock.slowed(Webhook.flush, SLOW_S))
        single, batches = listed(delivery.posting(1))
        for figure in (single, batches):
            assert figure.value <= 8000 / SLOW_S
            assert figure.holds is False
            bare_a_s = numbers(figure.measured)[1]
            assert bare_a_s > figure.value

    def test_a_lost_message_stops_it(self, monkeypatch):
        def fill(outbox, url, series, count):
            delivery_fill(outbox, url, series, count - 1)

        delivery_fill = delivery.fill
        monkeypatch.setattr(delivery, "fill", fill)
        with pytest.raises(SystemExit, match="792 requests came"):
            list(delivery.posting(1))


class TestEnqueueing:
    def test_a_slower_hook_shows_and_the_bare_insert_stays(self, monkeypatch, clock):
        monkeypatch.setattr(Webhook, "__call__", clock.slowed(Webhook.__call__, SLOW_S))
        one, threads = listed(delivery.enqueueing(1))
        took_ms, bare_ms, _ratio = numbers(one.measured)
        assert took_ms >= SLOW_MS > bare_ms
        # Threads that skip at the same moment skip once.
        assert threads.value <= delivery.THREADS / SLOW_S
        assert (one.holds, threads.holds) == (False, False)

    def test_a_lost_bar_stops_it(self, monkeypatch):
        call = Webhook.__call__

        def forget(self, seis, data):
            if data.index[0].minute % 10:
                call(self, seis, data)

        monkeypatch.setattr(Webhook, "__call__", forget)
        with pytest.raises(SystemExit, match="messages wait"):
            list(delivery.enqueueing(1))
