"""One symbol through tvkit's stream, in an interpreter with that package.

``python peer_tvkit_live.py URL SYMBOL COUNT``: prints ``ready`` once the first bars have come, and
then the monotonic clock at each further one. What it needs is said in `peer_tvkit`.
"""

import asyncio
import sys
import time

from peer_tvkit import lead_to, peer

FIRST_BARS = 2


async def main(url: str, symbol: str, count: int) -> None:
    """Follow the symbol."""
    lead_to(url)
    async with peer.OHLCV() as client:
        newest, seen = 0.0, 0
        async for bar in client.get_ohlcv(symbol, interval="1", bars_count=FIRST_BARS):
            now = time.monotonic()
            if seen == FIRST_BARS - 1:
                print("ready", flush=True)
            elif seen >= FIRST_BARS and bar.timestamp > newest:
                print(now, flush=True)
            newest, seen = max(newest, bar.timestamp), seen + 1
            if seen > count * 10:
                return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
