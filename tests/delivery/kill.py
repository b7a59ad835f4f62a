"""Kills the sender at random: ``python -m tests.delivery.kill --times 100``.

Each round starts a program that enqueues events and sends them to a receiver which fails now and
then, and kills it with SIGKILL after a random time. What the program had enqueued must be received
at the end: each event, in the order of its lane, and once by its id.
"""

import argparse
import json
import random
import tempfile
import threading
from pathlib import Path

from tests.delivery.hooks import make_hook
from tests.delivery.receiver import Receiver
from tests.programs import start
from tests.scale import PATIENCE_S

LANES = 4
_ROUND = 1000
_FAULTS = (500, 503, "reset", "drop", "cut", None, None, None, None, None, None, None)


def run(times, seed=0):
    """Kill a program `times` times; return how many events were enqueued, and requests made."""
    dice = random.Random(seed)
    enqueued = []
    with tempfile.TemporaryDirectory() as folder, Receiver() as receiver:
        outbox = Path(folder) / "outbox.db"
        receiver.rule = lambda _request: dice.choice(_FAULTS)
        for number in range(times):
            enqueued += _kill_one(receiver.url, outbox, number * _ROUND, dice.uniform(0.01, 0.6))
        receiver.rule = lambda _request: None
        with make_hook(receiver.url, outbox) as hook:
            assert hook.flush(PATIENCE_S * 2), hook.stats()
            assert hook.outbox.dead() == []
        received = {}
        for request, status in receiver.requests:
            if status == 200:
                received.setdefault(request.id, json.loads(request.body)["data"])
    numbers = list(received.values())
    assert len(numbers) == len(set(numbers)), "one event has two ids"
    assert set(enqueued) <= set(numbers), f"lost: {set(enqueued) - set(numbers)}"
    for lane in range(LANES):
        of_lane = [n for n in numbers if n % LANES == lane]
        assert of_lane == sorted(of_lane), f"lane {lane} is out of order"
    return len(enqueued), len(receiver.requests)


def _kill_one(url, outbox, first, seconds):
    """Return the numbers of the events that a program enqueued before it was killed."""
    arguments = ("-m", "tests.delivery.program", url, str(outbox), first, _ROUND, LANES)
    with start(*map(str, arguments)) as program:
        assert program.stdout.readline().startswith("ready")
        timer = threading.Timer(seconds, program.kill)
        timer.start()
        lines = program.stdout.read().split("\n")
        timer.join()
        program.wait(PATIENCE_S)
    # The last line may be cut.
    return [int(line) for line in lines[:-1]]


def main():
    """Print what happened."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    enqueued, requests = run(options.times, options.seed)
    print(f"{options.times} kills, {enqueued} events, {requests} requests: none lost")  # noqa: T201


if __name__ == "__main__":
    main()
