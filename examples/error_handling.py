"""Meet the errors of this library one by one, and what a program does about each.

python examples/error_handling.py [--real]
"""

import sys
import time
from collections.abc import Callable

from service import parser, service

from tvDatafeed import (
    AuthenticationError,
    DataNotFoundError,
    DataValidationError,
    EntitlementError,
    Interval,
    NetworkError,
    SymbolNotFoundError,
    TvDatafeed,
    TvDatafeedError,
)


def explained(question: Callable[[], object]) -> str:
    """Ask something, and say what came of it: from the narrowest kind of error to the widest."""
    try:
        return f"answered: {question()}"
    except DataValidationError as error:
        return f"the call is wrong, and was not sent: {error.field} {error.reason}"
    except SymbolNotFoundError as error:
        return f"no such symbol; like it are {', '.join(error.suggestions) or 'none'}"
    except DataNotFoundError as error:
        return f"the symbol exists, and there are no bars: {error}"
    except EntitlementError as error:
        return f"not in this account's plan: {error.needs or error.reason}"
    except AuthenticationError as error:
        return f"sign in again: {error}"
    except NetworkError as error:
        return f"the network, {'try later' if error.retryable else 'trying does not help'}: {error}"
    except TvDatafeedError as error:
        return f"anything else of this library: {error}"


def patiently(question: Callable[[], object], tries: int = 3) -> object:
    """Ask again after faults that may pass. Each call has tried some times by itself already."""
    for number in range(1, tries + 1):
        try:
            return question()
        except NetworkError as error:
            if not error.retryable or number == tries:
                raise
            time.sleep(getattr(error, "retry_after", None) or number)
    raise AssertionError


def main() -> int:
    """Show each error and what it means."""
    arguments = parser(__doc__).parse_args()
    with service(arguments) as config, TvDatafeed(config=config) as tv:
        questions: dict[str, Callable[[], object]] = {
            "a symbol": lambda: f"{len(tv.get_hist('NASDAQ:AAPL'))} bars",
            "a symbol that is misspelt": lambda: tv.get_hist("NASDAQ:APPL"),
            "bars of seconds, without an account": lambda: tv.get_hist(
                "BINANCE:BTCUSDT", interval=Interval.in_1_second
            ),
            "no bars at all": lambda: tv.get_hist("NASDAQ:AAPL", n_bars=0),
            "a range before any bar": lambda: tv.get_hist(
                "NASDAQ:AAPL", start_date="1900-01-01", end_date="1900-12-31"
            ),
            "the same, patiently": lambda: patiently(
                lambda: f"{len(tv.get_hist('NASDAQ:AAPL'))} bars"
            ),
        }
        for name, question in questions.items():
            print(f"{name}:\n    {explained(question)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
