"""Made-up bars for stores: what a bar holds follows from its time and a number."""

import numpy as np
import pandas as pd

# 2000-01-01: what is written in a minute, at full speed, still ends long ago.
FIRST_S = 946684800
MINUTE_S = 60


def bars(count, first=0, number=0):
    """Return a frame of bars of one minute, from the `first` minute on."""
    minutes = np.arange(first, first + count)
    middle = 100.0 + number + (minutes % 1000) / 8.0
    index = pd.to_datetime(FIRST_S + minutes * MINUTE_S, unit="s", utc=True).as_unit("ns")
    return pd.DataFrame(
        {
            "open": middle,
            "high": middle + 1.0,
            "low": middle - 1.0,
            "close": middle + 0.25,
            "volume": minutes.astype(np.float64),
        },
        index=index.rename("datetime"),
    )


def next_bars(count, first, number=0):
    """Return the bars from the `first` minute on, and the one before, so that ranges join."""
    return bars(count + 1, first - 1, number) if first else bars(count, first, number)


def assert_stored(frame, expected):
    """Expect the bars of a frame, whatever its symbol is."""
    pd.testing.assert_frame_equal(frame.drop(columns="symbol"), expected, check_freq=False)
