"""Choose what the library logs: nothing, warnings, each request, or each packet.

    python examples/quiet_mode.py [--real]

The library prints nothing. It logs, and what becomes of that is the program's business.
"""

import logging
import sys

from service import parser, service

from tvDatafeed import NetworkError, TvDatafeed, TvDatafeedConfig


def shown(title: str, config: TvDatafeedConfig, *, verbose: bool) -> None:
    """Fetch bars under a title."""
    print(f"\n{title}")
    with TvDatafeed(verbose=verbose, config=config) as tv:
        tv.get_hist("NASDAQ:AAPL", n_bars=3)


def main() -> int:
    """Fetch the same bars in four ways."""
    arguments = parser(__doc__).parse_args()
    logging.basicConfig(stream=sys.stdout, format="    %(levelname)s %(name)s: %(message)s")
    logger = logging.getLogger("tvDatafeed")
    with service(arguments) as config:
        try:
            shown("verbose=False, which logs only problems:", config, verbose=False)
            logger.setLevel(logging.INFO)
            shown("verbose=True, the default, with logging at INFO:", config, verbose=True)
            logger.setLevel(logging.DEBUG)
            shown("logging at DEBUG, connections included:", config, verbose=True)
            logger.setLevel(logging.CRITICAL)
            shown("logging at CRITICAL, which is silence:", config, verbose=True)
        except NetworkError as error:
            print(f"TradingView cannot be reached: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
