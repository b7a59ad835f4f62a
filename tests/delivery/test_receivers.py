"""Receivers that fail in every way: each bar comes, in order, and counts once by its id."""

import random
import threading
import time

import pytest

from tests.delivery.hooks import OPENED_S, QUICK, bar, make_hook
from tests.delivery.receiver import Receiver
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import DeliveryConfig

# What passes; a 410 or a 400 is the receiver's last word, see test_webhook.py.
FAULTS = [
    500,
    503,
    408,
    425,
    429,
    (503, {"Retry-After": "0"}),
    "drop",
    "reset",
    "cut",
    "cut ok",
    "slow",
]
SERIES = [Seis(f"S{number}", "TEST", Interval.in_1_minute) for number in range(6)]


def moments(receiver):
    """When the bars of each series open, in the order in which they were accepted first."""
    found = {}
    for body in receiver.bodies():
        bars = body["data"].get("bars") or [body["data"]]
        for one in bars:
            found.setdefault(one["symbol"], []).append(one["time_s"])
    return found


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_receiver_that_fails_in_every_way(tmp_path, seed, batch):
    """Each bar is received, counts once by its id, and follows the one before it in its series."""
    dice, count = random.Random(seed), 30
    # Each of them at least once, whatever the dice say.
    faults = [*FAULTS, *(dice.choice(FAULTS) for _time in range(40)), *[None] * 50]
    dice.shuffle(faults)

    def feed(hook, seis):
        for number in range(count):
            hook(seis, bar(number))

    with Receiver() as receiver, make_hook(receiver.url, tmp_path, batch=batch) as hook:
        receiver.faults += faults
        threads = [threading.Thread(target=feed, args=(hook, seis)) for seis in SERIES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert hook.flush(PATIENCE_S)
        assert hook.outbox.dead() == []
    expected = [OPENED_S + 60 * number for number in range(count)]
    assert moments(receiver) == {seis.symbol: expected for seis in SERIES}
    for request, _status in receiver.requests:
        assert request.message


def test_receiver_that_forgets(tmp_path):
    """What was answered with 200 is not sent again, whether or not the receiver remembers it."""
    with Receiver() as receiver:
        for _restart in range(3):
            with make_hook(receiver.url, tmp_path) as hook:
                for number in range(3):
                    hook(SERIES[0], bar(number))
                assert hook.flush(PATIENCE_S)
        assert len(receiver.requests) == 3


def test_answer_that_is_lost(tmp_path):
    """A message whose answer is lost comes again under its id: a receiver drops the copy."""
    with Receiver() as receiver, make_hook(receiver.url, tmp_path) as hook:
        receiver.faults += ["reset", "drop"]
        hook(SERIES[0], bar())
        assert hook.flush(PATIENCE_S)
    assert len({(r.id, r.body) for r, _status in receiver.requests}) == 1
    assert len(receiver.requests) == 3


def test_reset_in_the_middle_of_an_answer(tmp_path):
    """After a 200 it does not matter that the body of the answer ends too early."""
    with Receiver() as receiver, make_hook(receiver.url, tmp_path) as hook:
        receiver.faults += ["cut ok"]
        ids = [hook.send("a.b", number) for number in range(2)]
        assert hook.flush(PATIENCE_S)
        assert hook.stats()["delivered"] == 2
    assert receiver.accepted == ids


def test_reset_in_the_middle_of_a_request(tmp_path):
    """A receiver that resets the connection before it has read the body gets it again."""
    with Receiver() as receiver, make_hook(receiver.url, tmp_path) as hook:
        receiver.resets = 3
        ids = [hook.send("a.b", "x" * 60_000) for _time in range(3)]
        assert hook.flush(PATIENCE_S)
    assert receiver.accepted == ids
    assert len(receiver.requests) == 3


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_answer_without_an_end(tmp_path, fault):
    """The whole answer must be there within the timeout; else the message is sent again."""
    with Receiver() as receiver:
        receiver.faults += [fault]
        config, results = DeliveryConfig(timeout=1), []
        with make_hook(receiver.url, tmp_path, config=config) as hook:
            hook.results(results.append)
            message_id = hook.send("a.b", 1)
            assert hook.flush(PATIENCE_S)
    assert [r.id for r, _status in receiver.requests] == [message_id] * 2
    assert [(r.state, r.status) for r in results] == [("retrying", None), ("delivered", 200)]
    assert "in time" in results[0].error


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(tmp_path, status):
    """The receiver says when to come again; that attempt has a new timestamp and signature."""
    arrivals, failed = [], threading.Event()
    with Receiver() as receiver, make_hook(receiver.url, tmp_path, policy=QUICK) as hook:
        hook.results(lambda _result: failed.set())
        receiver.faults += [(status, {"Retry-After": "2"})]
        receiver.rule = lambda _request: arrivals.append(time.monotonic())
        started = time.monotonic()
        message_id = hook.send("a.b", 1, lane="one")
        assert failed.wait(PATIENCE_S)
        other_id = hook.send("a.b", 2, lane="another")
        assert hook.flush(PATIENCE_S)
    # It holds for the destination: the other lane waits too.
    assert len(arrivals) == 2
    assert arrivals[0] - started >= 2.0
    assert {request.id for request, _status in receiver.requests} == {message_id, other_id}
    first, second = (r for r, _status in receiver.requests if r.id == message_id)
    assert first.body == second.body
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 2
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert first.message == second.message


def test_answer_that_is_too_long(tmp_path):
    """An answer with headers without an end is a failure that names the limit."""
    headers = {f"X-{number}": "x" * 60_000 for number in range(8)}
    results = []
    with Receiver() as receiver, make_hook(receiver.url, tmp_path) as hook:
        receiver.faults += [(200, headers)]
        hook.results(results.append)
        hook.send("a.b", 1)
        assert hook.flush(PATIENCE_S)
    assert results[0].error == f"127.0.0.1 sent more than {320 * 1024} bytes"
    assert results[-1].state == "delivered"


def test_flush_waits_for_a_retried_message(tmp_path):
    """While a message is in flight, or waits after a failure, `flush` says that it waits."""
    seen, may_answer = threading.Semaphore(0), threading.Semaphore(0)

    def slow_failure(_request):
        seen.release()
        assert may_answer.acquire(timeout=PATIENCE_S)
        return 500 if len(receiver.requests) < 3 else None

    with Receiver() as receiver, make_hook(receiver.url, tmp_path) as hook:
        receiver.rule = slow_failure
        hook.send("a.b", 1)
        for _attempt in range(4):
            assert seen.acquire(timeout=PATIENCE_S)
            assert not hook.flush(0.0)
            assert not hook.flush(0.05)
            assert hook.stats()["pending"] == 1
            may_answer.release()
        assert hook.flush(PATIENCE_S)
    assert len(receiver.requests) == 4
