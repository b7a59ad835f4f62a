"""Eight threads ask for bars while something breaks every second.

``python -m tests.soak [--seconds 120] [--seed N] [--threads 8]``: every frame is held to the
market's arithmetic, every call to its deadline, and at the end threads, descriptors and server
sessions are counted. The seed is printed; the exit code is 0 when nothing was wrong.
"""

import argparse
import collections
import gc
import random
import sys
import threading
import time

import pandas as pd

from tests.conftest import open_descriptors
from tests.loopback import NOW, expected
from tvDatafeed import Interval, TvDatafeed, TvDatafeedError
from tvDatafeed.testing import (
    BadHeader,
    BinaryFrame,
    CloseCode,
    ConnectSilence,
    CriticalErrorReply,
    Drip,
    EndlessFragments,
    FakeTradingView,
    Fault,
    FinMidFrame,
    ForeignSession,
    GiantHeader,
    GluedHeartbeat,
    HalfOpen,
    HandshakeDrip,
    HandshakeStall,
    HeartbeatFlood,
    HostileJson,
    InvalidUtf8,
    LateReply,
    LengthUnit,
    NeverRead,
    NoCompletion,
    ProtocolErrorReply,
    Refuse,
    RstMidFrame,
    SessionCap,
    SplitPackets,
    TruncatedJson,
    UnknownMessages,
    UpgradeStatus,
    WrongLength,
)

FAULTS: tuple[Fault, ...] = (
    BadHeader("~m~~m~", times=3),
    BinaryFrame(times=1),
    CloseCode(1001, times=2),
    CloseCode(1012, times=1),
    ConnectSilence(times=1),
    CriticalErrorReply(times=2),
    Drip(bytes_per_s=300, times=1),
    EndlessFragments(size=100, times=1),
    FinMidFrame(times=3),
    ForeignSession(times=5),
    GiantHeader(times=1),
    GluedHeartbeat(times=5),
    HalfOpen(times=1),
    HandshakeDrip(bytes_per_s=50, times=1),
    HandshakeStall(times=1),
    HeartbeatFlood(per_s=5000, times=1),
    HostileJson("deep", times=2),
    HostileJson("nan", times=2),
    InvalidUtf8(times=1),
    LateReply(delay_s=0.7, times=5),
    LengthUnit("bytes", times=5),
    NeverRead(times=1),
    NoCompletion(times=2),
    ProtocolErrorReply(reason="something new", times=1),
    Refuse("rst", times=2),
    RstMidFrame(times=3),
    SessionCap(limit=2, times=2),
    SplitPackets(size=50, times=5),
    TruncatedJson(times=2),
    UnknownMessages(times=5),
    UpgradeStatus(503, times=1),
    UpgradeStatus(429, times=1),
    WrongLength(delta=2, times=1),
)
INTERVALS = (Interval.in_1_minute, Interval.in_1_hour, Interval.in_daily, Interval.in_weekly)
RESPONSE_TIME_S = 15.0
# What a call may take beyond its deadline on a busy machine.
GRACE_S = 3.0


class Chaos:
    """One run: what was asked, what came, and what went wrong."""

    def __init__(self, seed: int, seconds: float, threads: int) -> None:
        self.random = random.Random(seed)
        self.until = time.monotonic() + seconds
        self.threads = threads
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def run(self) -> dict[str, object]:
        """Run until the time is over; gives the client's own statistics."""
        with FakeTradingView(clock=lambda: NOW, heartbeat_interval_s=0.5) as server:
            config = server.config(
                base_retry_delay=0.05,
                max_retry_delay=0.5,
                max_retries=50,
                max_response_time=RESPONSE_TIME_S,
                recv_timeout=3,
                connect_timeout=1,
                send_timeout=1,
                silence_timeout=1.5,
                ping_timeout=0.5,
                failure_threshold=1000,
                requests_per_minute=60_000,
                burst_size=1000,
                max_sessions=5,
            )
            with TvDatafeed(verbose=False, config=config) as tv:
                askers = [
                    threading.Thread(target=self._ask, args=(server, tv, self.random.random()))
                    for _ in range(self.threads)
                ]
                for asker in askers:
                    asker.start()
                self._break_things(server)
                for asker in askers:
                    asker.join(RESPONSE_TIME_S + GRACE_S)
                    if asker.is_alive():
                        self.wrong.append("a thread hangs")
                server.clear_faults()
                stats = tv.stats()
                if stats["open_sessions"]:
                    self.wrong.append(f"requests left: {stats['open_sessions']}")
                # A frozen server does not notice that its clients leave.
                froze = self.counts["fault HalfOpen"] + self.counts["fault NeverRead"]
                if not froze and not server.wait_until(lambda s: not s.open_sessions, 10):
                    self.wrong.append(f"sessions left: {server.open_sessions}")
                return stats

    def _break_things(self, server: FakeTradingView) -> None:
        pause = threading.Event()
        while time.monotonic() < self.until:
            fault = self.random.choice(FAULTS)
            self.counts[f"fault {type(fault).__name__}"] += 1
            server.inject(fault)
            if self.random.random() < 0.1:
                self.counts["fault restart"] += 1
                server.stop()
                server.start()
            pause.wait(1.0)

    def _ask(self, server: FakeTradingView, tv: TvDatafeed, seed: float) -> None:
        choose = random.Random(seed)
        symbols = [s for s in server.market.symbols if s != "NSE:NIFTY1!"]
        while time.monotonic() < self.until:
            symbol, interval = choose.choice(symbols), choose.choice(INTERVALS)
            count = choose.choice((1, 10, 300, 2000))
            started = time.monotonic()
            try:
                frame = tv.get_hist(symbol, interval=interval, n_bars=count, timezone="UTC")
            except TvDatafeedError as error:
                self._note(f"error {type(error).__name__}")
            except BaseException as error:  # noqa: BLE001 - whatever else comes is a defect
                self._wrong(f"{symbol}: {error!r}")
            else:
                self._note("frames")
                try:
                    wanted = expected(server, symbol, interval, count)
                    pd.testing.assert_frame_equal(frame, wanted)
                except AssertionError as difference:
                    self._wrong(f"{symbol} {interval} {count}: {difference}")
            if time.monotonic() - started > RESPONSE_TIME_S + GRACE_S:
                self._wrong(f"{symbol}: {time.monotonic() - started:.1f} s")

    def _note(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def _wrong(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--threads", type=int, default=8)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.seconds:g} s, {arguments.threads} threads")
    threads, descriptors = threading.active_count(), open_descriptors()
    chaos = Chaos(arguments.seed, arguments.seconds, arguments.threads)
    stats = chaos.run()
    gc.collect()
    if threading.active_count() > threads:
        chaos.wrong.append(f"threads left: {[t.name for t in threading.enumerate()]}")
    if open_descriptors() > descriptors:
        chaos.wrong.append(f"descriptors left: {open_descriptors() - descriptors}")
    for name, count in sorted(chaos.counts.items()):
        print(f"{count:8} {name}")
    print(f"client: {stats}")
    print(f"wrong: {len(chaos.wrong)}")
    for what in chaos.wrong[:20]:
        print(what)
    return 1 if chaos.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
