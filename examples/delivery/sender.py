"""Send the closed bars of a symbol, and a signal, to a receiver; Ctrl-C ends it.

Set TV_WEBHOOK_URL and TV_WEBHOOK_SECRET.

python examples/delivery/sender.py [EXCHANGE:SYMBOL [SECONDS]]
"""

import argparse
import os
import sys

import pandas as pd

from tvDatafeed import Consumer, Interval, Seis, TvDatafeedError, TvDatafeedLive
from tvDatafeed.delivery import AlertService, DeliveryResult, Webhook


def on_result(result: DeliveryResult) -> None:
    """Show what an attempt came to."""
    print(f"{result.type} {result.id}: {result.state}, status {result.status}", flush=True)


def on_error(who: Seis | Consumer, error: BaseException) -> None:
    """Show what went wrong, such as a full outbox."""
    print(f"{who}: {error}", file=sys.stderr)


class Bot:
    """Compares two closes, and sends a signal when the price has moved."""

    def __init__(self, hook: Webhook) -> None:
        self._hook = hook
        self._last_close: float | None = None

    def on_bar(self, seis: Seis, bar: pd.DataFrame) -> None:
        """Decide; the key makes the signal of this bar one message, also after a restart."""
        close = float(bar["close"].iloc[0])
        last, self._last_close = self._last_close, close
        if last is None or close == last:
            return
        name = f"{seis.exchange}:{seis.symbol}"
        self._hook.send(
            "signal.created",
            {"symbol": name, "side": "buy" if close > last else "sell", "price": close},
            key=f"example-bot/{name}/{bar.index[0].isoformat()}",
            lane=f"signals/{name}",
        )


def main() -> int:
    """Send until Ctrl-C, or for some seconds; 1 for an error, 2 for a setting that is wrong."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("symbol", nargs="?", default="BINANCE:BTCUSDT")
    reader.add_argument("seconds", nargs="?", type=float)
    arguments = reader.parse_args()
    # Keys are made of moments, and local time has an hour twice when clocks are set back.
    os.environ.setdefault("TV_TIMEZONE", "UTC")
    try:
        hook = Webhook()
    except TvDatafeedError as error:
        print(error, file=sys.stderr)
        return 2
    # The feed is closed first, and the webhook then sends what waits.
    with (
        AlertService.from_env() as alerts,
        hook,
        TvDatafeedLive(on_error=on_error) as tvl,
    ):
        hook.results(on_result)
        alerts.attach(tvl, hook)
        try:
            seis = tvl.new_seis(arguments.symbol, "", Interval.in_1_minute)
            seis.new_consumer(hook)
            seis.new_consumer(Bot(hook).on_bar)
            tvl.wait(arguments.seconds)
        except (TvDatafeedError, ValueError) as error:
            print(f"{arguments.symbol}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("The feed is closed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
