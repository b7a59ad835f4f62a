"""Hours of a market in minutes, while something breaks every second: is every bar reported, once?

``python -m tests.soak.live [--seconds 600] [--seed N] [--seises 100] [--speed 60]``: the loopback
market runs faster than time. Some callbacks are slow, some raise, and a Seis that is
refused is listed again, as a bot would do. At the end each consumer's bars are compared with the
market's own: all of them, once, in order, except for those reported as missing. The seed is
printed; the exit code is 0 when nothing was wrong.
"""

import argparse
import array
import collections
import dataclasses
import gc
import math
import random
import sys
import threading
import time
from typing import Any

from tests.benchmarks.live import resident_kilobytes
from tests.conftest import open_descriptors
from tests.soak.__main__ import FAULTS
from tests.soak.remote import RemoteServer, coins, remote_server
from tvDatafeed import Interval, TvDatafeedError, TvDatafeedLive

PRICES = ("open", "high", "low", "close")
SETTLING_S = 60.0


class Told:
    """The bars that one consumer received."""

    def __init__(self, symbol: str, chance: random.Random, bars: int) -> None:
        self.symbol = symbol
        # Numbers one after the other, in memory that is allocated at the start, so that it does not
        # change the measurement.
        self._width = 1 + len(PRICES)
        self._cells = array.array("d", [0.0]) * (bars * self._width)
        self._count = 0
        self._chance = chance

    def __call__(self, _seis: object, data: Any) -> None:
        row = data.iloc[0]
        cells = (data.index[0].timestamp(), *(float(row[name]) for name in PRICES))
        self._cells[self._count : self._count + self._width] = array.array("d", cells)
        self._count += self._width
        luck = self._chance.random()
        if luck < 0.01:
            raise LookupError("a callback that raises now and then")
        if luck < 0.02:
            time.sleep(0.2)

    @property
    def rows(self) -> list[tuple[float, ...]]:
        """Each bar: when it opened, and its prices."""
        ends = range(self._width, self._count + 1, self._width)
        return [tuple(self._cells[end - self._width : end]) for end in ends]

    @property
    def last_s(self) -> float:
        """When the last one opened, epoch seconds; minus infinity before the first."""
        return self._cells[self._count - self._width] if self._count else -math.inf


class Soak:
    """One run."""

    def __init__(self, seed: int, seconds: float, seises: int, speed: float) -> None:
        self.random = random.Random(seed)
        self.seconds = seconds
        self.speed = speed
        self.symbols = [f"NASDAQ:C{number:04}" for number in range(seises)]
        self.market = coins(seises)
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        # One a minute of the market, and time to settle.
        bars = int((2 * SETTLING_S + seconds) * speed / 60)
        self.told = [Told(s, random.Random(self.random.random()), bars) for s in self.symbols]
        self.gaps: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
        self.resident: list[float] = []
        self.now = 0.0
        self._failed: collections.deque[str] = collections.deque()

    def run(self) -> dict[str, Any]:
        """Run until the time is over, and check; gives the client's own statistics."""
        with remote_server(len(self.symbols), self.speed) as server:
            config = server.config(
                base_retry_delay=0.05,
                max_retry_delay=0.5,
                max_response_time=10,
                recv_timeout=3,
                connect_timeout=1,
                send_timeout=1,
                silence_timeout=1.5,
                ping_timeout=0.5,
                failure_threshold=1000,
                requests_per_minute=60_000,
                burst_size=1000,
                max_sessions=25,
            )
            config = dataclasses.replace(
                config, data=dataclasses.replace(config.data, timezone="UTC")
            )
            threads, descriptors = threading.active_count(), open_descriptors()
            with TvDatafeedLive(
                verbose=False,
                config=config,
                on_error=self._on_error,
                on_gap=self._on_gap,
                on_reconnect=lambda *_: self._count("reconnected"),
                on_state=self._on_state,
            ) as tvl:
                for told in self.told:
                    tvl.subscribe(told.symbol, "", Interval.in_1_minute, told)
                self._break_things(server, tvl)
                server.call("clear_faults")
                self._settle(server, tvl)
                stats = tvl.stats()
                status = tvl.status()
            gc.collect()
            if threading.active_count() > threads:
                self.wrong.append(f"threads left: {[t.name for t in threading.enumerate()]}")
            if open_descriptors() > descriptors:
                self.wrong.append(f"descriptors left: {open_descriptors() - descriptors}")
        self.counts["delivered"] = sum(s.delivered for s in status)
        self.counts["dropped"] = sum(s.dropped for s in status)
        self.counts["corrections"] = sum(s.corrections for s in status)
        return stats

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    def _on_error(self, who: object, error: BaseException) -> None:
        del who
        self._count(f"error {type(error).__name__}")

    def _on_gap(self, seis: Any, start: Any, end: Any) -> None:
        self._count("gaps")
        self.gaps[seis.full_symbol].append((start.timestamp(), end.timestamp()))

    def _on_state(self, seis: Any, state: str) -> None:
        if state == "FAILED":
            self._failed.append(seis.full_symbol)

    def _break_things(self, server: RemoteServer, tvl: TvDatafeedLive) -> None:
        until = time.monotonic() + self.seconds
        pause, next_look = threading.Event(), 0.0
        while (now := time.monotonic()) < until:
            fault = self.random.choice(FAULTS)
            self._count(f"fault {type(fault).__name__}")
            server.call("inject", fault)
            luck = self.random.random()
            if luck < 0.05:
                self._count("fault restart")
                server.call("stop")
                server.call("start")
            elif luck < 0.15:
                self._count("fault drop")
                server.call("drop_connections", "rst")
            if now >= next_look:
                next_look = now + 30
                self.resident.append(resident_kilobytes() or 0.0)
            self._list_again(tvl)
            pause.wait(1.0)

    def _list_again(self, tvl: TvDatafeedLive) -> None:
        while self._failed:
            symbol = self._failed.popleft()
            try:
                tvl.new_seis(symbol, "", Interval.in_1_minute)
            except (TvDatafeedError, ValueError) as error:
                self.wrong.append(f"{symbol} could not be listed again: {error}")

    def _settle(self, server: RemoteServer, tvl: TvDatafeedLive) -> None:
        """Stop the market between two bars, and wait until all is reported."""
        self.now = server.call("stop the clock between two bars")
        last = self.now // 60 * 60 - 60
        until = time.monotonic() + SETTLING_S
        while time.monotonic() < until:
            self._list_again(tvl)
            if all(told.last_s >= last for told in self.told):
                return
            time.sleep(0.2)
        late = [told.symbol for told in self.told if told.last_s < last]
        self.wrong.append(f"{len(late)} did not come to the end: {late[:5]} {tvl.status()[:3]}")

    def check(self) -> None:
        """Compare the reported bars with the market's own bars."""
        now = self.now
        for told in self.told:
            rows = told.rows
            times = [row[0] for row in rows]
            if times != sorted(set(times)):
                self.wrong.append(f"{told.symbol}: twice, or out of order")
                continue
            count = int((now - times[0]) / 60) + 2
            bars = self.market.bars(told.symbol, "1", count, now)
            ours = {row[0]: row[1:] for row in rows}
            for bar in bars:
                if not times[0] <= bar.time <= times[-1]:
                    continue
                self._count("generated")
                row = ours.get(float(bar.time))
                if row is None:
                    is_known = any(a <= bar.time <= b for a, b in self.gaps[told.symbol])
                    if not is_known:
                        self.wrong.append(f"{told.symbol}: {bar.time} was never told")
                elif row != bar[1:5]:
                    self._count("told with other values")


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.live", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--seises", type=int, default=100)
    parser.add_argument("--speed", type=float, default=60)
    arguments = parser.parse_args()
    print(
        f"seed {arguments.seed}, {arguments.seconds:g} s, {arguments.seises} Seis, "
        f"market x {arguments.speed:g}",
        flush=True,
    )
    soak = Soak(arguments.seed, arguments.seconds, arguments.seises, arguments.speed)
    stats = soak.run()
    soak.check()
    for name, count in sorted(soak.counts.items()):
        print(f"{count:8} {name}")
    print(f"client: {stats}")
    print(f"resident, MB, every 30 s: {[round(kb / 1024) for kb in soak.resident]}")
    print(f"wrong: {len(soak.wrong)}")
    for what in soak.wrong[:20]:
        print(what)
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
