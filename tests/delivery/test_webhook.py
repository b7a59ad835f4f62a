"""Webhook: what is sent, when it is sent again, and what the program hears of it."""

import json
import logging
import math
import re
import socket
import sys
from pathlib import Path

import pandas as pd
import pytest
from standardwebhooks import Webhook as Oracle

from tests.delivery.hooks import OPENED_S, QUICK, SEIS, bar, make_hook
from tests.delivery.receiver import SECRET, Receiver
from tests.feed import until
from tests.scale import PATIENCE_S, at_most
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import (
    CanonicalRequest,
    DeliveryConfig,
    DeliveryError,
    Outbox,
    OutboxError,
    OutboxFullError,
    RetryPolicy,
    Webhook,
    new_secret,
)
from tvDatafeed.exceptions import ConfigurationError

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@pytest.fixture
def receiver():
    """A receiver that runs."""
    with Receiver() as running:
        yield running


@pytest.fixture
def hook(receiver, tmp_path):
    """A webhook to it."""
    with make_hook(receiver.url, tmp_path) as made:
        yield made


def delivered(hook):
    """Wait until nothing waits."""
    assert hook.flush(PATIENCE_S)


def test_closed_bar_is_posted(hook, receiver):
    """A closed bar is a signed message with the numbers of the frame."""
    hook(SEIS, bar())
    delivered(hook)
    ((request, _status),) = receiver.requests
    message = request.message
    assert message["data"] == {
        "symbol": "BTCUSDT",
        "exchange": "BINANCE",
        "interval": "1",
        "time": "2023-11-14T22:14:00Z",
        "time_s": OPENED_S,
        "open": 100.1,
        "high": 101.0,
        "low": 99.9,
        "close": 100.5,
        "volume": 12.5,
        "revision": 0,
    }
    assert (message["type"], message["version"]) == ("bar.closed", 1)
    assert re.fullmatch(r"bar_[A-Z2-7]{26}", request.id)
    assert request.path == "/hook?v=1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == request.id
    assert request.headers["user-agent"].startswith("tvDatafeed/3")


def test_forming_bar_is_ignored(hook, receiver):
    """A bar that still forms is not sent."""
    hook(SEIS, bar(closed=False))
    delivered(hook)
    assert receiver.requests == []


def test_same_bar_is_sent_once_and_a_correction_is_a_revision(hook, receiver):
    """Equal numbers are one message; other numbers are the next revision, with another id."""
    for close in (100.5, 100.5, 100.6, 100.6, 100.5):
        hook(SEIS, bar(close=close))
    delivered(hook)
    data = [body["data"] for body in receiver.bodies()]
    assert [(one["revision"], one["close"]) for one in data] == [(0, 100.5), (1, 100.6), (2, 100.5)]
    assert len(set(receiver.accepted)) == 3


def test_missing_number_is_null(hook, receiver):
    """NaN in a bar is null in JSON."""
    hook(SEIS, bar(volume=math.nan))
    delivered(hook)
    assert receiver.bodies()[0]["data"]["volume"] is None


def test_index_without_a_zone_is_local_time(receiver, tmp_path, set_zone):
    """Where clocks are set back, the two bars of one local time keep their own moments."""
    set_zone("Europe/Berlin")
    seis = Seis("X", "Y", Interval.in_30_minute)
    with make_hook(receiver.url, tmp_path) as hook:
        for shown in ("02:00", "02:30", "02:00", "02:30", "03:00"):
            frame = bar(zone=None)
            frame.index = frame.index[:0].insert(0, f"2026-10-25 {shown}")
            hook(seis, frame)
        delivered(hook)
    times = [body["data"]["time"][11:16] for body in receiver.bodies()]
    assert times == ["00:00", "00:30", "01:00", "01:30", "02:00"]


@pytest.mark.parametrize(
    "faults",
    [
        [500],
        [503, 500, 502],
        [408],
        [425],
        [429],
        ["reset"],
        ["drop"],
        ["cut"],
        ["cut", "drop", "reset"],
    ],
    ids=str,
)
def test_fault_that_passes(receiver, tmp_path, faults):
    """What failed is sent again under its id, signed again, before what comes after it."""
    receiver.faults += faults
    results = []
    with make_hook(receiver.url, tmp_path) as hook:
        hook.results(results.append)
        for number in range(4):
            hook(SEIS, bar(number))
        delivered(hook)
    opened = [body["data"]["time_s"] for body in receiver.bodies()]
    assert opened == [OPENED_S + 60 * number for number in range(4)]
    first = receiver.requests[: len(faults) + 1]
    assert len({request.id for request, _status in first}) == 1
    assert [r.state for r in results][: len(faults) + 1] == ["retrying"] * len(faults) + [
        "delivered"
    ]
    assert len(receiver.requests) == 4 + len(faults)
    for request, _status in receiver.requests:
        assert request.message


def test_receiver_that_is_down(tmp_path):
    """Messages wait on disk while nothing listens; flush and close say so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/hook?v=1"
    hook = make_hook(url, tmp_path, policy=RetryPolicy(base_s=600.0, jitter=0.0))
    ids = [hook.send("signal.created", {"n": n}) for n in range(3)]
    assert not hook.flush(0.05)
    with at_most(4):
        assert hook.close() is False
    with Receiver(port) as receiver:
        # A message that is due after ten minutes is not sent at once, until `retry`.
        with make_hook(url, tmp_path) as hook:
            assert [m.id for m in hook.outbox.pending()] == ids
            assert hook.outbox.retry(ids[0]) == 0
            delivered(hook)
        assert receiver.accepted == ids


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_refused_message_is_dead(receiver, hook, status, caplog):
    """A message that is refused is kept as dead, and those after it continue."""
    receiver.faults += [status]
    results = []
    hook.results(results.append)
    refused, other = hook.send("a.b", 1), hook.send("a.b", 2)
    delivered(hook)
    assert receiver.accepted == [other]
    ((dead),) = hook.outbox.dead()
    assert (dead.id, dead.status, dead.attempts) == (refused, status, 1)
    assert [(r.id, r.state) for r in results] == [(refused, "dead"), (other, "delivered")]
    assert f"status {status}" in caplog.text
    assert hook.outbox.retry() == 1
    delivered(hook)
    assert receiver.accepted == [other, refused]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(receiver, hook, status):
    """A redirect is final for its message, wherever it leads."""
    with Receiver() as elsewhere:
        receiver.faults += [(status, {"Location": elsewhere.url})]
        hook.send("a.b", 1)
        delivered(hook)
        assert elsewhere.requests == []
    assert [m.status for m in hook.outbox.dead()] == [status]


def test_gone_disables_the_destination(receiver, tmp_path, caplog):
    """After 410 nothing is sent, and nothing is lost, until a new webhook is made."""
    receiver.faults += [410]
    with make_hook(receiver.url, tmp_path) as hook:
        results = []
        hook.results(results.append)
        ids = [hook.send("a.b", 1)]
        receiver.wait_for(1, PATIENCE_S)
        ids.append(hook.send("a.b", 2))
        assert not hook.flush(0.2)
        assert hook.stats()["state"] == "disabled"
        assert [(r.state, r.status) for r in results] == [("retrying", 410)]
        assert "410" in caplog.text
        assert len(receiver.requests) == 1
    with make_hook(receiver.url, tmp_path) as hook:
        delivered(hook)
    assert receiver.accepted == ids


def test_retry_enables_a_destination(receiver, hook):
    """`Outbox.retry` sends what waited for a destination that was gone."""
    receiver.faults += [410]
    message_id = hook.send("a.b", 1)
    receiver.wait_for(1, PATIENCE_S)
    assert not hook.flush(0.2)
    hook.outbox.retry()
    delivered(hook)
    assert receiver.accepted == [message_id]


def test_refused_lane_holds_back_itself_alone(receiver, tmp_path):
    """A lane whose first message fails keeps its order; other lanes continue."""
    receiver.rule = lambda request: 500 if b'"bad"' in request.body else None
    with make_hook(receiver.url, tmp_path) as hook:
        bad = [hook.send("a.b", "bad", lane="bad"), hook.send("a.b", "after", lane="bad")]
        good = [hook.send("a.b", n, lane=f"lane {n % 3}") for n in range(30)]
        receiver.wait_for(31, PATIENCE_S)
        while len(receiver.accepted) < 30:
            receiver.wait_for(len(receiver.requests) + 1, PATIENCE_S)
        assert sorted(receiver.accepted) == sorted(good)
        receiver.rule = lambda _request: None
        delivered(hook)
    assert receiver.accepted[30:] == bad


@pytest.mark.slow
def test_answer_that_does_not_come(receiver, tmp_path):
    """An attempt ends after the timeout, and is made again."""
    receiver.faults += ["hang"]
    with make_hook(receiver.url, tmp_path, config=DeliveryConfig(timeout=1)) as hook:
        message_id = hook.send("a.b", 1)
        delivered(hook)
    assert [r.id for r, _status in receiver.requests] == [message_id] * 2


def test_message_is_given_up(receiver, tmp_path):
    """After `give_up_s` a message is dead, with the last error."""
    receiver.rule = lambda _request: 500
    policy = RetryPolicy(base_s=0.01, max_delay_s=0.02, give_up_s=0.2)
    with make_hook(receiver.url, tmp_path, policy=policy) as hook:
        hook.send("a.b", 1)
        delivered(hook)
        (dead,) = hook.outbox.dead()
    assert (dead.status, dead.error) == (500, "status 500: {}")
    assert dead.attempts > 1


def test_number_of_attempts(receiver, tmp_path):
    """A policy may limit the attempts."""
    receiver.rule = lambda _request: 500
    policy = RetryPolicy(base_s=0.0, attempts=3)
    with make_hook(receiver.url, tmp_path, policy=policy) as hook:
        hook.send("a.b", 1)
        delivered(hook)
        assert [m.attempts for m in hook.outbox.dead()] == [3]


def test_key_is_sent_once(receiver, tmp_path):
    """Two events with one key are one message, also after a restart."""
    ids = set()
    for _restart in range(2):
        with make_hook(receiver.url, tmp_path) as hook:
            ids |= {hook.send("signal.created", n, key="order 7") for n in range(2)}
            delivered(hook)
    assert len(receiver.requests) == len(ids) == 1


def test_events_without_a_key_differ(hook, receiver):
    """Each call without a key is a message."""
    assert len({hook.send("a.b", 1) for _ in range(3)}) == 3
    delivered(hook)
    assert len(receiver.accepted) == 3


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("a.b", math.nan),
        ("a.b", {"x": [math.inf]}),
        ("a.b", object()),
        ("a.b", "\ud800"),
        ("a.b", "x" * 70_000),
        ("", 1),
        (" ", 1),
        (None, 1),
        ("a\nb", 1),
    ],
)
def test_event_that_cannot_be_sent(hook, kind, data):
    """What JSON cannot express, or is too large, is refused when it is enqueued."""
    with pytest.raises(DeliveryError):
        hook.send(kind, data)
    assert hook.outbox.pending() == []


def test_secrets_are_rotated(receiver, tmp_path):
    """Each secret signs: a receiver with the old one or the new one accepts the message."""
    secrets = [new_secret(), SECRET]
    with make_hook(receiver.url, tmp_path, secret=secrets) as hook:
        hook.send("a.b", 1)
        delivered(hook)
    ((request, _status),) = receiver.requests
    for secret in secrets:
        assert Oracle(secret).verify(request.body, request.headers)["data"] == 1


def test_canonical_scheme(receiver, tmp_path):
    """The older scheme signs the path with its query, and a nonce of each attempt."""
    receiver.faults += [500]
    config = DeliveryConfig(producer_id="desk-1")
    with make_hook(receiver.url, tmp_path, scheme="canonical", config=config) as hook:
        message_id = hook.send("a.b", 1)
        delivered(hook)
    request = CanonicalRequest("desk-1", SECRET)
    nonces = set()
    for received, _status in receiver.requests:
        assert request.verify("POST", received.path, received.headers, received.body)
        assert received.headers["x-idempotency-key"] == message_id
        nonces.add(received.headers["x-nonce"])
    assert nonces == {f"{message_id}.1", f"{message_id}.2"}


def test_attempts_are_numbered(receiver, tmp_path):
    """Each attempt has a number and a nonce of its own, also when it follows at once."""
    receiver.faults += [500, "drop", 503, "reset", 500]
    config, policy = DeliveryConfig(producer_id="desk-1"), RetryPolicy(base_s=0.0)
    options = {"scheme": "canonical", "config": config, "policy": policy}
    results = []
    with make_hook(receiver.url, tmp_path, **options) as hook:
        hook.results(results.append)
        message_id = hook.send("a.b", 1)
        delivered(hook)
    nonces = [request.headers["x-nonce"] for request, _status in receiver.requests]
    assert nonces == [f"{message_id}.{number}" for number in range(1, 7)]
    assert results[-1].attempts == 6


def test_headers_of_the_user(receiver, tmp_path):
    """More headers are sent; those of the scheme cannot be replaced."""
    headers = {"Authorization": "Bearer abc", "webhook-id": "mine"}
    with make_hook(receiver.url, tmp_path, headers=headers) as hook:
        message_id = hook.send("a.b", 1)
        delivered(hook)
    ((request, _status),) = receiver.requests
    assert request.headers["authorization"] == "Bearer abc"
    assert request.id == message_id


def test_batch(receiver, tmp_path):
    """Bars of a series that wait are sent as one message, whose id its retries keep."""
    receiver.faults += [500, 500]
    policy = RetryPolicy(base_s=0.05, jitter=0.0)
    with make_hook(receiver.url, tmp_path, batch=3, policy=policy) as hook:
        for number in range(8):
            hook(SEIS, bar(number))
        delivered(hook)
    bodies = receiver.bodies()
    assert {body["type"] for body in bodies} == {"bars.closed"}
    sizes = [len(body["data"]["bars"]) for body in bodies]
    assert max(sizes) <= 3
    opened = [one["time_s"] for body in bodies for one in body["data"]["bars"]]
    assert opened == [OPENED_S + 60 * number for number in range(8)]
    first = receiver.requests[:3]
    assert len({(request.id, request.body) for request, _status in first}) == 1


def test_batch_is_frozen_over_a_restart(receiver, tmp_path):
    """A batch that was tried is the same message in the next process."""
    receiver.rule = lambda _request: 500
    slow = RetryPolicy(base_s=600.0, jitter=0.0)
    with make_hook(receiver.url, tmp_path, batch=10, policy=slow) as hook:
        hook(SEIS, bar(0))
        receiver.wait_for(1, PATIENCE_S)
        hook(SEIS, bar(1))
    receiver.rule = lambda _request: None
    with make_hook(receiver.url, tmp_path, batch=10) as hook:
        hook.outbox.retry(hook.outbox.pending()[0].id)
        delivered(hook)
    (first, *_), *_ = receiver.requests
    (second, _), (third, _) = receiver.requests[1:]
    assert (second.id, second.body) == (first.id, first.body)
    assert [len(r.message["data"]["bars"]) for r in (second, third)] == [1, 1]


def test_full_outbox(tmp_path):
    """What does not fit is refused to the caller, and nothing that waits is dropped."""
    config = DeliveryConfig(outbox_max_bytes=256_000)
    with Receiver() as receiver:
        receiver.rule = lambda _request: 500
        with make_hook(receiver.url, tmp_path, config=config) as hook:
            accepted = list(until_full(lambda n: hook.send("a.b", f"{n}" + "x" * 10_000)))
            assert list(until_full(lambda n: hook(SEIS, bar(n))))
            assert len(accepted) > 15
            receiver.rule = lambda _request: None
            delivered(hook)
            # What is delivered makes room.
            accepted.append(hook.send("a.b", "x" * 10_000))
            delivered(hook)
        assert [i for i in receiver.accepted if i.startswith("evt")] == accepted


def until_full(enqueue):
    """Yield what a call returns, until the outbox is full."""
    for number in range(2000):
        try:
            yield enqueue(number)
        except OutboxFullError:
            return
    pytest.fail("the outbox is not full")


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"url": "http://example.org/x"}, "url"),
        ({"url": "https://user:hunter2@example.org"}, "url"),
        ({"url": "ftp://127.0.0.1"}, "url"),
        ({"url": None}, "url"),
        ({"secret": "short"}, "secret"),
        ({"secret": None}, "secret"),
        ({"secret": []}, "secret"),
        ({"batch": 0}, "batch"),
        ({"batch": True}, "batch"),
        ({"scheme": "other"}, "scheme"),
        ({"scheme": "canonical"}, "producer_id"),
        ({"headers": {"A": "b\r\nC: d"}}, "headers"),
        ({"headers": {"Content-Length": "7"}}, "headers"),
    ],
)
def test_bad_arguments(tmp_path, options, parameter):
    """What cannot work is refused when the webhook is made, without showing it."""
    given = {"url": "https://127.0.0.1/x", "secret": SECRET, **options}
    with pytest.raises(ConfigurationError) as caught:
        Webhook(outbox=tmp_path / "o.db", config=DeliveryConfig(), **given)
    assert caught.value.parameter == parameter
    assert "hunter2" not in str(caught.value)


def test_nothing_secret_is_shown(receiver, tmp_path, caplog):
    """Neither logs, nor reprs, nor figures show the secret or the query of the URL."""
    caplog.set_level(logging.DEBUG)
    receiver.faults += [500, 404]
    url = receiver.url.replace("v=1", "token=hunter2")
    with make_hook(url, tmp_path, headers={"Authorization": "hunter2"}) as hook:
        hook.send("a.b", 1)
        delivered(hook)
        shown = [repr(hook), repr(hook.outbox), repr(hook.outbox.dead()), repr(hook.outbox.stats())]
        shown += [repr(hook.stats()), repr(DeliveryConfig(url=url, secret=SECRET)), caplog.text]
    for text in shown:
        assert "hunter2" not in text
        assert SECRET not in text


def test_callback_of_results_that_fails(receiver, hook, caplog):
    """An error of a callback is logged, and the others are called."""
    results = []
    hook.results(lambda _result: 1 / 0)
    hook.results(results.append)
    hook.send("a.b", 1)
    delivered(hook)
    hook.close()
    assert [r.state for r in results] == ["delivered"]
    assert "ZeroDivisionError" in caplog.text


def test_closed_webhook(receiver, hook):
    """A closed webhook takes nothing more, and may be closed again."""
    assert hook.close() is True
    with pytest.raises(DeliveryError, match="closed"):
        hook.send("a.b", 1)
    with pytest.raises(DeliveryError, match="closed"):
        hook(SEIS, bar())
    assert hook.close() is True
    assert json.dumps(hook.stats())


def test_two_webhooks_for_one_url(receiver, tmp_path):
    """One of them sends for both."""
    with make_hook(receiver.url, tmp_path) as one, make_hook(receiver.url, tmp_path) as other:
        ids = [one.send("a.b", 1), other.send("a.b", 2)]
        assert one.flush(PATIENCE_S)
        assert other.flush(PATIENCE_S)
        assert sum(hook.stats()["is_owner"] for hook in (one, other)) == 1
    assert sorted(receiver.accepted) == sorted(ids)
    assert len(receiver.requests) == 2


def test_kept_connection_that_the_server_ends(receiver, tmp_path):
    """A connection that the server closed meanwhile costs no attempt."""
    with make_hook(receiver.url, tmp_path, policy=RetryPolicy(base_s=600)) as hook:
        for number in range(3):
            hook.send("a.b", number)
            delivered(hook)
            receiver._server.end_connections()
        assert hook.stats()["retrying"] == 0
    assert len(receiver.requests) == 3


def test_quick_policy_is_quick():
    """The tests' policy keeps the tests short."""
    assert QUICK.delay_s(50) <= 0.05


def test_frames_of_all_kinds(hook, receiver):
    """Columns may stand in any order and be of any type of number; a forming bar is left out."""
    frame = pd.concat([bar(number, close=100.5 + number) for number in range(4)])
    frame["volume"] = pd.array([1, None, 3, 4], dtype="Int64")
    frame["open"] = ["100.25", "100.5", "100.75", "101"]
    frame["low"] = frame["low"].astype("float32")
    frame = frame[["volume", "low", "symbol", "close", "high", "open"]].assign(more="x")
    frame.attrs = {"last_bar_closed": False}
    hook(SEIS, frame)
    delivered(hook)
    data = [body["data"] for body in receiver.bodies()]
    assert [one["close"] for one in data] == [100.5, 101.5, 102.5]
    assert [one["volume"] for one in data] == [1.0, None, 3.0]
    assert [one["open"] for one in data] == [100.25, 100.5, 100.75]
    assert {one["high"] for one in data} == {101.0}


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.drop(columns="close"),
        lambda frame: frame.assign(close="a price"),
        lambda frame: frame.assign(close=object()),
        lambda frame: frame.reset_index(drop=True),
        lambda frame: pd.concat([frame, frame[["close"]]], axis=1),
        lambda frame: frame[[]],
    ],
    ids=["no column", "text", "object", "no moments", "column twice", "no columns"],
)
def test_frame_without_bars(hook, change):
    """What is not a frame of bars is an error that shows the columns which are needed."""
    with pytest.raises(DeliveryError, match="open, high, low, close, volume"):
        hook(SEIS, change(bar()))
    assert hook.outbox.pending() == []


@needs_proc
@pytest.mark.parametrize("is_shared", [False, True])
def test_close_at_once_leaves_no_file_open(receiver, tmp_path, is_shared):
    """A thread that still sends closes what it has opened again."""
    for number in range(20):
        path = tmp_path / f"outbox{number}.db"
        outbox = Outbox(path) if is_shared else path
        hook = make_hook(receiver.url, outbox)
        for place in range(5):
            hook(SEIS, bar(place))
        hook.close(0.0)
        hook.outbox.close()
    assert until(lambda: not open_files("outbox"))


@needs_proc
def test_file_of_a_closed_outbox(receiver, tmp_path):
    """A closed outbox can be read, and its file stays open only for a webhook or a block."""
    outbox = Outbox(tmp_path / "outbox.db")
    with make_hook(receiver.url, outbox):
        assert open_files("outbox.db")
    outbox.close()
    assert outbox.pending() == []
    assert open_files("outbox.db") == []
    with make_hook(receiver.url, outbox) as hook:
        hook.send("a.b", 1)
        assert open_files("outbox.db")
    outbox.close()
    with pytest.raises(OutboxError):
        outbox.drop("evt_unknown")
    assert open_files("outbox.db") == []
    with outbox:
        assert outbox.stats()["delivered"] == 1
        assert open_files("outbox.db")
    assert open_files("outbox.db") == []


def open_files(part):
    """The names of open files that contain a text."""
    links = Path("/proc/self/fd").iterdir()
    return [name for link in links if part in (name := _target(link))]


def _target(link):
    try:
        return str(link.readlink())
    except OSError:
        return ""
