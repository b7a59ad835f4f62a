"""The loopback market of the tests: its moment, and what must come from it."""

import zoneinfo

import numpy as np
import pandas as pd
import pytest

from tests.scale import AT_ONCE_S, at_most

# A Friday evening in New York: the stock market is closed, crypto is not.
NOW = 1786744800.0  # 2026-08-14 22:00 UTC


def expected(server, symbol, interval, count, timezone="UTC", **options):
    """What must come, from the market's own arithmetic."""
    bars = server.market.bars(symbol, interval.value, count, NOW, **options)
    return frame_of(bars, symbol, timezone)


def frame_of(bars, symbol, timezone="UTC"):
    """The frame that some bars of the market must become."""
    index = pd.to_datetime([bar.time for bar in bars], unit="s", utc=True).as_unit("ns")
    return pd.DataFrame(
        {
            "symbol": np.array([symbol] * len(bars), dtype=object),
            "open": [bar.open for bar in bars],
            "high": [bar.high for bar in bars],
            "low": [bar.low for bar in bars],
            "close": [bar.close for bar in bars],
            "volume": [bar.volume or 0.0 for bar in bars],
        },
        # Named by a text it would be of another library in pandas 2.
        index=index.tz_convert(
            timezone if timezone == "UTC" else zoneinfo.ZoneInfo(timezone)
        ).rename("datetime"),
    ).astype({"symbol": object})


def impatient(server, **limits):
    """The configuration of a client that tries again after hundredths of a second."""
    return server.config(**{"base_retry_delay": 0.02, "max_retry_delay": 0.1, **limits})


def at_once(call, error):
    """Expect an error at once."""
    with at_most(AT_ONCE_S), pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return caught.value
