"""Find out how a symbol is written, and see that every way of writing it gives the same bars.

python examples/symbol_format_guide.py [TEXT] [--real]
"""

import sys

from service import parser, service

from tvDatafeed import NetworkError, SymbolNotFoundError, TvDatafeed

# What it is, how to request it, and its name at TradingView.
WAYS = [
    ("symbol and exchange", {"symbol": "AAPL", "exchange": "NASDAQ"}),
    ("both in one", {"symbol": "NASDAQ:AAPL"}),
    ("in lower case", {"symbol": "nasdaq:aapl"}),
    ("a currency pair", {"symbol": "EURUSD", "exchange": "FX_IDC"}),
    ("a crypto pair", {"symbol": "BTCUSDT", "exchange": "BINANCE"}),
    ("the front contract of a future", {"symbol": "NIFTY", "exchange": "NSE", "fut_contract": 1}),
    ("the same, written out", {"symbol": "NSE:NIFTY1!"}),
    ("as the address bar has it", {"symbol": "NASDAQ-AAPL"}),
]


def main() -> int:
    """Ask in each way, and search; 1 when TradingView cannot be reached."""
    reader = parser(__doc__)
    reader.add_argument("text", nargs="?", default="apple")
    arguments = reader.parse_args()
    with service(arguments) as config, TvDatafeed(config=config) as tv:
        try:
            for name, way in WAYS:
                try:
                    symbol = tv.get_hist(**way, n_bars=1)["symbol"].iloc[0]
                except SymbolNotFoundError as error:
                    symbol = f"not found; try {' or '.join(error.suggestions) or 'the search'}"
                asked = ", ".join(f"{key}={value!r}" for key, value in way.items())
                print(f"{name}:\n    get_hist({asked}) -> {symbol}")
            print(f"\nSearched for {arguments.text!r}:")
            found = tv.search_symbol(arguments.text, limit=5, raise_on_error=True)
        except NetworkError as error:
            print(f"TradingView cannot be reached: {error}", file=sys.stderr)
            return 1
    print(tv.format_search_results(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
