"""A bot that trades on paper: it buys when a fast average crosses a slow one, and sells when back.

It warms up from history, takes each closed bar once, continues across reconnections, fetches the
bars of a gap, and stops cleanly at Ctrl-C, at SIGTERM, or after some bars. No order leaves it.

    python examples/trading_bot.py [EXCHANGE:SYMBOL] [--bars N] [--real]
"""

import datetime as dt
import signal
import sys
import threading
from dataclasses import dataclass, field

import pandas as pd
from service import hurried_service, parser

from tvDatafeed import Interval, NetworkError, Seis, TvDatafeedConfig, TvDatafeedLive

FAST, SLOW = 5, 20
CASH = 10_000.0


@dataclass
class Book:
    """The orders of one run, all of them on paper."""

    cash: float = CASH
    units: float = 0.0
    trades: list[str] = field(default_factory=list)

    def buy(self, when: pd.Timestamp, price: float) -> None:
        """Spend all the cash."""
        self.units, self.cash = self.cash / price, 0.0
        self._note(f"{when}  buy  {self.units:.6f} at {price}")

    def sell(self, when: pd.Timestamp, price: float) -> None:
        """Sell all there is."""
        self.cash, self.units = self.units * price, 0.0
        self._note(f"{when}  sell at {price}, cash {self.cash:.2f}")

    def worth(self, price: float) -> float:
        """Value cash and units together."""
        return self.cash + self.units * price

    def _note(self, trade: str) -> None:
        self.trades.append(trade)
        print(trade)


class Bot:
    """The strategy. Its callback runs in one thread, one bar after the other."""

    def __init__(self, bars_until_stop: int | None) -> None:
        self.book = Book()
        self.closes = pd.Series(dtype=float)
        self.done = threading.Event()
        self._bars_left = bars_until_stop
        self._has_gap = False
        self.error: BaseException | None = None

    def on_error(self, who: object, error: BaseException) -> None:
        """Stop: a bot with a bug should not trade on."""
        print(f"{who}: {error!r}", file=sys.stderr)
        self.error = error
        self.done.set()

    def on_bar(self, seis: Seis, bar: pd.DataFrame) -> None:
        """Process a closed bar, and trade if the averages have crossed."""
        missing = self._missing(seis, bar)
        for when, close in pd.concat([*missing, bar["close"]]).items():
            self._take(when, close)
        if self._bars_left is not None:
            self._bars_left -= 1
            if self._bars_left <= 0:
                self.done.set()

    def _missing(self, seis: Seis, bar: pd.DataFrame) -> list[pd.Series]:
        """Fetch what is needed before this bar: the past at first, then what a gap left out."""
        if len(self.closes) >= SLOW and not self._has_gap:
            return []
        self._has_gap = False
        past = seis.get_hist(n_bars=SLOW * 2)["close"]
        newer = past.index > self.closes.index[-1] if len(self.closes) else slice(None)
        past = past[newer]
        return [past[past.index < bar.index[0]]]

    def on_gap(self, seis: Seis, start: dt.datetime, end: dt.datetime) -> None:
        """Bars were missed: the averages must not join what lies around them."""
        print(f"{seis.symbol}: bars between {start} and {end} were missed", file=sys.stderr)
        self._has_gap = True

    def _take(self, when: pd.Timestamp, close: float) -> None:
        self.closes.loc[when] = close
        self.closes = self.closes.iloc[-SLOW:].copy()
        if len(self.closes) < SLOW:
            return
        is_up = self.closes.iloc[-FAST:].mean() > self.closes.mean()
        if is_up and not self.book.units:
            self.book.buy(when, close)
        elif not is_up and self.book.units:
            self.book.sell(when, close)


def on_reconnect(start: dt.datetime, end: dt.datetime) -> None:
    """Print that the feed is back; missed bars arrive by themselves."""
    print(f"back after {(end - start).total_seconds():.1f} s")


def trade(config: TvDatafeedConfig, symbol: str, bars: int | None) -> int:
    """Trade until something says stop; 1 when it cannot begin."""
    bot = Bot(bars)
    hooks = {"on_error": bot.on_error, "on_gap": bot.on_gap, "on_reconnect": on_reconnect}
    # Leaving the block closes the feed, whatever the reason: the end, Ctrl-C, SIGTERM, a bug.
    # In UTC each bar is later than the one before it; local time is set back once a year.
    with TvDatafeedLive(config=config, timezone="UTC", **hooks) as tvl:
        try:
            tvl.subscribe(symbol, "", Interval.in_1_minute, bot.on_bar)
        except ValueError as error:
            print(f"{symbol}: {error}", file=sys.stderr)
            return 1
        except NetworkError as error:
            print(f"TradingView cannot be reached: {error}", file=sys.stderr)
            return 1
        try:
            bot.done.wait()
        except KeyboardInterrupt:
            print("stopped")
    worth = bot.book.worth(bot.closes.iloc[-1]) if len(bot.closes) else CASH
    print(f"{len(bot.book.trades)} trades on paper, {CASH:.2f} became {worth:.2f}")
    return 1 if bot.error else 0


def main() -> int:
    """Read the command line, and trade."""
    reader = parser(__doc__)
    reader.add_argument("symbol", nargs="?", default="BINANCE:BTCUSDT")
    reader.add_argument("--bars", type=int, help="stop after this number of bars; default: never")
    arguments = reader.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # a log file shows each line when it happens
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with hurried_service(arguments) as config:
        return trade(config, arguments.symbol, arguments.bars)


if __name__ == "__main__":
    sys.exit(main())
