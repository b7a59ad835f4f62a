"""What the operator hears of an outage, and what must not stand in any log."""

import itertools
import logging
import socket
import threading
import time

import pytest

from tests.delivery.hooks import QUICK, bar, make_hook
from tests.delivery.receiver import SECRET, Receiver
from tests.delivery.telegram import CHAT_ID, TOKEN, TOKEN_SECRET, running
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, Seis
from tvDatafeed.delivery import AlertService, DeliveryConfig, RetryPolicy

# An hour of the default policy takes two seconds.
SCALE = 1800.0
POLICY = RetryPolicy(base_s=5.0 / SCALE, max_delay_s=900.0 / SCALE)
SERIES = [Seis(f"S{number}", "TEST", Interval.in_1_minute) for number in range(10)]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("is_listening", [False, True], ids=["refuses", "answers 503"])
def test_an_hour_of_downtime(tmp_path, is_listening):
    """A receiver that is down for an hour is one alert, and its recovery is another one."""
    texts, recovered, results = [], threading.Event(), []

    def chat(text):
        texts.append(text)
        if "reached again" in text:
            recovered.set()

    port = free_port()
    down = Receiver(port) if is_listening else None
    if down is not None:
        down.rule = lambda _request: 503
    url = f"http://127.0.0.1:{port}/hook?v=1"
    with AlertService(chat, repeat_s=0.0) as alerts:
        hook = make_hook(url, tmp_path, policy=POLICY)
        hook.results(results.append)
        alerts.attach(None, hook)
        over = time.monotonic() + 3600 / SCALE
        number = 0
        # A minute of that hour, then a bar of each series.
        while not recovered.wait(60 / SCALE) and time.monotonic() < over:
            for seis in SERIES:
                hook(seis, bar(number))
            number += 1
        assert len(texts) == 1
        if down is not None:
            down.__exit__()
        with Receiver(port) as receiver:
            assert hook.flush(PATIENCE_S)
            assert recovered.wait(PATIENCE_S)
            hook.close()
        assert alerts.flush(PATIENCE_S)
    failures = sum(result.state == "retrying" for result in results)
    reason = r"HTTP 503" if is_listening else "127.0.0.1 cannot be reached"
    assert texts[0].startswith(f"127.0.0.1: 5 attempts in a row failed ({reason}")
    assert texts[1:] == [f"127.0.0.1 is reached again after {failures} failed attempts"]
    assert len(receiver.accepted) == number * len(SERIES)


@pytest.mark.parametrize("scheme", ["standard", "canonical"])
def test_the_canary(tmp_path, caplog, capfd, monkeypatch, scheme):
    """With every logger at DEBUG, neither secret, nor bot token, nor chat id appear anywhere."""
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "urllib3.connectionpool", "requests", "asyncio", "tvDatafeed"):
        caplog.set_level(logging.DEBUG, logger=name)
    secrets = [SECRET, SECRET.removeprefix("whsec_"), TOKEN, TOKEN_SECRET, CHAT_ID, "hunter2"]
    shown, results = [], []
    # A clock that jumps, so that no pause of the alerts is waited for.
    clock = map(float, itertools.count(step=10_000)).__next__
    options = {"repeat_s": 0.0, "clock": clock, "wait": lambda _seconds: None}
    with running() as bot, AlertService(bot.sender(), **options) as alerts:
        for status in (429, 401, 500):
            bot.refuse(status, f"/bot{TOKEN}/sendMessage for {CHAT_ID}")
        with Receiver() as receiver:
            url = receiver.url.replace("v=1", "token=hunter2")
            receiver.faults += [500, "drop", "reset", "cut", 503, 404, (302, {"Location": url})]
            receiver.faults += [(400, {"X-Echo": SECRET})]
            options = {"headers": {"Authorization": "Bearer hunter2"}, "scheme": scheme}
            with make_hook(
                url,
                tmp_path,
                policy=QUICK,
                config=DeliveryConfig(timeout=5, producer_id="desk-1"),
                **options,
            ) as hook:
                hook.results(results.append)
                alerts.attach(None, hook)
                for number in range(4):
                    hook(SERIES[0], bar(number))
                    hook.send("signal.created", number, key=f"signal {number}")
                assert hook.flush(PATIENCE_S)
                receiver.faults += [410]
                hook.send("signal.created", "gone")
                receiver.wait_for(14, PATIENCE_S)
                assert not hook.flush(0.3)
                shown += [repr(hook), repr(hook.outbox), hook.stats(), hook.outbox.stats()]
                shown += [hook.outbox.dead(), hook.outbox.pending()]
        alerts.send_owner_alert("an alert")
        alerts.flush(PATIENCE_S)
        shown += [repr(alerts), results]
    assert {result.state for result in results} == {"delivered", "retrying", "dead"}
    assert bot.texts
    records = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.DEBUG)
    texts = [*records, *capfd.readouterr(), *map(str, shown), *bot.texts]
    for secret in secrets:
        assert [text for text in texts if secret in text] == []


class Attempts(logging.Handler):
    """Counts the failures of the sender by level."""

    def __init__(self):
        super().__init__()
        self.levels = []
        self.came = threading.Semaphore(0)

    def emit(self, record):
        if "cannot be sent for now" in record.getMessage():
            self.levels.append(record.levelname)
            self.came.release()


@pytest.mark.slow
def test_a_file_that_does_not_work_is_one_warning(tmp_path):
    """While the lock of the sender cannot be opened, there is one WARNING; nothing is lost."""
    attempts, library = Attempts(), logging.getLogger("tvDatafeed.delivery")
    level = library.level
    library.addHandler(attempts)
    library.setLevel(logging.DEBUG)
    try:
        with Receiver() as receiver:
            with make_hook(receiver.url, tmp_path) as hook:
                hook(SERIES[0], bar(0))
                assert hook.flush(PATIENCE_S)
            (lock,) = tmp_path.glob("*.owner")
            lock.unlink()
            lock.mkdir()
            with make_hook(receiver.url, tmp_path) as hook:
                hook(SERIES[0], bar(1))
                for _attempt in range(3):
                    assert attempts.came.acquire(timeout=PATIENCE_S)
                lock.rmdir()
                assert hook.flush(PATIENCE_S)
        assert len(receiver.requests) == 2
    finally:
        library.setLevel(level)
        library.removeHandler(attempts)
    assert attempts.levels[:3] == ["WARNING", "DEBUG", "DEBUG"]
