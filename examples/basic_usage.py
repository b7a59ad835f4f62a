"""Fetch bars, and read what comes with them.

python examples/basic_usage.py [EXCHANGE:SYMBOL] [--real]
"""

import sys

from service import parser, service

from tvDatafeed import DataNotFoundError, Interval, NetworkError, TvDatafeed


def main() -> int:
    """Show daily and hourly bars; 1 when there are none."""
    reader = parser(__doc__)
    reader.add_argument("symbol", nargs="?", default="NASDAQ:AAPL")
    arguments = reader.parse_args()
    with service(arguments) as config, TvDatafeed(config=config, timezone="UTC") as tv:
        try:
            daily = tv.get_hist(arguments.symbol, n_bars=200, timezone="exchange")
            hourly = tv.get_hist(arguments.symbol, interval=Interval.in_1_hour, n_bars=24)
        except DataNotFoundError as error:
            print(f"Nothing to show: {error}", file=sys.stderr)
            return 1
        except NetworkError as error:
            print(f"TradingView cannot be reached: {error}", file=sys.stderr)
            return 1

    print(daily.tail())
    print(f"\nTimes are those of {daily.attrs['timezone']}.")
    if not daily.attrs["last_bar_closed"]:
        print("The last bar is still forming.")

    average = daily["close"].rolling(50).mean().iloc[-1]
    print(f"Mean of the last 50 closes: {average:.2f}")
    print(f"Range of the last 24 hours of trading: {hourly['low'].min()} - {hourly['high'].max()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
