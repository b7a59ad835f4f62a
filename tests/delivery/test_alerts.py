"""Alerts: how many are sent, what is folded, what they say, and that they harm no feed."""

import collections
import contextlib
import datetime as dt
import doctest
import logging
import os
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.delivery.hooks import make_hook
from tests.delivery.receiver import Receiver
from tests.delivery.telegram import CHAT_ID, TOKEN, running
from tests.loopback import NOW, impatient
from tests.programs import start as start_program
from tests.scale import PATIENCE_S, at_most
from tvDatafeed import Interval, TvDatafeedLive, delivery
from tvDatafeed.delivery import AlertService, Outbox, alertbook, alerts
from tvDatafeed.exceptions import (
    ConfigurationError,
    ConsumerError,
    DeliveryError,
    NetworkError,
    OutboxFullError,
    RateLimitError,
    SlowConsumerError,
)
from tvDatafeed.testing import FakeTradingView, MarketClock, Refusal


class Clock:
    """Seconds that pass only while a service waits, or as a test says."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        assert seconds > 0
        self.now += seconds


class Chat:
    """A sender that records when each text came, and fails with errors in order."""

    def __init__(self, clock=time.monotonic, *errors):
        self.clock = clock
        self.errors = list(errors)
        self.sent = []

    def __call__(self, text):
        self.sent.append((self.clock(), text))
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error

    @property
    def texts(self):
        return [text for _moment, text in self.sent]


def service(*errors, **options):
    """A service with a clock that jumps over each wait, and its chat."""
    clock = Clock()
    chat = Chat(clock, *errors)
    return AlertService(chat, clock=clock, wait=clock.wait, **options), chat, clock


def most_in_a_minute(moments):
    """Return the most moments within any 60 seconds."""
    window, most = collections.deque(), 0
    for moment in moments:
        window.append(moment)
        while window[0] <= moment - 60:
            window.popleft()
        most = max(most, len(window))
    return most


def test_a_storm():
    """Of a thousand different alerts at once a hundred wait, and at most 20 a minute are sent."""
    clock, first = Clock(), threading.Event()
    chat = Chat(clock)
    box = AlertService(lambda t: first.wait(PATIENCE_S) and chat(t), clock=clock, wait=clock.wait)
    accepted = [box.send_owner_alert(f"alert {n}") for n in range(1000)]
    first.set()
    assert box.close(PATIENCE_S)
    # One may have been taken from the queue already.
    assert sum(accepted) in {100, 101}
    assert len(chat.sent) == sum(accepted)
    assert most_in_a_minute([moment for moment, _text in chat.sent]) == 20
    assert chat.texts[-1] == f"alert {sum(accepted) - 1}"
    assert any("other alerts were dropped" in text for text in chat.texts)


@given(
    st.integers(1, 30),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50)), max_size=200),
)
def test_the_limit_per_minute(per_minute, events):
    """Whenever alerts come, no 60 seconds see more of them sent than the limit."""
    book, now, moments = alertbook.AlertBook(per_minute, 0.0), 0, []
    for pause_s, number in events:
        now += pause_s
        book.add(f"alert {number}", now)
        while isinstance(book.take(now), alertbook.Alert):
            moments.append(now)
    assert most_in_a_minute(moments) <= per_minute
    while (due := book.take(now)) is not None:
        if isinstance(due, alertbook.Alert):
            moments.append(now)
        else:
            now += due
    assert most_in_a_minute(moments) <= per_minute


def test_folding():
    """An equal text within ten minutes is counted; the next one after them says how often."""
    box, chat, clock = service()
    for _time in range(1000):
        assert box.send_owner_alert("no connection") is True
        clock.now += 0.1
    assert box.send_owner_alert("another") is True
    assert box.flush(PATIENCE_S)
    clock.now += 600
    box.send_owner_alert("no connection")
    assert box.flush(PATIENCE_S)
    clock.now += 600
    box.send_owner_alert("no connection")
    box.close()
    assert chat.texts == [
        "no connection",
        "another",
        "no connection (999 more like this since the last one)",
        "no connection",
    ]


def test_folding_is_bounded():
    """The texts that are remembered are a thousand at the most."""
    book = alertbook.AlertBook(10**6, 1e9)
    for number in range(5000):
        book.add(f"alert {number}", 0.0)
        book.take(0.0)
    assert book.add("alert 4999", 1.0) is True
    assert book.take(1.0) is None
    assert book.add("alert 0", 1.0) is True
    assert book.take(1.0) == alertbook.Alert("alert 0", "alert 0")


def test_a_pause_that_telegram_asks_for():
    """After Telegram's refusal nothing is sent for as long as it says, and then the same alert."""
    box, chat, _clock = service(RateLimitError(retry_after=90), NetworkError("no route"))
    box.send_owner_alert("one")
    box.close()
    moments = [moment - 1000 for moment, _text in chat.sent]
    assert chat.texts == ["one"] * 3
    assert moments == [0, 90, 100]


def test_an_alert_that_cannot_be_sent(caplog):
    """After an hour, or a refusal, an alert is dropped and logged, and the next one is sent."""
    box, chat, _clock = service(*[NetworkError("no route")] * 20, DeliveryError("chat not found"))
    for text in ("one", "two", "three"):
        box.send_owner_alert(text)
    box.close()
    assert chat.texts == ["one"] * 20 + ["two", "three"]
    assert 3600 < chat.sent[20][0] - chat.sent[0][0] < 2 * 3600
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == [
        "an alert was not sent: no route",
        "an alert was not sent: chat not found",
    ]


def test_an_equal_alert_after_one_that_was_not_sent():
    """Alerts are folded into one that was sent, not into one that was lost."""
    box, chat, _clock = service(DeliveryError("refused"))
    box.send_owner_alert("one")
    assert box.flush(PATIENCE_S)
    box.send_owner_alert("one")
    box.send_owner_alert("one")
    box.close()
    assert chat.texts == ["one", "one (1 more like this since the last one)"]


@pytest.mark.parametrize("error", [ValueError("hunter2"), SystemExit(1), KeyboardInterrupt()])
def test_a_sender_that_raises(error, caplog):
    """A sender may raise anything: the caller notices nothing, and the next alert is sent."""
    box, chat, _clock = service(error)
    assert box.send_owner_alert("one") is True
    assert box.send_owner_alert("two") is True
    box.close()
    assert chat.texts == ["one", "two"]
    assert type(error).__name__ in caplog.text
    assert "hunter2" not in caplog.text


def test_a_slow_sender_blocks_no_caller():
    """Alerts return at once while the sender hangs."""
    hold, chat = threading.Event(), Chat()
    box = AlertService(lambda text: hold.wait(PATIENCE_S) and chat(text))
    with at_most(1.0):
        accepted = [box.send_owner_alert(f"alert {number}") for number in range(300)]
        assert box.flush(0.01) is False
        assert box.close(0.01) is False
    assert accepted[0] is True
    assert accepted[-1] is False
    hold.set()
    assert box.flush(PATIENCE_S)


class Hostile:
    """An object that has no text."""

    def __str__(self):
        raise RuntimeError("hunter2")


@pytest.mark.parametrize("text", [Hostile(), "", "  \n", None, 7, b"bytes", "\ud800"])
def test_any_argument(text, caplog):
    """No argument raises; what has no text is not sent."""
    box, chat, _clock = service()
    accepted = box.send_owner_alert(text)
    box.send_signal_delivery_error(text, text)
    box.close()
    assert accepted is (
        not (isinstance(text, Hostile) or (isinstance(text, str) and not text.strip()))
    )
    assert "hunter2" not in caplog.text
    assert len(chat.sent) <= 2


def test_a_delivery_error():
    """A message that was not delivered is named, with its error in one line."""
    box, chat, _clock = service()
    box.send_signal_delivery_error("sig-1", DeliveryError("HTTP 400\nTraceback"))
    box.send_signal_delivery_error("sig-2", OSError("https://host/hunter2"))
    box.send_signal_delivery_error("sig-3", "x" * 9999)
    box.close()
    assert chat.texts[:2] == [
        "sig-1 was not delivered: HTTP 400\\nTraceback",
        "sig-2 was not delivered: OSError",
    ]
    assert len(chat.texts[2]) < 400


def test_without_a_sender():
    """Without a sender no alert is accepted, and no thread starts."""
    before = threading.active_count()
    box = AlertService()
    assert box.send_owner_alert("text") is False
    assert box.send_signal_delivery_error("id", "error") is False
    assert threading.active_count() == before
    assert box.flush(0) is True
    assert "without a sender" in repr(box)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sender", "text"),
        ("per_minute", 0),
        ("per_minute", 1.5),
        ("repeat_s", -1),
        ("repeat_s", float("nan")),
        ("repeat_s", "ten"),
    ],
)
def test_bad_parameters(name, value):
    """A service that cannot work cannot be made."""
    with pytest.raises(ConfigurationError) as caught:
        AlertService(**{"sender": print, name: value})
    assert caught.value.parameter == name


def test_closing_drops_what_must_wait():
    """A service that is closed while it waits for its limit ends at once, and works again later."""
    chat = Chat()
    box = AlertService(chat, per_minute=1)
    for text in ("one", "two"):
        box.send_owner_alert(text)
    with at_most(2.0):
        assert box.close(0.05) is False
    assert chat.texts == ["one"]
    assert box.flush(PATIENCE_S)
    later = AlertService(chat)
    later.send_owner_alert("three")
    assert later.close(PATIENCE_S) is True
    assert later.send_owner_alert("four") is True
    assert later.close(PATIENCE_S) is True
    assert chat.texts == ["one", "three", "four"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child():
    """A child does not send its parent's alerts, and can send its own."""
    hold, chat = threading.Event(), Chat()
    box = AlertService(lambda text: hold.wait(PATIENCE_S) and chat(text))
    box.send_owner_alert("parent")
    box.send_owner_alert("waits")
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        hold.set()
        is_good = box.send_owner_alert("child") and box.close(PATIENCE_S)
        os._exit(0 if is_good and chat.texts == ["child"] else 1)
    _pid, status = os.waitpid(child, 0)
    hold.set()
    box.close(PATIENCE_S)
    assert status == 0
    assert chat.texts == ["parent", "waits"]


@pytest.fixture
def bot(monkeypatch):
    """The stand-in of Telegram, which the environment names."""
    with running() as fake:
        monkeypatch.setenv("TV_TELEGRAM_TOKEN", TOKEN)
        monkeypatch.setenv("TV_TELEGRAM_CHAT_ID", CHAT_ID)
        monkeypatch.setenv("TV_TELEGRAM_URL", fake.url)
        yield fake


def test_from_the_environment(bot):
    """The service of the environment sends to the bot's chat."""
    with AlertService.from_env() as box:
        assert box.send_owner_alert("text") is True
    assert bot.texts == ["text"]


def test_the_functions_of_the_module(bot, monkeypatch):
    """The functions use one service for one environment, and another for another."""
    for _time in range(3):
        assert delivery.send_owner_alert("the same text") is True
    assert delivery.send_signal_delivery_error("sig-1", DeliveryError("refused")) is True
    bot.wait(2)
    assert bot.texts == ["the same text", "sig-1 was not delivered: refused"]
    monkeypatch.setenv("TV_TELEGRAM_CHAT_ID", "another")
    assert delivery.send_owner_alert("the same text") is True
    bot.wait()
    assert bot.messages[-1]["chat_id"] == "another"


def test_the_pause_of_a_real_answer(bot):
    """The alert that Telegram has refused with 429 is sent again after the pause it asks for."""
    clock = Clock()
    bot.refuse(429, "Too Many Requests: retry after 33", parameters={"retry_after": 33})
    with AlertService(bot.sender(), clock=clock, wait=clock.wait) as box:
        box.send_owner_alert("text")
        assert box.flush(PATIENCE_S)
    assert bot.texts == ["text", "text"]
    assert clock.now == 1033


def test_no_environment(monkeypatch, caplog):
    """Without a bot, or with half of one, no function raises."""
    for name in ("TV_TELEGRAM_TOKEN", "TV_TELEGRAM_CHAT_ID", "TV_TELEGRAM_URL"):
        monkeypatch.delenv(name, raising=False)
    assert delivery.send_owner_alert("text") is False
    assert delivery.send_signal_delivery_error("id", OSError()) is False
    assert caplog.records == []
    for name, value in (("TV_TELEGRAM_TOKEN", TOKEN), ("TV_TELEGRAM_TOKEN", "1 hunter2")):
        monkeypatch.setenv(name, value)
        assert delivery.send_owner_alert("text") is False
        with pytest.raises(ConfigurationError):
            AlertService.from_env()
    assert "TV_TELEGRAM_CHAT_ID" in caplog.text
    assert TOKEN not in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.slow
def test_the_last_alert_of_a_program(bot):
    """An alert of a program that ends at once, here by an error, is sent."""
    program = (
        "from tvDatafeed.delivery import send_owner_alert\n"
        "assert send_owner_alert('the program ends')\n"
        "raise SystemExit(3)\n"
    )
    variables = {
        "TV_TELEGRAM_TOKEN": TOKEN,
        "TV_TELEGRAM_CHAT_ID": CHAT_ID,
        "TV_TELEGRAM_URL": bot.url,
    }
    with start_program("-c", program, **variables) as process:
        process.communicate()
    assert process.returncode == 3
    assert bot.texts == ["the program ends"]


class Hook:
    """What `attach` needs of a webhook."""

    url = "https://hooks.example.org/T0/hunter2"

    def __init__(self):
        self.callbacks = []
        self.refused = []

    def results(self, callback):
        self.callbacks.append(callback)

    def refusals(self, callback):
        self.refused.append(callback)

    def result(self, state, status=None, error=None, message_id="bar_1"):
        made = SimpleNamespace(
            id=message_id,
            type="bar.closed",
            lane="x",
            state=state,
            status=status,
            attempts=1,
            seconds=0.1,
            error=error,
        )
        for callback in self.callbacks:
            callback(made)


def watched():
    box, chat, _clock = service(repeat_s=0.0)
    hook = Hook()
    box.attach(None, hook)
    return box, chat, hook


def test_an_outage_of_a_destination():
    """The fifth failure in a row is an alert, once until the destination is reached again."""
    box, chat, hook = watched()
    for episode in range(2):
        for failure in range(1, 51):
            hook.result("retrying", error=NetworkError("no route") if failure % 2 else None)
            assert box.flush(PATIENCE_S)
            assert len(chat.sent) == 2 * episode + (failure >= 5)
        for _time in range(3):
            hook.result("delivered", 200)
    box.close()
    assert (
        chat.texts
        == [
            "hooks.example.org: 5 attempts in a row failed (no route)",
            "hooks.example.org is reached again after 50 failed attempts",
        ]
        * 2
    )


def test_failures_that_pass():
    """Four failures and a success are no alert, however often."""
    box, chat, hook = watched()
    for _time in range(20):
        for _failure in range(4):
            hook.result("retrying", 503)
        hook.result("delivered", 200)
    box.close()
    assert chat.texts == []


def test_dead_letters():
    """The first message of an episode that is given up is an alert; the end has their number."""
    box, chat, hook = watched()
    for number in range(1, 8):
        hook.result("dead", 400, message_id=f"bar_{number}")
    hook.result("delivered", 204)
    hook.result("dead", 422, message_id="bar_8")
    box.close()
    assert chat.texts == [
        "hooks.example.org: the message bar_1 was given up (HTTP 400)",
        "hooks.example.org: 5 attempts in a row failed (HTTP 400)",
        "hooks.example.org is reached again after 7 failed attempts; messages given up: 7",
        "hooks.example.org: the message bar_8 was given up (HTTP 422)",
    ]


def test_a_destination_that_is_gone():
    """The answer 410 is an alert at once, and so is the recovery."""
    box, chat, hook = watched()
    hook.result("retrying", 410)
    hook.result("retrying", 410)
    hook.result("delivered", 200)
    box.close()
    assert chat.texts == [
        "hooks.example.org answers 410 Gone: it is disabled, and messages wait",
        "hooks.example.org is reached again after 2 failed attempts",
    ]


def test_a_full_outbox():
    """A full outbox is an alert, once an episode."""
    box, chat, hook = watched()
    for _episode in range(2):
        for _time in range(3):
            for callback in hook.refused:
                callback(OutboxFullError("the outbox is full"))
        hook.result("delivered", 200)
    box.close()
    assert chat.texts == ["The outbox of hooks.example.org is full"] * 2


def test_alerts_of_a_webhook(tmp_path):
    """A webhook's outage, its recovery, a message that is refused and a full outbox are alerts."""
    box, chat, _clock = service(repeat_s=0.0)
    with Receiver() as receiver, make_hook(receiver.url, tmp_path) as hook:
        box.attach(None, hook)
        receiver.faults += [503] * 5
        hook.send("a.b", 1)
        assert hook.flush(PATIENCE_S)
        receiver.faults += [400]
        refused = hook.send("a.b", 2)
        assert hook.flush(PATIENCE_S)
    outbox = Outbox(tmp_path / "full.db", max_bytes=256_000)
    with Receiver() as receiver, make_hook(receiver.url, outbox) as hook:
        receiver.rule = lambda _request: 503
        box.attach(None, hook)
        with contextlib.suppress(OutboxFullError):
            for _number in range(100):
                hook.send("a.b", "x" * 10_000)
        hook.close(0.0)
    outbox.close()
    box.close()
    # The outage of the second receiver may be an alert too.
    assert chat.texts[:3] == [
        "127.0.0.1: 5 attempts in a row failed (HTTP 503)",
        "127.0.0.1 is reached again after 5 failed attempts",
        f"127.0.0.1: the message {refused} was given up (HTTP 400)",
    ]
    assert "The outbox of 127.0.0.1 is full" in chat.texts[3:]


def test_no_path_of_a_url_is_shown():
    """The path of a destination may be its secret: alerts name the host alone."""
    box, chat, hook = watched()
    for _time in range(5):
        hook.result("dead", None, OSError("https://hooks.example.org/T0/hunter2"))
    box.close()
    assert len(chat.texts) == 2
    assert "hunter2" not in "".join(chat.texts)


def feed(**hooks):
    """An object with a feed's hooks, set as a program did."""
    names = ("on_gap", "on_state", "on_error")
    return SimpleNamespace(**{name: hooks.get(name) for name in names})


SEIS = SimpleNamespace(symbol="AAPL", exchange="NASDAQ", interval=Interval.in_1_minute)
CONSUMER = SimpleNamespace(seis=SEIS)
NAME = "NASDAQ:AAPL 1 minute"


def test_hooks_of_a_feed():
    """A gap, a Seis that fails, a slow consumer and a full outbox are alerts; the rest is not."""
    box, chat, _clock = service()
    tvl = feed(on_error=lambda *_a: None)
    box.attach(tvl)
    start, end = (dt.datetime(2026, 8, 14, hour, tzinfo=dt.timezone.utc) for hour in (1, 2))
    tvl.on_error(SEIS, NetworkError("no route"))
    tvl.on_gap(SEIS, start, end)
    for state in ("STARTING", "LIVE", "RECONNECTING", "FAILED"):
        tvl.on_state(SEIS, state)
    tvl.on_error(SEIS, DeliveryError("symbol was delisted"))
    tvl.on_state(SEIS, "STARTING")
    tvl.on_error(SEIS, NetworkError("no route"))
    tvl.on_error(CONSUMER, SlowConsumerError("slow", SEIS))
    tvl.on_error(SEIS, SlowConsumerError("slow", SEIS))
    tvl.on_error(CONSUMER, OutboxFullError("full"))
    ended = ConsumerError("the consumer has ended", SEIS)
    ended.__cause__ = OutboxFullError("full")
    tvl.on_error(CONSUMER, ended)
    tvl.on_error(CONSUMER, ZeroDivisionError())
    box.close()
    assert chat.texts == [
        f"{NAME}: bars from {start} to {end} were missed and cannot be had",
        f"{NAME} has failed",
        f"{NAME} has failed: symbol was delisted",
        f"{NAME}: a consumer is slower than the bars come, and bars are dropped",
        f"{NAME}: a message was not accepted, because the outbox is full",
    ]


def test_hooks_that_are_set_are_kept():
    """Hooks of the program are called as before, with the same arguments."""
    calls = []
    tvl = feed(
        on_gap=lambda *a: calls.append(("gap", *a)),
        on_state=lambda *a: calls.append(("state", *a)),
        on_error=lambda *a: calls.append(("error", *a)),
    )
    box, _chat, _clock = service()
    box.attach(tvl)
    error = ZeroDivisionError()
    tvl.on_gap(SEIS, 1, 2)
    tvl.on_state(SEIS, "FAILED")
    tvl.on_error(CONSUMER, error)
    tvl.on_gap(None, Hostile(), Hostile())
    box.close()
    assert calls[:3] == [
        ("gap", SEIS, 1, 2),
        ("state", SEIS, "FAILED"),
        ("error", CONSUMER, error),
    ]
    assert len(calls) == 4


def test_errors_without_a_hook(capsys):
    """Where the program has no hook, an error is an alert, and nothing is printed."""
    tvl = feed()
    box, chat, _clock = service()
    box.attach(tvl)
    tvl.on_error(CONSUMER, OutboxFullError("made up"))
    assert box.close(PATIENCE_S) is True
    assert capsys.readouterr() == ("", "")
    (text,) = chat.texts
    assert "was not accepted" in text


def test_a_real_feed_is_not_blocked():
    """While Telegram hangs, a live feed delivers each bar, and its gap is an alert in the end."""
    hold, chat = threading.Event(), Chat()
    box = AlertService(lambda text: hold.wait(PATIENCE_S) and chat(text))
    came = threading.Semaphore(0)
    market = FakeTradingView(clock=MarketClock(NOW, speed=0))
    with market as server, TvDatafeedLive(config=server.config()) as tvl:
        box.attach(tvl)
        seis = tvl.new_seis("BTCUSD", "BITSTAMP", Interval.in_1_minute)

        def fail(_seis, _data):
            came.release()
            raise OutboxFullError("the outbox is full")

        tvl.new_consumer(seis, fail)
        for _bar in range(3):
            assert came.acquire(timeout=PATIENCE_S)
            server.step(60)
    assert chat.texts == []
    hold.set()
    assert box.close(PATIENCE_S) is True
    assert chat.texts == [
        "BITSTAMP:BTCUSD 1 minute: a message was not accepted, because the outbox is full"
    ]


def test_a_series_of_a_real_feed_that_fails():
    """A symbol that TradingView refuses after an outage is an alert with its reason."""
    chat = Chat()
    market = FakeTradingView(clock=MarketClock(NOW, speed=0))
    with market as server, TvDatafeedLive(config=impatient(server)) as tvl:
        with AlertService(chat) as box:
            box.attach(tvl)
            failed = threading.Event()
            hook = tvl.on_error
            tvl.on_error = lambda *arguments: (hook(*arguments), failed.set())
            seis = tvl.new_seis("BTCUSD", "BITSTAMP", Interval.in_1_minute)
            tvl.new_consumer(seis, lambda _seis, _data: None)
            server.refuse("BITSTAMP:BTCUSD", Refusal("symbol_error", "permission denied"))
            server.drop_connections()
            assert failed.wait(PATIENCE_S)
    assert chat.texts[0] == "BITSTAMP:BTCUSD 1 minute has failed"
    assert chat.texts[1].startswith("BITSTAMP:BTCUSD 1 minute has failed: ")
    assert "permission denied" in chat.texts[1]


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(alerts).failed == 0
