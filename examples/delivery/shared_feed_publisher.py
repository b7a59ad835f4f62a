"""Follow symbols, and publish their closed bars in Redis or Valkey; Ctrl-C ends it.

Set TV_REDIS_URL.

python examples/delivery/shared_feed_publisher.py [EXCHANGE:SYMBOL ...] [--seconds N]
"""

import argparse
import sys

from tvDatafeed import Consumer, Interval, Seis, TvDatafeedError, TvDatafeedLive
from tvDatafeed.delivery import RedisPublisher


def on_error(who: Seis | Consumer, error: BaseException) -> None:
    """Show the error of one symbol; the others continue."""
    print(f"{who}: {error}", file=sys.stderr)


def main() -> int:
    """Publish until Ctrl-C, or for some seconds; 1 for an error, 2 for a setting that is wrong."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("symbols", nargs="*", default=["BINANCE:BTCUSDT"])
    reader.add_argument("--seconds", type=float)
    arguments = reader.parse_args()
    try:
        publisher = RedisPublisher()
    except TvDatafeedError as error:
        print(error, file=sys.stderr)
        return 2
    # The feed is closed first, and the publisher then sends what waits.
    with publisher, TvDatafeedLive(on_error=on_error) as tvl:
        try:
            for symbol in arguments.symbols:
                tvl.subscribe(symbol, "", Interval.in_1_minute, publisher)
                print(f"{symbol} is published", flush=True)
            tvl.wait(arguments.seconds)
        except (TvDatafeedError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("The feed is closed.")
        print(publisher.stats())
    return 0


if __name__ == "__main__":
    sys.exit(main())
