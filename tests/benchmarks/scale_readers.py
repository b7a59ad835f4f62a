"""R1: one shared feed, and ever more processes that read it, over Redis on loopback.

``python -m tests.benchmarks.scale_readers`` prints the figures. One process follows the series of
the loopback TradingView and publishes their bars; each reader is a process of its own that is
subscribed to all of them. Beside it the same work with the package redis alone: XADD and XREAD.

The programs (``serve``, ``publish`` and ``read``; ``send`` and ``take`` without the library) obey
lines on their stdin and answer with a line of JSON. All processes of a machine share the monotonic
clock.
"""

import dataclasses
import functools
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

from tests.benchmarks.live_server import SYMBOLS
from tests.benchmarks.measure import Figure, line_through
from tests.benchmarks.programs import Program
from tests.benchmarks.server import NOW
from tests.delivery.redisserver import NO_SERVER, RedisServer, has_server
from tvDatafeed import Interval, TvDatafeedConfig, TvDatafeedLive
from tvDatafeed.config import NetworkConfig
from tvDatafeed.delivery import RedisFeed, RedisPublisher
from tvDatafeed.testing import FakeTradingView, Market

_program = functools.partial(Program, "scale_readers")

COUNTS = (1, 2, 5, 10)
SERIES = 100
# Of the publisher's cost with the fewest readers, that with the most of them.
R1_GROWTH = 1.25
MIN_FIT = 0.95
# How long a reader waits for the bars of one round.
PATIENCE_S = 20.0
_PAUSE_S = 0.005
# A live feed asks the server again for a bar that closes after ten silent seconds.
_TICK_S = 2.0
_PREFIXES = {"feed": "tvdatafeed", "bare": "bare"}
# As long as those of a published bar.
_FIELDS = {
    "symbol": "NASDAQ:C0000",
    "interval": "1",
    "time": "2026-08-14T22:00:00Z",
    "close_time": "2026-08-14T22:01:00Z",
    "open": "1.5",
    "high": "2.5",
    "low": "1.0",
    "close": "2.0",
    "volume": "3.0",
    "revision": "0",
    "previous": "1786744800000-0",
}


def shared_readers(
    counts: Sequence[int] = COUNTS,
    *,
    series: int = SERIES,
    instants: int = 10,
    singles: int = 100,
    faults: Mapping[int, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> Iterator[Figure]:
    """R1: what a reader more costs.

    Parameters
    ----------
    counts
        Numbers of readers, ascending.
    series
        How many series each of them follows.
    instants, singles
        How often all series close a bar at one instant, and how often one of them does.
    faults
        What a reader of the feed does wrong, by its number: "slow SECONDS" before it notes a bar,
        "lose" or "repeat" one.
    patience_s
        How long a reader waits for the bars of one round.
    """
    if not has_server():
        yield Figure("R1", f"{counts[-1]} readers of a feed", NO_SERVER, "no bar lost", None)
        return
    with ExitStack() as held:
        redis = held.enter_context(closing(RedisServer()))
        feed = _Side("feed", series, redis.url, _program("serve", str(series)))
        held.callback(feed.stop)
        feed.publisher = _program("publish", redis.url, feed.source.answer(), str(series))
        bare = _Side("bare", series, redis.url, _program("send", redis.url, str(series)))
        held.callback(bare.stop)
        bare.publisher = bare.source
        for side in (feed, bare):
            side.publisher.answer()
        client = held.enter_context(_client_of(redis.url))
        rows: list[_Row] = []
        for count in counts:
            for side in (feed, bare):
                side.start_readers(count, client, faults or {}, patience_s)
            rows.append(_row(count, (feed, bare), client, (instants, singles)))
            yield from _figures_of(rows[-1], series)
        yield from _received(feed, client)
    yield from _growth(rows, series)


class _Block(NamedTuple):
    """Some rounds: how long until the last callback of each, and microseconds of CPU for a bar."""

    latencies_ms: list[float]
    publisher_us: float
    redis_us: float
    reader_us: float


@dataclasses.dataclass(frozen=True)
class _Row:
    """What was measured with a number of readers: the feed's, and the bare way's."""

    count: int
    at_once: tuple[_Block, _Block]
    singly: tuple[_Block, _Block]


@dataclasses.dataclass
class _Side:
    """One of the two ways: what closes bars, what publishes them, and its readers."""

    name: str
    series: int
    url: str
    source: Program
    publisher: Program = None  # type: ignore[assignment]
    readers: list[Program] = dataclasses.field(default_factory=list)
    # How many entries each stream had when a reader began.
    begins: list[list[int]] = dataclasses.field(default_factory=list)
    closed: int = 0
    ticked_s: float = 0.0

    def close(self, bars: int) -> float:
        """Close a bar of a number of series; return the moment."""
        if self.source is not self.publisher and time.monotonic() > self.ticked_s + _TICK_S:
            self.source.ask("tick")
            time.sleep(_PAUSE_S)
            self.ticked_s = time.monotonic()
        self.closed += bars
        moment: float = self.source.ask(f"close {bars}")
        return moment

    def start_readers(
        self, count: int, client: Any, faults: Mapping[int, str], patience_s: float
    ) -> None:
        """Start readers, up to a number of them."""
        lengths = [len(entries) for entries in self.entries(client)]
        program = "read" if self.name == "feed" else "take"
        new = []
        for number in range(len(self.readers), count):
            fault = faults.get(number, "") if self.name == "feed" else ""
            new.append(_program(program, self.url, str(self.series), str(patience_s), fault))
            self.begins.append(lengths)
        self.readers += new
        for reader in new:
            reader.answer()

    def entries(self, client: Any) -> list[list[int]]:
        """Return when the bars of each stream open, milliseconds, as the server has them."""
        pipeline = client.pipeline(transaction=False)
        for key in _keys(self.name, self.series):
            pipeline.xrange(key)
        return [[_time_ms(entry_id) for entry_id, _ in found] for found in pipeline.execute()]

    def stop(self) -> None:
        """End all programs."""
        for program in (*self.readers, self.publisher, self.source):
            if program is not None:
                program.close()


def _row(count: int, sides: tuple[_Side, _Side], client: Any, rounds: tuple[int, int]) -> _Row:
    # In turn, so that drift of the machine hits both alike.
    at_once = [_measured(side, client, side.series, rounds[0]) for side in sides]
    singly = [_measured(side, client, 1, rounds[1]) for side in sides]
    return _Row(count, (at_once[0], at_once[1]), (singly[0], singly[1]))


def _measured(side: _Side, client: Any, bars: int, rounds: int) -> _Block:
    """Close some bars at one instant, several times, and wait for all readers each time."""
    # Threads that were woken for the first time, and code that is warm from then on.
    _rounds(side, bars, 1 if bars > 1 else 10)
    before = _cpu(side, client)
    latencies = _rounds(side, bars, rounds)
    publisher, redis, readers = (
        (after_s - before_s) / (bars * rounds) * 1e6
        for before_s, after_s in zip(before, _cpu(side, client), strict=True)
    )
    return _Block(latencies, publisher, redis, readers / len(side.readers))


def _rounds(side: _Side, bars: int, rounds: int) -> list[float]:
    latencies = []
    for reader in side.readers:
        reader.send(f"rounds {rounds} {bars}")
    for _ in range(rounds):
        sent = side.close(bars)
        moments = [reader.answer() for reader in side.readers]
        if None not in moments:
            latencies.append((max(moments) - sent) * 1000)
        # The threads go to sleep again, as between real bars.
        time.sleep(_PAUSE_S)
    return latencies


def _cpu(side: _Side, client: Any) -> tuple[float, float, float]:
    """Return the CPU seconds of the publisher, of the Redis server, and of all readers."""
    info = client.info("cpu")
    return (
        side.publisher.ask("cpu"),
        info["used_cpu_user"] + info["used_cpu_sys"],
        sum(reader.ask("cpu") for reader in side.readers),
    )


def _figures_of(row: _Row, series: int) -> Iterator[Figure]:
    """Show what was measured with a number of readers."""
    work = f"{_readers(row.count)}, {series} bars at one instant"
    if not all(block.latencies_ms for block in (*row.at_once, *row.singly)):
        yield Figure("R1", work, "no round came whole to all readers", "no bar lost", holds=False)
        return
    ours, theirs = (statistics.median(block.latencies_ms) for block in row.at_once)
    measured = f"the last callback after {ours:.1f} ms"
    target = f"the package alone {theirs:.1f} ms: {ours / theirs:.1f} x"
    yield Figure("R1", work, measured, target, None, value=ours, unit="ms")
    (p50, p99), (bare_p50, bare_p99) = (_percentiles(b.latencies_ms) for b in row.singly)
    work = f"{_readers(row.count)}, one bar to all of them"
    measured = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    target = f"the package alone {bare_p50:.2f} ms, {bare_p99:.2f} ms"
    yield Figure("R1", work, measured, target, None, value=p50, unit="ms")
    for name, blocks in ((f"{series} bars at one instant", row.at_once), ("one bar", row.singly)):
        ours_us, theirs_us = (
            f"publisher {b.publisher_us:.0f}, Redis {b.redis_us:.0f}, a reader {b.reader_us:.0f}"
            for b in blocks
        )
        work = f"{_readers(row.count)}, {name}: CPU, us a bar"
        target = f"the package alone {theirs_us}"
        cost = blocks[0].reader_us
        yield Figure("R1", work, ours_us, target, None, value=cost, unit="us")


def _received(feed: _Side, client: Any) -> Iterator[Figure]:
    """Compare what each reader received with what the server has."""
    series, streams = feed.series, feed.entries(client)
    # Each series begins with the bar that closed last.
    unpublished = series + feed.closed - sum(map(len, streams))
    received = lost = repeated = 0
    for reader, begins in zip(feed.readers, feed.begins, strict=True):
        bars = reader.ask("report")
        for key, times, begin in zip(_keys(feed.name, series), streams, begins, strict=True):
            got, wanted = bars.get(key, []), times[begin:]
            received += len(got)
            lost += len(set(wanted) - set(got))
            repeated += len(got) - len(set(got))
            repeated += len(set(got) - set(wanted)) + (sorted(got) != got)
    work = f"{len(feed.readers)} readers x {series} series: all bars, once"
    measured = f"{received} received, {lost + unpublished} lost, {repeated} repeated"
    is_right = not (lost or repeated or unpublished)
    wrong = float(lost + repeated + abs(unpublished))
    yield Figure("R1", work, measured, "none lost, none repeated", is_right, value=wrong)


def _growth(rows: Sequence[_Row], series: int) -> Iterator[Figure]:
    """Show how costs grow with the number of readers."""
    counts = [row.count for row in rows]
    if len(counts) < 2 or not all(row.at_once[0].latencies_ms for row in rows):
        return
    span = f"{counts[0]} to {counts[-1]} readers"
    for name, index in ((f"{series} at one instant", 0), ("one bar", 1)):
        blocks = [(row.at_once, row.singly)[index] for row in rows]
        costs = [block[0].publisher_us for block in blocks]
        slope, _fit = line_through(counts, costs)
        growth = 1 + slope * (counts[-1] - counts[0]) / costs[0]
        yield Figure(
            "R1",
            f"{span}, {name}: the publisher",
            f"{slope:+.1f} us CPU a bar for a reader more",
            f"does not grow: {growth:.2f} x, at most {R1_GROWTH:g}",
            growth <= R1_GROWTH,
            value=growth,
            unit="x",
        )
        for part in ("redis", "reader"):
            ours, theirs = (
                [getattr(block[side], f"{part}_us") for block in blocks] for side in (0, 1)
            )
            slope, fit = line_through(counts, ours)
            bare_slope, _fit = line_through(counts, theirs)
            work = f"{span}, {name}: {'the Redis server' if part == 'redis' else 'a reader'}"
            measured = f"{slope:+.1f} us CPU a bar for one more, R² {fit:.3f}"
            holds = fit >= MIN_FIT if part == "redis" else None
            target = f"{'a straight line' if part == 'redis' else 'the same'}; {bare_slope:+.1f}"
            yield Figure("R1", work, measured, f"{target} alone", holds, value=slope, unit="us")
    lasts = [statistics.median(row.at_once[0].latencies_ms) for row in rows]
    slope, fit = line_through(counts, lasts)
    measured = f"{slope:+.1f} ms for one more, R² {fit:.3f}"
    work = f"{span}, {series} at one instant: the last callback"
    yield Figure("R1", work, measured, "a straight line", fit >= MIN_FIT, value=slope, unit="ms")


def _readers(count: int) -> str:
    return f"{count} reader{'s' * (count > 1)}"


def _percentiles(latencies: list[float]) -> tuple[float, float]:
    ordered = sorted(latencies)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


def _keys(side: str, series: int) -> list[str]:
    return [f"{_PREFIXES[side]}:bars:{symbol}:1" for symbol in SYMBOLS[:series]]


def _time_ms(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _client_of(url: str) -> Any:
    import redis  # noqa: PLC0415 - absent where there is no server

    return redis.Redis.from_url(url, protocol=2)


def _say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


class _Arrivals:
    """The bars that a reader received, and when."""

    def __init__(self, patience_s: str, fault: str) -> None:
        self._patience_s = float(patience_s)
        self._fault, _, value = fault.partition(" ")
        self._delay_s = float(value or 0.0)
        self._bars: list[tuple[float, str, int]] = []
        self._target = 1
        self._changed = threading.Condition()

    def note(self, key: str, time_ms: int) -> None:
        """Note a bar."""
        if self._delay_s:
            time.sleep(self._delay_s)
        bar = (time.monotonic(), key, time_ms)
        with self._changed:
            self._bars += {"lose": [], "repeat": [bar, bar]}.get(self._fault, [bar])
            self._fault = ""
            if len(self._bars) >= self._target:
                self._changed.notify_all()

    def serve(self) -> None:
        """Obey the lines on stdin."""
        _say("ready")
        for line in sys.stdin:
            word, *numbers = line.split()
            if word == "rounds":
                rounds, count = map(int, numbers)
                for _ in range(rounds):
                    _say(self.last_of(count))
            else:
                _say(time.process_time() if word == "cpu" else self._report())

    def last_of(self, count: int) -> float | None:
        """Wait for the next bars; return when the last of them came, or None after a time."""
        with self._changed:
            begin = self._target - 1
            self._target = begin + count
            came = self._changed.wait_for(lambda: len(self._bars) >= self._target, self._patience_s)
            last = max((moment for moment, *_ in self._bars[begin:]), default=None)
            # A lost or repeated bar does not count in the next round.
            self._target = len(self._bars) + 1
        return last if came else None

    def _report(self) -> dict[str, list[int]]:
        with self._changed:
            found: dict[str, list[int]] = {}
            for _moment, key, time_ms in self._bars:
                found.setdefault(key, []).append(time_ms)
            return found


def _read(url: str, series: str, patience_s: str, fault: str) -> None:
    """Read all series by the library."""
    arrivals = _Arrivals(patience_s, fault)

    def note(seis: Any, data: Any) -> None:
        key = f"{_PREFIXES['feed']}:bars:{seis.full_symbol}:{seis.interval.value}"
        arrivals.note(key, data.index[0].value // 10**6)

    with RedisFeed(url, timezone="UTC") as feed:
        for symbol in SYMBOLS[: int(series)]:
            feed.subscribe(symbol, "", Interval.in_1_minute, note)
        arrivals.serve()


def _take(url: str, series: str, patience_s: str, fault: str) -> None:
    """Read all series by the package alone."""
    arrivals = _Arrivals(patience_s, fault)
    client = _client_of(url)
    positions = {}
    for key in _keys("bare", int(series)):
        newest = client.xrevrange(key, count=1)
        positions[key] = newest[0][0] if newest else "0-0"

    def read() -> None:
        while True:
            for name, entries in client.xread(positions, count=100, block=1000) or ():
                key = name.decode()
                for entry_id, _fields in entries:
                    arrivals.note(key, _time_ms(entry_id))
                    positions[key] = entry_id

    threading.Thread(target=read, daemon=True).start()
    arrivals.serve()


def _serve(series: str) -> None:
    """Serve a TradingView on which bars close when a line says so."""
    bitcoin = Market().find("BITSTAMP:BTCUSD")
    assert bitcoin is not None
    coins = (dataclasses.replace(bitcoin, symbol=symbol) for symbol in SYMBOLS[: int(series)])
    with FakeTradingView(market=Market(tuple(coins)), clock=lambda: NOW) as server:
        _say(server.ws_url)
        opens: dict[str, float] = {}
        newest = ticks = NOW // 60 * 60
        for line in sys.stdin:
            word, *numbers = line.split()
            sessions = sorted(server.open_sessions)
            if word == "close":
                sessions = sessions[: int(numbers[0])]
                newest += 60
                opens.update(dict.fromkeys(sessions, newest))
            ticks += 1
            messages = [_update(one, opens.get(one, NOW // 60 * 60), ticks) for one in sessions]
            _say(time.monotonic())
            for message in messages:
                server.push(message)


def _update(session: str, opens: float, volume: float) -> str:
    """Write an update of the newest bar of a series."""
    row = {"i": 2, "v": [opens, 1.5, 2.5, 1.0, 2.0, volume]}
    timing = {"bar_close_time": int(opens) + 60}
    update = {"s": [row], "ns": {"d": "", "indexes": []}, "t": "s1", "lbs": timing}
    timeline = {"index": 2, "zoffset": 0, "changes": [opens], "marks": [], "index_diff": []}
    return json.dumps({"m": "timescale_update", "p": [session, {"sds_1": update}, timeline]})


def _publish(url: str, ws_url: str, series: str) -> None:
    """Follow all series, and publish their bars."""
    count = int(series)
    network = NetworkConfig(ws_url=ws_url, requests_per_minute=6000, burst_size=100)
    config = TvDatafeedConfig(network=network)
    arrivals = _Arrivals("60", "")
    with (
        RedisPublisher(url, prefix=_PREFIXES["feed"]) as publisher,
        TvDatafeedLive(verbose=False, config=config) as tvl,
    ):

        def publish(seis: Any, data: Any) -> None:
            publisher(seis, data)
            arrivals.note("", 0)

        def follow(part: list[str]) -> None:
            for symbol in part:
                tvl.subscribe(symbol, "", Interval.in_1_minute, publish)

        threads = [threading.Thread(target=follow, args=(SYMBOLS[:count][n::8],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # The bar of each series that closed last comes at once.
        if arrivals.last_of(count) is None:
            raise SystemExit("the bars did not come")
        publisher.flush()
        arrivals.serve()


def _send(url: str, series: str) -> None:
    """Publish bars by the package alone."""
    client, time_ms = _client_of(url), 1786744800000
    keys = _keys("bare", int(series))
    _say("ready")
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "cpu":
            _say(time.process_time())
            continue
        time_ms += 60000
        _say(time.monotonic())
        pipeline = client.pipeline(transaction=False)
        for key in keys[: int(numbers[0])]:
            pipeline.xadd(key, _FIELDS, f"{time_ms}-0", maxlen=100_000)
        pipeline.execute()


_PROGRAMS = {"serve": _serve, "publish": _publish, "read": _read, "take": _take, "send": _send}


def main() -> None:
    """Print the figures, or be one of the programs."""
    if len(sys.argv) > 1:
        _PROGRAMS[sys.argv[1]](*sys.argv[2:])
        return
    for figure in shared_readers():
        print(figure, flush=True)


if __name__ == "__main__":
    main()
