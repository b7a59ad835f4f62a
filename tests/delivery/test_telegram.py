"""Messages to Telegram: what is sent, what each answer means, and that no secret is shown."""

import doctest
import gc
import io
import logging
import socket
import threading
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.delivery.telegram import CHAT_ID, TOKEN, TOKEN_SECRET, running
from tests.scale import scaled
from tvDatafeed.config import NetworkConfig, TelegramConfig
from tvDatafeed.delivery import AlertService, TelegramSender, telegram
from tvDatafeed.exceptions import (
    ConfigurationError,
    DeliveryError,
    NetworkError,
    RateLimitError,
    TvDatafeedError,
)

SECRETS = (TOKEN, TOKEN_SECRET, CHAT_ID)


@pytest.fixture
def bot():
    with running() as fake:
        yield fake


@pytest.fixture
def records():
    """All records of all loggers, as a handler at DEBUG formats them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    root = logging.getLogger()
    before = root.level
    names = ("urllib3", "urllib3.connectionpool", "urllib3.util.retry", "requests", "tvDatafeed")
    levels = {name: logging.getLogger(name).level for name in names}
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def fails_with(error_class, sender, text="text"):
    with pytest.raises(error_class) as caught:
        sender(text)
    assert_silent(caught.value)
    return caught.value


def assert_silent(error):
    """Expect no secret in an error, its causes and their tracebacks."""
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += f"{error!s} {error!r} {vars(error)} {error.args}"
        error = error.__cause__ or error.__context__
    for secret in SECRETS:
        assert secret not in shown


def test_a_message(bot):
    """A text goes to the chat as it is, without markup, to the bot's path."""
    bot.sender()("<b>*AAPL* & co</b>\n2nd line")
    assert bot.paths == [f"/bot{TOKEN}/sendMessage"]
    assert bot.messages == [
        {
            "chat_id": CHAT_ID,
            "text": "<b>*AAPL* & co</b>\n2nd line",
            "link_preview_options": {"is_disabled": True},
        }
    ]


@pytest.mark.parametrize("character", ["a", "é", "\N{CHART WITH UPWARDS TREND}", "\ud800"])
def test_long_messages_are_cut(bot, character):
    """No text is longer than the 4096 units that Telegram accepts, and no character is cut."""
    bot.sender()(character * 5000)
    (text,) = bot.texts
    assert len(text.encode("utf-16-le")) // 2 in {4095, 4096}
    assert text.endswith("...")
    assert "\ufffd" not in text


@given(st.text(max_size=100), st.integers(0, 5000))
def test_any_text_is_sendable(text, times):
    """Any text becomes one that UTF-8 can express, of at most 4096 units."""
    short = telegram.shortened(text * times)
    assert len(short.encode("utf-16-le")) // 2 <= 4096
    short.encode("utf-8")


def test_the_token_is_not_sent_as_text(bot):
    """An alert that holds the token by mistake does not show it in the chat."""
    bot.sender()(f"error at /bot{TOKEN}/sendMessage")
    assert TOKEN_SECRET not in bot.texts[0]


def test_too_many_requests(bot):
    """The pause that Telegram asks for is in the error, at most an hour."""
    for asked, expected in ((7, 7), (10**9, 3600), (-1, 1), ("soon", 1), (True, 1)):
        bot.refuse(429, "Too Many Requests: retry later", parameters={"retry_after": asked})
        error = fails_with(RateLimitError, bot.sender())
        assert (error.retry_after, error.retryable) == (expected, True)
    bot.answer(429, b"<html>", {"Retry-After": "12"})
    assert fails_with(RateLimitError, bot.sender()).retry_after == 12
    bot.refuse(429, "Too Many Requests", parameters=["retry_after"])
    assert fails_with(RateLimitError, bot.sender()).retry_after == 1


@pytest.mark.parametrize(
    ("status", "description", "word"),
    [
        (400, "Bad Request: chat not found", "TV_TELEGRAM_CHAT_ID"),
        (401, "Unauthorized", "TV_TELEGRAM_TOKEN"),
        (403, "Forbidden: bot was blocked by the user", "blocked"),
        (404, "Not Found", "TV_TELEGRAM_URL"),
    ],
)
def test_refusals(bot, status, description, word):
    """A refusal is final, has Telegram's own reason, and names what to do."""
    bot.refuse(status, f"{description} {TOKEN} {CHAT_ID}")
    error = fails_with(DeliveryError, bot.sender())
    assert error.retryable is False
    assert description in str(error)
    assert word in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>a captive portal</html>"),
        (200, b""),
        (200, b"[]"),
        (200, {"ok": "true"}),
        (200, {"result": {}}),
        (302, b""),
        (400, b"<html>"),
        (500, b"<html>"),
        (502, {"ok": False, "description": 7}),
    ],
)
def test_answers_of_something_else(bot, status, body):
    """An answer that is not that of a bot API is an error; one of a broken server may pass."""
    bot.answer(status, body)
    error = fails_with(DeliveryError, bot.sender())
    assert error.retryable is (status >= 500)
    assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(bot, status):
    """A message goes to no other place, also on the same server."""
    bot.answer(status, b"", {"Location": "/elsewhere"})
    fails_with(DeliveryError, bot.sender())
    assert len(bot.paths) == 1


def test_an_answer_of_another_protocol():
    """The error names the setting of Telegram's URL, and none of TradingView's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_reset, args=(server,))
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        sender = TelegramSender(TOKEN, CHAT_ID, base_url=url, network=NetworkConfig())
        text = str(fails_with(NetworkError, sender))
        thread.join()
    assert "TV_TELEGRAM_URL" in text
    assert "TV_BASE_URL" not in text


def _reset(server):
    connection, _address = server.accept()
    with connection:
        connection.recv(1)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_server_that_does_not_answer(bot, monkeypatch):
    """A slow server ends at the deadline, with an error that may pass."""
    monkeypatch.setattr(telegram, "_DEADLINE_S", scaled(0.2))
    bot.hold = threading.Event()
    error = fails_with(NetworkError, bot.sender())
    bot.hold.set()
    assert error.retryable is True


def test_no_server():
    """Where nothing listens, the error may pass."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        sender = TelegramSender(TOKEN, CHAT_ID, base_url=url, network=NetworkConfig())
        assert fails_with(NetworkError, sender).retryable is True


@pytest.mark.parametrize("token", ["", "abc", "1:", ":a", "1:a b", "1:a/b", "1:ä", None, 1, b"1:a"])
def test_bad_tokens(token):
    """A token is checked when the sender is made."""
    with pytest.raises(ConfigurationError) as caught:
        TelegramSender(token, CHAT_ID, network=NetworkConfig())
    assert caught.value.parameter == "token"


@pytest.mark.parametrize("chat_id", ["", "  ", None, 1.5, True, b"1", f"{CHAT_ID}\n1"])
def test_bad_chats(chat_id):
    """A chat is checked when the sender is made, and not shown."""
    with pytest.raises(ConfigurationError) as caught:
        TelegramSender(TOKEN, chat_id, network=NetworkConfig())
    assert caught.value.parameter == "chat_id"
    assert_silent(caught.value)


@pytest.mark.parametrize("url", ["http://api.telegram.org", "ftp://h", "https://u:p@h", None])
def test_bad_urls(url):
    """A token goes to no server without TLS, except for this machine."""
    with pytest.raises(ConfigurationError) as caught:
        TelegramSender(TOKEN, CHAT_ID, base_url=url, network=NetworkConfig())
    assert caught.value.parameter == "base_url"


def test_a_number_is_a_chat(bot):
    """The number of a chat may be an int."""
    TelegramSender(TOKEN, 42, base_url=f"{bot.url}/", network=NetworkConfig())("text")
    assert bot.messages[0]["chat_id"] == "42"
    assert bot.paths == [f"/bot{TOKEN}/sendMessage"]


def test_the_canary(bot, records, caplog):
    """With every logger at DEBUG, neither token nor chat appear in a record, error or repr."""
    caplog.set_level(logging.DEBUG)
    sender = bot.sender()
    with AlertService(sender, repeat_s=0, clock=Clock(), wait=lambda _s: None) as alerts:
        sender("direct")
        for status in (200, 302, 400, 401, 429, 500):
            bot.refuse(status, f"{status} /bot{TOKEN}/sendMessage for {CHAT_ID}")
            with pytest.raises(TvDatafeedError) as caught:
                sender("direct")
            assert_silent(caught.value)
        bot.answer(200, b"\x00" * 10, {"Content-Encoding": "gzip"})
        fails_with(DeliveryError, sender)
        bot.answer(302, b"", {"Location": f"http://localhost:1/bot{TOKEN}/x"})
        fails_with(DeliveryError, sender)
        bot.refuse(401, f"/bot{TOKEN}/ for {CHAT_ID}")
        alerts.send_owner_alert("an alert that is refused")
        alerts.flush()
        shown = f"{sender!r} {alerts!r} {sender} {TelegramConfig(token=TOKEN, chat_id=CHAT_ID)!r}"
    text = records.getvalue() + caplog.text + shown
    assert "an alert was not sent" in text
    for secret in SECRETS:
        assert secret not in text
    for record in caplog.records:
        assert not any(secret in f"{vars(record)}" for secret in SECRETS)
    gc.collect()


class Clock:
    """A clock that jumps, so that no pause is waited for."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 10_000.0
        return self.now


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(telegram).failed == 0
