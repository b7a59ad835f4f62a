"""Read the closed bars that shared_feed_publisher.py publishes; Ctrl-C ends it.

Set TV_REDIS_URL.

python examples/delivery/shared_feed_reader.py [EXCHANGE:SYMBOL ...] [--group NAME] [--seconds N]
"""

import argparse
import datetime as dt
import sys

import pandas as pd

from tvDatafeed import Interval, TvDatafeedError
from tvDatafeed.delivery import RedisFeed, RedisSeis


def on_bar(seis: RedisSeis, bar: pd.DataFrame) -> None:
    """Show a bar: the same DataFrame of one row as a live feed has."""
    print(f"{seis.exchange}:{seis.symbol} {bar.index[0]} {bar['close'].iloc[0]}", flush=True)


def on_gap(seis: RedisSeis, start: dt.datetime, end: dt.datetime) -> None:
    """Show which bars were removed from the stream before they were read."""
    print(f"{seis.symbol}: nothing between {start} and {end}", file=sys.stderr)


def main() -> int:
    """Read until Ctrl-C, or for some seconds; 2 for a setting that is wrong."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("symbols", nargs="*", default=["BINANCE:BTCUSDT"])
    reader.add_argument("--group", help="share the bars with the other readers of this group")
    reader.add_argument("--seconds", type=float)
    arguments = reader.parse_args()
    # A group continues where it left off; another reader begins with the first bar of the stream.
    start = None if arguments.group else "first"
    try:
        with RedisFeed(group=arguments.group, on_gap=on_gap) as feed:
            for symbol in arguments.symbols:
                feed.subscribe(symbol, "", Interval.in_1_minute, on_bar, start=start)
            feed.wait(arguments.seconds)
    except TvDatafeedError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("The feed is closed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
