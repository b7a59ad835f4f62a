"""An hour of the bot in ``examples/service``: is each bar handled once, and is its health right?

``python -m tests.soak.service_hour [--minutes 1] [--speed 60] [--warm-up-s S]``: the bot runs as a
program, with the defaults of the library, against a loopback market that is SPEED times as fast
as time. Meanwhile the server is stopped and started again three times, and the bot is ended twice:
once by SIGTERM, once by SIGKILL. A program that has ended is started again, as systemd would do.

Checked are, with exit code 0 when all is right:

- what the bot has recorded, against the market's own bars: all of them, once, in order, equal;
- ``/health`` each second: 200 from the first answer of a bot on while the server is there, except
  in the first seconds (`BACK_S`) after its restart; another status or no answer when the server has
  been away for half a second (`LOST_S`). A bot answers first within `START_S` seconds;
- the resident set of each life of the bot after its warm-up: it grows by at most 5 MB.
"""

import argparse
import contextlib
import math
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.loopback import NOW
from tests.programs import ROOT, environment
from tests.scale import scaled
from tvDatafeed.testing import FakeTradingView, MarketClock

SYMBOL = "BITSTAMP:BTCUSD"
BOT = ROOT / "examples" / "service" / "bot.py"
# When what happens, as shares of the time.
PLAN = (
    (0.17, "restart of the server"),
    (0.33, "SIGTERM"),
    (0.50, "restart of the server"),
    (0.67, "SIGKILL"),
    (0.83, "restart of the server"),
)
# How long the server is away.
AWAY_S = 3.0
# Within these times both answers are right. A lost connection is noticed at once; the feed waits
# at most two seconds before it tries again, and asks for what it has missed.
LOST_S, BACK_S = scaled(0.5), scaled(4.0)
# A Python program with pandas, and a connection; it serves its health from then on.
START_S = scaled(20.0)
GROWTH_MB = 5.0
_WAIT_S = scaled(30.0)


@dataclass
class Life:
    """One process of the bot."""

    started: float
    process: "subprocess.Popen[bytes]"
    ended: float | None = None
    # When it answered first.
    answered: float = math.inf
    how: str = "by itself"
    # Megabytes, and when.
    resident: list[tuple[float, float]] = field(default_factory=list)

    def growth_mb(self, warm_up_s: float) -> float | None:
        """The largest resident set less the first one, after the warm-up."""
        warm = [mb for when, mb in self.resident if when - self.started >= warm_up_s]
        return max(warm) - warm[0] if len(warm) > 1 else None


class Hour:
    """One run."""

    def __init__(
        self,
        folder: Path,
        seconds: float,
        speed: float,
        away_s: float = AWAY_S,
        bot: Path = BOT,
        *,
        settle_s: float = _WAIT_S,
    ) -> None:
        self.folder = folder
        self.seconds = seconds
        self.away_s = away_s
        self.bot = bot
        self.settle_s = settle_s
        self.clock = MarketClock(NOW, speed=speed)
        self.lives: list[Life] = []
        self.wrong: list[str] = []
        # When the server was started (True) or stopped.
        self.changes: list[tuple[float, bool]] = []
        # The times of request and answer, and the status; 0 for no answer.
        self.health: list[tuple[float, float, int]] = []
        self.bars = 0
        self.port = unused_port()
        self._has_ended = threading.Event()

    def run(self) -> None:
        """Run until the time is over, and check."""
        server = FakeTradingView(clock=self.clock, tick_interval_s=0.05)
        watch = threading.Thread(target=self._watch)
        with server, (self.folder / "log").open("ab") as log:
            self._note(is_up=True)
            self._start(server, log)
            watch.start()
            begun = time.monotonic()
            try:
                for share, what in (*PLAN, (1.0, "end")):
                    self._keep(server, log, begun + share * self.seconds)
                    print(f"{time.monotonic() - begun:6.1f} s  {what}", flush=True)
                    if what == "restart of the server":
                        self._note(is_up=False)
                        server.stop()
                        self._keep(server, log, time.monotonic() + self.away_s)
                        server.start()
                        self._note(is_up=True)
                    elif what != "end":
                        self._end(getattr(signal, what), what)
                self._settle(server, log)
            finally:
                self._has_ended.set()
                watch.join()
                self._end(signal.SIGTERM, "SIGTERM")
            self._check_bars(server)
        self._check_health()

    def _note(self, *, is_up: bool) -> None:
        self.changes.append((time.monotonic(), is_up))

    def _start(self, server: FakeTradingView, log: object) -> None:
        self.lives.append(
            Life(
                time.monotonic(),
                subprocess.Popen(
                    [
                        *(sys.executable, str(self.bot), SYMBOL, "--state", str(self.folder)),
                        *("--port", str(self.port)),
                    ],
                    stdout=log,  # type: ignore[arg-type]  # a file
                    stderr=subprocess.STDOUT,
                    env=environment(server),
                ),
            )
        )

    def _keep(self, server: FakeTradingView, log: object, until: float) -> None:
        """Start the bot again when it has ended, as a service manager does."""
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            life = self.lives[-1]
            if life.process.poll() is not None:
                life.ended = life.ended or time.monotonic()
                # One that cannot start while the server is away is started again.
                if life.how == "by itself" and life.answered < math.inf:
                    self.wrong.append(f"the bot ended by itself: {life.process.returncode}")
                self._start(server, log)

    def _end(self, number: int, how: str) -> None:
        life = self.lives[-1]
        life.how, life.ended = how, time.monotonic()
        life.process.send_signal(number)
        code = life.process.wait(_WAIT_S)
        # Before its first answer it may be too young to notice SIGTERM.
        if code not in {0, -signal.SIGKILL} and life.answered < math.inf:
            self.wrong.append(f"exit code {code} after {how}")

    def _watch(self) -> None:
        """Ask for the health, and for the memory, each second."""
        url = f"http://127.0.0.1:{self.port}/health"
        while not self._has_ended.wait(1.0):
            now = time.monotonic()
            life = self.lives[-1]
            status = status_of(url)
            self.health.append((now, time.monotonic(), status))
            if status:
                life.answered = min(life.answered, now)
            resident = resident_mb(life.process.pid)
            if resident is not None and life.ended is None:
                life.resident.append((now, resident))

    def _settle(self, server: FakeTradingView, log: object) -> None:
        """Stop the market between two bars, and wait until all are recorded."""
        self.clock.speed = 0
        self.clock.set(self.clock() // 60 * 60 + 90)
        last = self.clock() // 60 * 60 - 60
        until = time.monotonic() + self.settle_s
        while time.monotonic() < until and not self._has_recorded(last):
            self._keep(server, log, time.monotonic() + 0.2)

    def _has_recorded(self, time_s: float) -> bool:
        recorded = self._recorded()
        return bool(recorded) and recorded[-1][0] >= time_s

    def _recorded(self) -> list[tuple[float, float]]:
        with contextlib.closing(sqlite3.connect(self.folder / "bars.db")) as book:
            return book.execute("SELECT time, close FROM bar ORDER BY rowid").fetchall()

    def _check_bars(self, server: FakeTradingView) -> None:
        recorded = self._recorded()
        now = self.clock()
        count = int((now - recorded[0][0]) / 60) + 2
        market = server.market.bars(SYMBOL, "1", count, now)[:-1]
        expected = [(bar.time, bar.close) for bar in market if bar.time >= recorded[0][0]]
        self.bars = len(expected)
        if recorded != expected:
            ours, theirs = dict(recorded), dict(expected)
            self.wrong += [
                f"{len(theirs.keys() - ours.keys())} bars lost: {sorted(theirs - ours.keys())[:5]}",
                f"{len(recorded) - len(ours)} bars twice",
                f"{sum(ours[t] != theirs[t] for t in ours.keys() & theirs)} closes differ",
            ]
        lines = (self.folder / "log").read_text().splitlines()
        handled = [line for line in lines if f" {SYMBOL} " in line and line[:2] == "20"]
        if len(handled) != len(set(handled)):
            self.wrong.append(f"{len(handled) - len(set(handled))} bars were handled twice")

    def _check_health(self) -> None:
        for when, status, is_good in self.judged():
            if (status == 200) != is_good:
                since = when - self.lives[0].started
                self.wrong.append(
                    f"/health was {status} after {since:.1f} s, and not {200 if is_good else 503}"
                )

    def judged(self) -> list[tuple[float, int, bool]]:
        """Return when, the status, and whether it must be good, where one answer is right."""
        return [
            (asked, status, must)
            for asked, answered, status in self.health
            if (must := self._must_be_good(asked)) is not None
            and must == self._must_be_good(answered)
        ]

    def slowest_s(self) -> float:
        """Return the longest time from the start of server or bot to the first 200."""
        starts = [when for when, is_up in self.changes if is_up]
        starts += [life.started for life in self.lives]
        good = [when for when, _answered, status in self.health if status == 200]
        return max(min((g for g in good if g > when), default=math.inf) - when for when in starts)

    def _must_be_good(self, when: float) -> bool | None:
        """Whether the health must be good at a moment; None while both are right."""
        changed, is_up = [change for change in self.changes if change[0] <= when][-1]
        if not is_up:
            return False if when - changed >= LOST_S else None
        life = [life for life in self.lives if life.started <= when][-1]
        if when - changed < BACK_S or (life.ended is not None and when >= life.ended):
            return None
        return True if when >= min(life.answered, life.started + START_S) else None


def unused_port() -> int:
    """Return a port that is free, and that the system gives to no program that asks for any."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def status_of(url: str) -> int:
    """Return the status of an answer; 0 when there is none."""
    try:
        with urllib.request.urlopen(url, timeout=1.0) as answer:  # noqa: S310 - ours
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def resident_mb(pid: int) -> float | None:
    """Return how much memory a process has; None where the system does not say."""
    with contextlib.suppress(OSError, ValueError):
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return None


def hour(seconds: float, speed: float, warm_up_s: float) -> Iterator[str]:
    """Run, and yield what was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        run = Hour(Path(folder), seconds, speed)
        try:
            run.run()
        finally:
            log = (Path(folder) / "log").read_text()
    statuses = [status for _asked, _answered, status in run.health]
    print(
        f"{run.bars} bars; {len(run.lives)} lives of the bot; /health asked {len(statuses)} times: "
        f"{statuses.count(200)} times 200, {statuses.count(503)} times 503, {statuses.count(0)} "
        f"times no answer; {len(run.judged())} of them outside of transitions. The longest time "
        f"from a start to 200: {run.slowest_s():.1f} s, asked each second"
    )
    for number, life in enumerate(run.lives, 1):
        growth = life.growth_mb(warm_up_s)
        lasted = (life.ended or time.monotonic()) - life.started
        largest = max((mb for _when, mb in life.resident), default=0.0)
        shown = "not measured" if growth is None else f"{growth:+.1f} MB"
        print(
            f"life {number}: {lasted:.0f} s, ended {life.how}; resident set {largest:.0f} MB at "
            f"the most, {shown} after {warm_up_s:g} s"
        )
        if growth is not None and growth > GROWTH_MB:
            yield f"the resident set of life {number} grew by {growth:.1f} MB"
    yield from run.wrong
    if run.wrong:
        print("".join(f"    {line}\n" for line in log.splitlines() if line[:2] != "20"))


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="of real time")
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--warm-up-s", type=float, help="default: 60, or a sixth of the time")
    arguments = parser.parse_args()
    seconds = arguments.minutes * 60
    warm_up_s = arguments.warm_up_s or min(60.0, seconds / 6)
    wrong = list(hour(seconds, arguments.speed, warm_up_s))
    print("\n".join(wrong) or "nothing was wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
