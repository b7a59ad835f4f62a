"""A program with a webhook: ``python -m tests.delivery.program URL OUTBOX FIRST COUNT LANES``.

It enqueues events with keys, prints the number of each that is on disk, then waits until it is
killed.
"""

import sys
import time

from tests.delivery.hooks import make_hook

if __name__ == "__main__":
    url, outbox, first, count, lanes = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    hook = make_hook(url, outbox)
    print("ready", hook.stats()["is_owner"], flush=True)  # noqa: T201 - its parent reads it
    for number in range(first, first + count):
        hook.send("a.b", number, key=f"event {number}", lane=f"lane {number % lanes}")
        print(number, flush=True)  # noqa: T201
    while True:
        time.sleep(60)
