"""Fetch many symbols in one call, and see which of them failed and why.

python examples/many_symbols.py [EXCHANGE:SYMBOL ...] [--real]
"""

import sys

import pandas as pd
from service import parser, service

from tvDatafeed import NetworkError, TvDatafeed

SYMBOLS = ["NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:IBM", "NYSE:NOSUCH"]


def main() -> int:
    """Show the year's change of each symbol; 1 when nothing came."""
    reader = parser(__doc__)
    reader.add_argument("symbols", nargs="*", default=SYMBOLS)
    arguments = reader.parse_args()
    with service(arguments) as config, TvDatafeed(config=config, timezone="UTC") as tv:
        frames = tv.get_hist_multi(arguments.symbols, n_bars=252, on_error="collect")
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
