"""Programs that share a feed: ``python -m tests.delivery.redisprogram publish|read ...``.

``publish URL PREFIX COUNT MAXLEN PAUSE_S`` publishes bars of two series, and prints "done".
``read URL PREFIX GROUP`` prints "ready", then a line for each bar and each gap.
"""

import sys
import time

from tests.delivery.hooks import OPENED_S, bar
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import RedisFeed, RedisPublisher

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def publish(url, prefix, count, maxlen, pause_s):
    """Publish."""
    with RedisPublisher(url, prefix=prefix, maxlen=int(maxlen)) as publisher:
        for number in range(int(count)):
            for symbol in SYMBOLS:
                publisher(Seis(symbol, "BINANCE", Interval.in_1_minute), bar(number))
            time.sleep(float(pause_s))
        print("done" if publisher.flush(60) else "failed", flush=True)  # noqa: T201


def _number(moment):
    return int(moment.timestamp() - OPENED_S) // 60


def read(url, prefix, group=None):
    """Read until the program is killed."""

    def show(seis, frame):
        print("bar", seis.symbol, _number(frame.index[0]), flush=True)  # noqa: T201

    def show_gap(seis, start, end):
        print("gap", seis.symbol, _number(start), _number(end), flush=True)  # noqa: T201

    options = {"group": group, "claim_after_s": 1.0, "timezone": "UTC", "on_gap": show_gap}
    with RedisFeed(url, prefix=prefix, **options) as feed:
        for symbol in SYMBOLS:
            feed.subscribe(symbol, "BINANCE", Interval.in_1_minute, show)
        print("ready", flush=True)  # noqa: T201
        feed.wait()


if __name__ == "__main__":
    {"publish": publish, "read": read}[sys.argv[1]](*sys.argv[2:])
