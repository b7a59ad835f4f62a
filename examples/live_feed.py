"""Follow a symbol, and print each bar as it closes; Ctrl-C ends it.

python examples/live_feed.py [EXCHANGE:SYMBOL [SECONDS]] [--real]
"""

import datetime as dt
import sys

import pandas as pd
from service import hurried_service, parser

from tvDatafeed import Consumer, Interval, NetworkError, Seis, TvDatafeedLive


def on_bar(seis: Seis, bar: pd.DataFrame) -> None:
    """Show a bar that has closed: a DataFrame of one row, this function's own."""
    row = bar.iloc[0]
    print(f"{seis.symbol}: {bar.index[0]} closed at {row['close']}, volume {row['volume']:.2f}")


def on_error(who: Seis | Consumer, error: BaseException) -> None:
    """Print the error of one symbol or one callback; the others continue."""
    print(f"{who}: {error}", file=sys.stderr)


def on_gap(seis: Seis, start: dt.datetime, end: dt.datetime) -> None:
    """Print which bars are lost, such as those of a day without a network."""
    print(f"{seis.symbol}: nothing between {start} and {end}", file=sys.stderr)


def main() -> int:
    """Follow until Ctrl-C, or for some seconds; 1 when TradingView cannot be reached."""
    reader = parser(__doc__)
    reader.add_argument("symbol", nargs="?", default="BINANCE:BTCUSDT")
    reader.add_argument("seconds", nargs="?", type=float)
    arguments = reader.parse_args()
    with (
        hurried_service(arguments) as config,
        TvDatafeedLive(config=config, timezone="UTC", on_error=on_error, on_gap=on_gap) as tvl,
    ):
        try:
            seis = tvl.new_seis(arguments.symbol, "", Interval.in_1_minute)
        except ValueError as error:
            print(f"{arguments.symbol}: {error}", file=sys.stderr)
            return 1
        except NetworkError as error:
            print(f"TradingView cannot be reached: {error}", file=sys.stderr)
            return 1
        # It begins with the bar that closed last.
        seis.new_consumer(on_bar)
        try:
            tvl.wait(arguments.seconds)
        except KeyboardInterrupt:
            print("The feed is closed.")
        for status in tvl.status():
            print(f"{status.seis!r}: {status.state}, {status.delivered} bars")
    return 0


if __name__ == "__main__":
    sys.exit(main())
