"""Fetch many symbols in one call, and see which of them failed and why.

Asks TradingView, or whatever TV_WS_URL names:

    python examples/many_symbols.py [EXCHANGE:SYMBOL ...]
"""

import sys

import pandas as pd

from tvDatafeed import NetworkError, TvDatafeed

SYMBOLS = ["NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:IBM", "NYSE:NOSUCH"]


def main() -> int:
    """Show the year's change of each symbol; 1 when nothing came."""
    symbols = sys.argv[1:] or SYMBOLS
    with TvDatafeed() as tv:
        frames = tv.get_hist_multi(symbols, n_bars=252, timezone="UTC", on_error="collect")
    for symbol, error in frames.errors.items():
        why = "TradingView cannot be reached" if isinstance(error, NetworkError) else error
        print(f"{symbol}: {why}")
    if not frames:
        return 1
    closes = pd.DataFrame({symbol: frame["close"] for symbol, frame in frames.items()})
    change = 100 * (closes.ffill().iloc[-1] / closes.bfill().iloc[0] - 1)
    print(f"\nFrom {closes.index[0]:%Y-%m-%d} to {closes.index[-1]:%Y-%m-%d}:")
    print(change.map("{:+.1f} %".format).to_string())
    return 0


if __name__ == "__main__":
    sys.exit(main())
