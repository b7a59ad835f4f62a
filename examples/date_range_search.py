"""Find a symbol by its name, and fetch its bars of a range of dates.

python examples/date_range_search.py [TEXT [START [END]]] [--real]
"""

import sys

from service import parser, service

from tvDatafeed import DataNotFoundError, NetworkError, TvDatafeed


def main() -> int:
    """Show what was found, and bars of the first of it; 1 when there is nothing."""
    reader = parser(__doc__)
    reader.add_argument("text", nargs="?", default="apple")
    reader.add_argument("start", nargs="?", default="2024-01-01")
    reader.add_argument("end", nargs="?", default="2024-06-30")
    arguments = reader.parse_args()
    with service(arguments) as config, TvDatafeed(config=config, timezone="UTC") as tv:
        try:
            found = tv.search_symbol(arguments.text, limit=5, raise_on_error=True)
            print(tv.format_search_results(found))
            if not found:
                return 1
            symbol = found[0]["full_name"]
            bars = tv.get_hist(
                symbol, start_date=arguments.start, end_date=arguments.end, dates="trading"
            )
        except DataNotFoundError as error:
            print(f"Nothing to show: {error}", file=sys.stderr)
            return 1
        except NetworkError as error:
            print(f"TradingView cannot be reached: {error}", file=sys.stderr)
            return 1
    print(f"\n{symbol}, {bars.attrs['received']} bars of {bars.attrs['requested']}:")
    print(bars[["open", "high", "low", "close", "volume"]].to_string(max_rows=6))
    if not bars.attrs["complete"]:
        print(f"There is more: {bars.attrs['reason']}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
