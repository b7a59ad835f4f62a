"""Where the examples get their data: a TradingView that runs inside them, or the service itself.

The market that runs inside is made up. With --real nothing is: settings then come from the
environment, and TradingView is asked.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvDatafeed import TvDatafeedConfig
from tvDatafeed.testing import FakeTradingView, MarketClock


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make what reads the command line of an example, --real included."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--real", action="store_true", help="ask TradingView itself")
    return made


@contextmanager
def service(arguments: argparse.Namespace, **options: Any) -> Iterator[TvDatafeedConfig]:
    """Yield the settings that reach the service, which ends with the block."""
    if arguments.real:
        yield TvDatafeedConfig.from_env()
        return
    with FakeTradingView(**options) as server:
        yield server.config()


@contextmanager
def hurried_service(
    arguments: argparse.Namespace, speed: float = 600.0
) -> Iterator[TvDatafeedConfig]:
    """Yield the settings of a market whose minutes are tenths of a second, or of the real one."""
    options = {"clock": MarketClock(speed=speed), "tick_interval_s": 0.02}
    with service(arguments, **options) as config:
        yield config
