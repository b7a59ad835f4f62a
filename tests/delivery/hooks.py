"""Webhooks that try again at once, and the bars that they get."""

import datetime as dt
from pathlib import Path

import pandas as pd

from tests.delivery.receiver import SECRET
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import DeliveryConfig, RetryPolicy, Webhook

OPENED_S = 1_700_000_040
QUICK = RetryPolicy(base_s=0.01, max_delay_s=0.05)
SEIS = Seis("BTCUSDT", "BINANCE", Interval.in_1_minute)


def make_hook(url, outbox, **options):
    """Return a webhook with its outbox in a folder or of its own."""
    config = options.pop("config", None) or DeliveryConfig(timeout=5)
    path = outbox / "outbox.db" if isinstance(outbox, Path) and outbox.is_dir() else outbox
    options.setdefault("policy", QUICK)
    secret = options.pop("secret", SECRET)
    return Webhook(url, secret, outbox=path, config=config, **options)


def bars(count, first=0):
    """Return the frame of some bars, the first of which is that of `bar(first)`."""
    opens = [OPENED_S + 60 * number for number in range(first, first + count)]
    frame = pd.DataFrame(
        {"open": 100.1, "high": 101.0, "low": 99.9, "close": 100.5, "volume": 12.5},
        index=pd.DatetimeIndex(pd.to_datetime(opens, unit="s", utc=True), name="datetime"),
    )
    frame.attrs["closed"] = frame.attrs["last_bar_closed"] = True
    return frame


def bar(number=0, *, closed=True, close=100.5, zone=dt.timezone.utc, **values):
    """Return the frame of one bar, as a live feed delivers it."""
    moment = pd.Timestamp(OPENED_S + 60 * number, unit="s", tz="UTC")
    index = pd.DatetimeIndex([moment if zone else moment.tz_localize(None)], name="datetime")
    row = {"open": 100.1, "high": 101.0, "low": 99.9, "close": close, "volume": 12.5, **values}
    frame = pd.DataFrame(row, index=index)
    frame.insert(0, "symbol", "BINANCE:BTCUSDT")
    frame.attrs["closed"] = frame.attrs["last_bar_closed"] = closed
    return frame
