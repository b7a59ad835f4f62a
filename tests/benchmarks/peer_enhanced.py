"""The same request through tvdatafeed-enhanced, in an interpreter that has it installed.

Its endpoint is fixed in its source, so the connection it asks for is led to the loopback server.
Prints one JSON object: CPU and wall milliseconds of one warm call, medians.
"""

import json
import statistics
import sys
import time

import tvDatafeed.main as peer


def main() -> None:
    """Measure ``get_hist`` of 5000 one-minute bars."""
    url, runs = sys.argv[1], int(sys.argv[2])
    connect = peer.create_connection

    def connect_to_loopback(_url: str, **options: object) -> object:
        options.pop("header", None)
        return connect(url, origin="https://data.tradingview.com", **options)

    peer.create_connection = connect_to_loopback
    client = peer.TvDatafeed()

    def fetch() -> None:
        frame = client.get_hist("AAPL", "NASDAQ", peer.Interval.in_1_minute, n_bars=5000)
        if frame is None or len(frame) != 5000:
            raise SystemExit("the peer did not get its bars")

    fetch()
    cpu, wall = [], []
    for _ in range(runs):
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        fetch()
        cpu.append(time.process_time() - cpu_start)
        wall.append(time.perf_counter() - wall_start)
    print(
        json.dumps(
            {
                "cpu_ms": statistics.median(cpu) * 1000,
                "wall_ms": statistics.median(wall) * 1000,
            }
        )
    )


if __name__ == "__main__":
    main()
