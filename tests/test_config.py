"""The settings: defaults, environment, checks, and the example file that documents them."""

import copy
import dataclasses
import doctest
import itertools
import math
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed import config
from tvDatafeed.config import (
    DEFAULT_CONFIG,
    AuthConfig,
    DataConfig,
    DeliveryConfig,
    NetworkConfig,
    RedisConfig,
    StoreConfig,
    TelegramConfig,
    ThreadingConfig,
    TvDatafeedConfig,
    environment_variables,
    notify_socket,
    validate_timeout,
    watchdog_s,
)
from tvDatafeed.exceptions import ConfigurationError

SECTIONS = [
    NetworkConfig,
    AuthConfig,
    DataConfig,
    ThreadingConfig,
    StoreConfig,
    TvDatafeedConfig,
    DeliveryConfig,
    TelegramConfig,
    RedisConfig,
]
# They are not part of TvDatafeedConfig: they belong to optional parts of the library.
OTHER_SECTIONS = (DeliveryConfig, TelegramConfig, RedisConfig)

DEFAULTS = {
    NetworkConfig: {
        "ws_url": "wss://data.tradingview.com/socket.io/websocket",
        "base_url": "https://www.tradingview.com",
        "search_url": "https://symbol-search.tradingview.com/symbol_search/v3/",
        "ws_headers": {"Origin": "https://data.tradingview.com"},
        "connect_timeout": 10.0,
        "send_timeout": 5.0,
        "recv_timeout": 30.0,
        "max_response_time": 60.0,
        "max_retries": 3,
        "base_retry_delay": 2.0,
        "max_retry_delay": 60.0,
        "requests_per_minute": 60,
        "burst_size": 10,
        "failure_threshold": 5,
        "recovery_timeout": 60.0,
        "silence_timeout": 20.0,
        "ping_timeout": 5.0,
        "idle_timeout": 60.0,
        "max_connection_age": 300.0,
        "max_sessions": 100,
        "proxy": None,
        "ca_file": None,
        "allow_insecure": False,
        "reuse_connections": True,
        "record": None,
        "record_max_bytes": 104857600,
    },
    AuthConfig: {
        "username": None,
        "password": None,
        "two_factor_code": None,
        "totp_secret": None,
        "auth_token": None,
        "sessionid": None,
        "sessionid_sign": None,
        "token_cache": None,
        "sign_in_url": None,
        "signin_headers": {"Referer": "https://www.tradingview.com"},
    },
    DataConfig: {
        "max_bars": 5000,
        "default_bars": 10,
        "validate_data": True,
        "fill_missing_volume": "zero",
        "timezone": None,
    },
    ThreadingConfig: {
        "shutdown_timeout": 10.0,
        "live_mode": "stream",
        "retry_sleep": 0.1,
        "retry_limit": 50,
        "stop_consumer_on_error": False,
        "daemon": False,
    },
    StoreConfig: {
        "url": None,
        "max_bars": None,
        "recheck_days": 7.0,
        "timeout": 30.0,
        "token": None,
    },
    TvDatafeedConfig: {
        "network": NetworkConfig(),
        "auth": AuthConfig(),
        "data": DataConfig(),
        "threading": ThreadingConfig(),
        "store": StoreConfig(),
        "debug": False,
        "verbose": True,
    },
    DeliveryConfig: {
        "url": None,
        "secret": None,
        "producer_id": None,
        "timeout": 30.0,
        "max_body_bytes": 65536,
        "give_up_s": 259200.0,
        "connections": 8,
        "outbox": None,
        "outbox_max_bytes": 268435456,
        "proxy": None,
        "ca_file": None,
    },
    TelegramConfig: {"token": None, "chat_id": None, "url": "https://api.telegram.org"},
    RedisConfig: {"url": None},
}

# variable, (class, field), text, value
VARIABLES = [
    ("TV_WS_URL", (NetworkConfig, "ws_url"), "ws://127.0.0.1:8080/x", "ws://127.0.0.1:8080/x"),
    ("TV_WS_URL", (NetworkConfig, "ws_url"), "WSS://[::1]:443", "WSS://[::1]:443"),
    ("TV_BASE_URL", (NetworkConfig, "base_url"), " http://localhost ", "http://localhost"),
    ("TV_SEARCH_URL", (NetworkConfig, "search_url"), "https://h/v3/?a=b", "https://h/v3/?a=b"),
    ("TV_CONNECT_TIMEOUT", (NetworkConfig, "connect_timeout"), "2.5", 2.5),
    ("TV_SEND_TIMEOUT", (NetworkConfig, "send_timeout"), "1e-3", 0.001),
    ("TV_WS_TIMEOUT", (NetworkConfig, "recv_timeout"), "7", 7.0),
    ("TV_RECV_TIMEOUT", (NetworkConfig, "recv_timeout"), "-1", -1.0),
    ("TV_MAX_RESPONSE_TIME", (NetworkConfig, "max_response_time"), "90", 90.0),
    ("TV_MAX_RETRIES", (NetworkConfig, "max_retries"), "0", 0),
    ("TV_BASE_RETRY_DELAY", (NetworkConfig, "base_retry_delay"), "0.5", 0.5),
    ("TV_MAX_RETRY_DELAY", (NetworkConfig, "max_retry_delay"), "30", 30.0),
    ("TV_REQUESTS_PER_MINUTE", (NetworkConfig, "requests_per_minute"), "7", 7),
    ("TV_BURST_SIZE", (NetworkConfig, "burst_size"), "2", 2),
    ("TV_FAILURE_THRESHOLD", (NetworkConfig, "failure_threshold"), "9", 9),
    ("TV_RECOVERY_TIMEOUT", (NetworkConfig, "recovery_timeout"), "5", 5.0),
    ("TV_SILENCE_TIMEOUT", (NetworkConfig, "silence_timeout"), "11", 11.0),
    ("TV_PING_TIMEOUT", (NetworkConfig, "ping_timeout"), "2", 2.0),
    ("TV_IDLE_TIMEOUT", (NetworkConfig, "idle_timeout"), "12", 12.0),
    ("TV_MAX_CONNECTION_AGE", (NetworkConfig, "max_connection_age"), "13", 13.0),
    ("TV_MAX_SESSIONS", (NetworkConfig, "max_sessions"), "14", 14),
    (
        "TV_PROXY",
        (NetworkConfig, "proxy"),
        "http://ann:hunter2@h:3128",
        "http://ann:hunter2@h:3128",
    ),
    ("TV_CA_FILE", (NetworkConfig, "ca_file"), __file__, __file__),
    ("TV_ALLOW_INSECURE", (NetworkConfig, "allow_insecure"), "true", True),
    ("TV_REUSE_CONNECTIONS", (NetworkConfig, "reuse_connections"), "off", False),
    ("TV_RECORD", (NetworkConfig, "record"), "/a/session.jsonl", "/a/session.jsonl"),
    ("TV_RECORD_MAX_BYTES", (NetworkConfig, "record_max_bytes"), "20000", 20000),
    ("TV_USERNAME", (AuthConfig, "username"), "ann", "ann"),
    ("TV_PASSWORD", (AuthConfig, "password"), " p&=+% ü ", " p&=+% ü "),
    ("TV_2FA_CODE", (AuthConfig, "two_factor_code"), " 012345 ", "012345"),
    ("TV_TOTP_SECRET", (AuthConfig, "totp_secret"), "jbsw y3dp", "jbsw y3dp"),
    ("TV_AUTH_TOKEN", (AuthConfig, "auth_token"), "eyJ.eyJ.x", "eyJ.eyJ.x"),
    ("TV_SESSIONID", (AuthConfig, "sessionid"), "abc", "abc"),
    ("TV_SESSIONID_SIGN", (AuthConfig, "sessionid_sign"), " v3:a+b/c== ", "v3:a+b/c=="),
    ("TV_TOKEN_CACHE", (AuthConfig, "token_cache"), "/a/b.json", "/a/b.json"),
    ("TV_TOKEN_CACHE", (AuthConfig, "token_cache"), "OFF", False),
    ("TV_MAX_BARS", (DataConfig, "max_bars"), "300", 300),
    ("TV_DEFAULT_BARS", (DataConfig, "default_bars"), "25", 25),
    ("TV_VALIDATE_DATA", (DataConfig, "validate_data"), "off", False),
    ("TV_FILL_MISSING_VOLUME", (DataConfig, "fill_missing_volume"), "NaN", "nan"),
    ("TV_TIMEZONE", (DataConfig, "timezone"), " Europe/Berlin ", "Europe/Berlin"),
    ("TV_SHUTDOWN_TIMEOUT", (ThreadingConfig, "shutdown_timeout"), "3", 3.0),
    ("TV_LIVE_MODE", (ThreadingConfig, "live_mode"), "Poll", "poll"),
    ("TV_RETRY_SLEEP", (ThreadingConfig, "retry_sleep"), "0.5", 0.5),
    ("TV_RETRY_LIMIT", (ThreadingConfig, "retry_limit"), "7", 7),
    ("TV_STOP_CONSUMER_ON_ERROR", (ThreadingConfig, "stop_consumer_on_error"), "on", True),
    ("TV_DAEMON", (ThreadingConfig, "daemon"), "1", True),
    ("TV_STORE_URL", (StoreConfig, "url"), "postgresql://h/db", "postgresql://h/db"),
    ("TV_STORE_MAX_BARS", (StoreConfig, "max_bars"), "1000", 1000),
    ("TV_STORE_RECHECK_DAYS", (StoreConfig, "recheck_days"), "0", 0.0),
    ("TV_STORE_TIMEOUT", (StoreConfig, "timeout"), "2.5", 2.5),
    ("TV_STORE_TOKEN", (StoreConfig, "token"), " a;b+c/d== ", "a;b+c/d=="),
    ("TV_DEBUG", (TvDatafeedConfig, "debug"), "Yes", True),
    ("TV_VERBOSE", (TvDatafeedConfig, "verbose"), "0", False),
    ("TV_WEBHOOK_URL", (DeliveryConfig, "url"), " http://[::1]:1/x ", "http://[::1]:1/x"),
    ("TV_WEBHOOK_SECRET", (DeliveryConfig, "secret"), " new  old ", ("new", "old")),
    ("TV_WEBHOOK_PRODUCER_ID", (DeliveryConfig, "producer_id"), "desk-1", "desk-1"),
    ("TV_WEBHOOK_TIMEOUT", (DeliveryConfig, "timeout"), "300", 300.0),
    ("TV_WEBHOOK_MAX_BODY_BYTES", (DeliveryConfig, "max_body_bytes"), "1024", 1024),
    ("TV_WEBHOOK_GIVE_UP_S", (DeliveryConfig, "give_up_s"), "60", 60.0),
    ("TV_WEBHOOK_CONNECTIONS", (DeliveryConfig, "connections"), "64", 64),
    ("TV_OUTBOX", (DeliveryConfig, "outbox"), "/a/b.db", "/a/b.db"),
    ("TV_OUTBOX_MAX_BYTES", (DeliveryConfig, "outbox_max_bytes"), "262144", 262144),
    ("TV_TELEGRAM_TOKEN", (TelegramConfig, "token"), " 123:aB-c_9 ", "123:aB-c_9"),
    ("TV_TELEGRAM_CHAT_ID", (TelegramConfig, "chat_id"), " -100123 ", "-100123"),
    ("TV_TELEGRAM_URL", (TelegramConfig, "url"), "http://localhost:8081", "http://localhost:8081"),
    ("TV_REDIS_URL", (RedisConfig, "url"), " rediss://a:p@h:1/2 ", "rediss://a:p@h:1/2"),
    ("TV_REDIS_URL", (RedisConfig, "url"), "unix:///run/redis.sock", "unix:///run/redis.sock"),
]

# Only from_env() of AuthConfig, or a call with credentials, reads these.
CREDENTIALS = {
    "TV_USERNAME",
    "TV_PASSWORD",
    "TV_AUTH_TOKEN",
    "TV_SESSIONID",
    "TV_SESSIONID_SIGN",
    "TV_STORE_TOKEN",
}
# Any text may be one of these here; what it is good for shows elsewhere.
ANY_TEXT = {
    "TV_RECORD",
    "TV_TIMEZONE",
    "TV_USERNAME",
    "TV_PASSWORD",
    "TV_2FA_CODE",
    "TV_TOTP_SECRET",
    "TV_AUTH_TOKEN",
    "TV_TOKEN_CACHE",
    "TV_STORE_URL",
    "TV_WEBHOOK_SECRET",
    "TV_WEBHOOK_PRODUCER_ID",
    "TV_OUTBOX",
}
BAD_SECONDS = ["0", "-1", "-0.5", "nan", "inf", "-inf", "1e999", "ten", "5s", "1,5"]
DELAYS = [
    "BASE_RETRY_DELAY",
    "MAX_RETRY_DELAY",
    "RECOVERY_TIMEOUT",
    "SILENCE_TIMEOUT",
    "PING_TIMEOUT",
    "IDLE_TIMEOUT",
    "MAX_CONNECTION_AGE",
]
COUNTS = [
    "DEFAULT_BARS",
    "MAX_BARS",
    "REQUESTS_PER_MINUTE",
    "BURST_SIZE",
    "FAILURE_THRESHOLD",
    "MAX_SESSIONS",
]
BAD_COUNTS = ["0", "-1", "1.0", "1.5", "many", "9" * 5000]
BAD_TIMEOUTS = ["0", "-0.5", "-2", "-7", "nan", "inf", "ten"]
BAD_FLAGS = ["maybe", "2", "yess", "-1", "true false"]
BAD_HTTP_URLS = [
    "www.tradingview.com",
    "ws://host",
    "https://",
    "https:///path",
    "https://host:port",
    "https://host:99999",
    "https://[::1",
    "https://a host",
    "https://ho\tst",
    "https://ann:hunter2@host",
    "https://@host",
]
BAD_VARIABLES = [
    *[("TV_WS_URL", text) for text in ("http://host", "wss://", "wss://a b", "wss://u:p@host")],
    *[("TV_BASE_URL", text) for text in BAD_HTTP_URLS],
    *[("TV_SEARCH_URL", text) for text in BAD_HTTP_URLS],
    *[("TV_CONNECT_TIMEOUT", text) for text in BAD_SECONDS],
    *[("TV_SEND_TIMEOUT", text) for text in BAD_SECONDS],
    *[("TV_MAX_RESPONSE_TIME", text) for text in BAD_SECONDS],
    *[("TV_SHUTDOWN_TIMEOUT", text) for text in BAD_SECONDS],
    *[("TV_RETRY_SLEEP", text) for text in BAD_SECONDS],
    *[("TV_RETRY_LIMIT", text) for text in BAD_COUNTS],
    ("TV_LIVE_MODE", "push"),
    ("TV_STOP_CONSUMER_ON_ERROR", "perhaps"),
    ("TV_DAEMON", "2"),
    ("TV_ALLOW_INSECURE", "2"),
    ("TV_REUSE_CONNECTIONS", "perhaps"),
    ("TV_RECORD_MAX_BYTES", "100"),
    *[("TV_WS_TIMEOUT", text) for text in BAD_TIMEOUTS],
    *[("TV_RECV_TIMEOUT", text) for text in BAD_TIMEOUTS],
    *[(f"TV_{name}", text) for name in COUNTS for text in BAD_COUNTS],
    *[(f"TV_{name}", text) for name in DELAYS for text in BAD_SECONDS],
    *[("TV_MAX_RETRIES", text) for text in ("-1", "1.5", "many", "9" * 5000)],
    *[
        ("TV_PROXY", text)
        for text in ("host:1", "socks5://h:1", "http://", "http://h:x", "http://[::1")
    ],
    *[("TV_CA_FILE", text) for text in ("/no/such/file", ".")],
    *[
        (variable, text)
        for variable in ("TV_SESSIONID", "TV_SESSIONID_SIGN")
        for text in ("a;b", "hunter2 b", "hunter2\r\nX: y", "hunter2é")
    ],
    *[("TV_FILL_MISSING_VOLUME", text) for text in ("none", "0", "backward")],
    *[("TV_STORE_MAX_BARS", text) for text in BAD_COUNTS],
    *[("TV_STORE_RECHECK_DAYS", text) for text in ("-1", "nan", "inf", "week", "7d")],
    *[("TV_STORE_TIMEOUT", text) for text in BAD_SECONDS],
    *[("TV_STORE_TOKEN", text) for text in ("hunter2 b", "hunter2\r\nX: y", "hunter2é")],
    *[("TV_VALIDATE_DATA", text) for text in BAD_FLAGS],
    *[("TV_DEBUG", text) for text in BAD_FLAGS],
    *[("TV_VERBOSE", text) for text in BAD_FLAGS],
    *[("TV_WEBHOOK_URL", text) for text in (*BAD_HTTP_URLS, "http://example.org/hook")],
    *[("TV_WEBHOOK_TIMEOUT", text) for text in (*BAD_SECONDS, "0.9", "301")],
    *[("TV_WEBHOOK_MAX_BODY_BYTES", text) for text in (*BAD_COUNTS, "999", "10485761")],
    *[("TV_WEBHOOK_GIVE_UP_S", text) for text in BAD_SECONDS],
    *[("TV_WEBHOOK_CONNECTIONS", text) for text in (*BAD_COUNTS, "65")],
    *[("TV_OUTBOX_MAX_BYTES", text) for text in (*BAD_COUNTS, "255999")],
    *[
        ("TV_TELEGRAM_TOKEN", text)
        for text in ("hunter2", "1:hunter2 b", ":hunter2", "1:", "1:hunter2é", "bot1:hunter2")
    ],
    ("TV_TELEGRAM_CHAT_ID", "hunter2\nb"),
    *[
        ("TV_REDIS_URL", text)
        for text in ("h:6379", "http://h", "redis://", "redis://:hunter2@h b")
    ],
    *[("TV_TELEGRAM_URL", text) for text in (*BAD_HTTP_URLS, "http://api.telegram.org")],
]

SECONDS_FIELDS = [
    (NetworkConfig, "connect_timeout"),
    (NetworkConfig, "send_timeout"),
    (NetworkConfig, "max_response_time"),
    (ThreadingConfig, "shutdown_timeout"),
    (ThreadingConfig, "retry_sleep"),
    *[(NetworkConfig, name.lower()) for name in DELAYS],
]
COUNT_FIELDS = [(NetworkConfig, name.lower()) for name in COUNTS[2:]]
BAD_FIELDS = [
    *[(c, f, v) for c, f in SECONDS_FIELDS for v in (0, -1, math.nan, math.inf, True, None, "x")],
    *[(c, f, v) for c, f in COUNT_FIELDS for v in (0, -1, True, 1.0, "10", None)],
    *[(NetworkConfig, "max_retries", v) for v in (-1, True, 1.0, "3", None)],
    *[(NetworkConfig, "proxy", v) for v in (1, "h:1", "https://h:1", "http://a b", "http://\n")],
    *[(NetworkConfig, "allow_insecure", v) for v in (None, 1, "true")],
    *[(NetworkConfig, "ca_file", v) for v in (1, b"x", "/no/such/file", "")],
    *[(NetworkConfig, "reuse_connections", v) for v in (1, "yes", None)],
    *[(NetworkConfig, "record", v) for v in (1, True, "")],
    *[(NetworkConfig, "record_max_bytes", v) for v in (0, 9999, -1, 1.5, True, "20000", None)],
    *[(NetworkConfig, "recv_timeout", v) for v in (0, -0.5, -7, math.nan, False, None, 10**400)],
    *[(NetworkConfig, "ws_url", v) for v in (None, b"wss://host", "https://host", "")],
    *[(NetworkConfig, "base_url", v) for v in (None, 1, "wss://host", "https://a\nb")],
    *[(NetworkConfig, "search_url", v) for v in (None, [], "ftp://host")],
    *[(NetworkConfig, "ws_headers", v) for v in (None, ["Origin"], {"A": 1}, {1: "a"})],
    *[(NetworkConfig, "ws_headers", v) for v in ({"A": "b\r\nC: d"}, {"A\n": "b"}, {"": "b"})],
    *[
        (AuthConfig, name, v)
        for name in ("username", "password", "totp_secret", "auth_token")
        for v in ("", "  ", 1, b"x", False)
    ],
    *[(AuthConfig, "two_factor_code", v) for v in ("", " ", 12345, b"012345", False)],
    *[
        (AuthConfig, name, v)
        for name in ("sessionid", "sessionid_sign")
        for v in ("", "a;b", "a b", "a\nb", "é", 1)
    ],
    *[(AuthConfig, "token_cache", v) for v in ("", True, 0, 1)],
    *[(AuthConfig, "sign_in_url", v) for v in ("", "accounts", "ws://h", 1)],
    *[(AuthConfig, "signin_headers", v) for v in (None, [], {"A": "b\nC: d"}, {1: "a"})],
    *[(TvDatafeedConfig, "auth", v) for v in (None, {}, NetworkConfig())],
    *[(DataConfig, "max_bars", v) for v in (0, -1, True, 1.0, "10", None)],
    *[(DataConfig, "default_bars", v) for v in (0, -1, True, 1.0, "10", None)],
    *[(DataConfig, "validate_data", v) for v in (1, 0, "true", None)],
    *[(DataConfig, "fill_missing_volume", v) for v in (None, 0, "ZERO", "none", ["zero"])],
    *[(ThreadingConfig, "retry_limit", v) for v in (0, -1, True, 1.0, "10", None)],
    *[(ThreadingConfig, "live_mode", v) for v in (None, "STREAM", "push", 1)],
    *[(ThreadingConfig, name, v) for name in ("daemon", "stop_consumer_on_error") for v in (1, "")],
    *[(DataConfig, "timezone", v) for v in (1, b"UTC", False)],
    *[(TvDatafeedConfig, "network", v) for v in (None, {}, DataConfig())],
    *[(TvDatafeedConfig, "data", v) for v in (None, NetworkConfig())],
    *[(TvDatafeedConfig, "threading", v) for v in (None, ThreadingConfig)],
    *[(StoreConfig, "url", v) for v in ("", "  ", 1, b"x", False)],
    *[(StoreConfig, "max_bars", v) for v in (0, -1, True, 1.0, "10")],
    *[(StoreConfig, "recheck_days", v) for v in (-1, True, math.nan, math.inf, None, "x")],
    *[(StoreConfig, "timeout", v) for v in (0, -1, math.nan, math.inf, True, None, "x")],
    *[(StoreConfig, "token", v) for v in ("", " ", "a b", "a\nb", "é", 1)],
    *[(TvDatafeedConfig, "store", v) for v in (None, {}, DataConfig())],
    *[(TvDatafeedConfig, "debug", v) for v in (1, "yes", None)],
    *[(TvDatafeedConfig, "verbose", v) for v in (0, "no", None)],
    *[(DeliveryConfig, "url", v) for v in (1, "ws://h", "http://h", "https://u:p@h")],
    *[(DeliveryConfig, "secret", v) for v in ("", [], [""], [1], 1, b"x")],
    *[(DeliveryConfig, "timeout", v) for v in (0, 0.9, 301, math.nan, True, None, "x")],
    *[(DeliveryConfig, "connections", v) for v in (0, 65, True, 1.0, None)],
    *[(DeliveryConfig, "producer_id", v) for v in ("", " ", 1, b"x")],
    *[(DeliveryConfig, "max_body_bytes", v) for v in (0, 999, 10485761, True, 1e3, "1000")],
    *[(DeliveryConfig, "give_up_s", v) for v in (0, -1, math.nan, True, None)],
    *[(DeliveryConfig, "outbox_max_bytes", v) for v in (0, 255_999, True, 3e5, None)],
    *[(DeliveryConfig, "proxy", v) for v in (1, "h:1", "https://h:1")],
    *[(DeliveryConfig, "ca_file", v) for v in (1, "/no/such/file", "")],
    *[(DeliveryConfig, "outbox", v) for v in ("", 1, True)],
    *[(TelegramConfig, "token", v) for v in ("", " ", "abc", 1, b"1:a", "1:a\n")],
    *[(TelegramConfig, "chat_id", v) for v in ("", " ", 1.5, b"1", True, "a\nb")],
    *[(RedisConfig, "url", v) for v in ("", 1, b"redis://h", "h", "redis://a\nb")],
    *[(TelegramConfig, "url", v) for v in (None, 1, "ws://h", "http://h", "https://u:p@h")],
]


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    for variable in environment_variables():
        monkeypatch.delenv(variable, raising=False)


def as_dict(section):
    return {item.name: getattr(section, item.name) for item in dataclasses.fields(section)}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("make", [lambda c: c(), lambda c: c.from_env()])
def test_an_empty_environment_gives_the_defaults(section, make):
    """Without variables and arguments, each field has its documented default."""
    assert as_dict(make(section)) == DEFAULTS[section]


def test_the_default_config_ignores_the_environment(monkeypatch):
    """What is called default is the same on every machine."""
    monkeypatch.setenv("TV_DEFAULT_BARS", "99")
    assert TvDatafeedConfig.default() == TvDatafeedConfig() == DEFAULT_CONFIG
    assert DEFAULT_CONFIG.data.default_bars == 10


@pytest.mark.parametrize(("variable", "place", "text", "value"), VARIABLES)
def test_a_variable_changes_its_field_and_no_other(monkeypatch, variable, place, text, value):
    """Each variable is read by its own class, and by the whole config."""
    section, name = place
    monkeypatch.setenv(variable, text)
    changed = dataclasses.replace(section(), **{name: value})
    assert section.from_env() == changed
    whole = TvDatafeedConfig.from_env(credentials=True)
    parts = [whole, whole.network, whole.auth, whole.data, whole.threading, whole.store]
    parts += [other.from_env() for other in OTHER_SECTIONS]
    assert [part for part in parts if type(part) is section] == [changed]
    is_left_out = variable in CREDENTIALS or section in OTHER_SECTIONS
    assert (TvDatafeedConfig.from_env() == DEFAULT_CONFIG) is is_left_out


def test_each_variable_is_tested():
    """A variable that is added is checked by this module, or this test fails."""
    assert {row[0] for row in VARIABLES} == set(environment_variables())
    assert {variable for variable, _ in BAD_VARIABLES} == {*environment_variables()} - ANY_TEXT


def test_no_variable_is_listed_twice():
    """A variable belongs to one field."""
    assert len(set(environment_variables())) == len(environment_variables())


@pytest.mark.parametrize("text", ["", "   "])
@pytest.mark.parametrize("variable", environment_variables())
def test_an_empty_variable_is_not_set(monkeypatch, variable, text):
    """A variable that a file or a shell leaves empty means the default."""
    monkeypatch.setenv(variable, text)
    assert_defaults()


def assert_defaults():
    """Expect that the environment changes nothing."""
    assert TvDatafeedConfig.from_env() == DEFAULT_CONFIG
    assert [other.from_env() for other in OTHER_SECTIONS] == [other() for other in OTHER_SECTIONS]


def read_all():
    """Read each variable."""
    TvDatafeedConfig.from_env(credentials=True)
    for other in OTHER_SECTIONS:
        other.from_env()


@pytest.mark.parametrize(("variable", "text"), BAD_VARIABLES)
def test_a_bad_variable_is_an_error_that_names_it(monkeypatch, variable, text):
    """No variable falls back silently to its default."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigurationError) as caught:
        read_all()
    assert caught.value.parameter == variable
    assert caught.value.reason.startswith("must be")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("section", "name", "value"), BAD_FIELDS)
def test_a_bad_argument_is_an_error_that_names_the_field(section, name, value):
    """A config with a value that cannot work cannot be made."""
    with pytest.raises(ConfigurationError) as caught:
        section(**{name: value})
    assert caught.value.parameter == name
    assert caught.value.reason.startswith("must ")


def test_each_field_is_tested_with_bad_values():
    """A field that is added is checked by this module, or this test fails."""
    fields = {(section, item.name) for section in SECTIONS for item in dataclasses.fields(section)}
    assert {(section, name) for section, name, _ in BAD_FIELDS} == fields


@pytest.mark.parametrize("text", ["true", "1", "yes", "on", "TRUE", "Yes", " oN "])
def test_words_for_true(monkeypatch, text):
    """The words of the lineage mean true, in any case."""
    monkeypatch.setenv("TV_DEBUG", text)
    assert TvDatafeedConfig.from_env().debug is True


@pytest.mark.parametrize("text", ["false", "0", "no", "off", "FALSE", "No", " oFF "])
def test_words_for_false(monkeypatch, text):
    """Their opposites mean false, in any case."""
    monkeypatch.setenv("TV_VERBOSE", text)
    assert TvDatafeedConfig.from_env().verbose is False


def test_tv_ws_timeout_overrules_tv_recv_timeout(monkeypatch):
    """Of the two variables for one field the first that is set wins."""
    monkeypatch.setenv("TV_RECV_TIMEOUT", "5")
    monkeypatch.setenv("TV_WS_TIMEOUT", "")
    assert NetworkConfig.from_env().recv_timeout == 5
    monkeypatch.setenv("TV_WS_TIMEOUT", "7")
    assert NetworkConfig.from_env().recv_timeout == 7


def test_an_overruled_variable_is_checked_all_the_same(monkeypatch):
    """A mistake in a variable is an error even where another one has the say."""
    monkeypatch.setenv("TV_WS_TIMEOUT", "7")
    monkeypatch.setenv("TV_RECV_TIMEOUT", "-7")
    with pytest.raises(ConfigurationError) as caught:
        NetworkConfig.from_env()
    assert caught.value.parameter == "TV_RECV_TIMEOUT"


def test_numbers_take_their_field_s_type():
    """An int for seconds becomes a float, so that all configs of one meaning are equal."""
    network = NetworkConfig(connect_timeout=3, recv_timeout=-1)
    assert type(network.connect_timeout) is float
    assert type(network.recv_timeout) is float
    assert network == NetworkConfig(connect_timeout=3.0, recv_timeout=-1.0)


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_timezone_is_none(empty):
    """No name of a timezone means naive local time."""
    assert DataConfig(timezone=empty).timezone is None


@pytest.mark.parametrize("section", SECTIONS)
def test_a_config_is_frozen_and_takes_keywords_only(section):
    """A config that is shared by threads cannot change, and fields can be added anywhere."""
    instance = section()
    name = dataclasses.fields(section)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(instance, name, getattr(instance, name))
    with pytest.raises(TypeError):
        section(getattr(instance, name))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_config_can_be_hashed_copied_and_pickled(section):
    """A config can be a key, and can go to another process."""
    instance = section()
    assert {instance: 1}[section()] == 1
    assert copy.deepcopy(instance) == instance
    assert pickle.loads(pickle.dumps(instance)) == instance  # noqa: S301
    assert dataclasses.replace(instance) == instance


def test_a_config_shows_no_credential():
    """A config that is logged does not give away who signs in with what."""
    secrets = {
        name: f"hunter2{name}"
        for name in ("password", "two_factor_code", "totp_secret", "auth_token")
    }
    auth = AuthConfig(username="ann", sessionid="hunter2", sessionid_sign="hunter2", **secrets)
    assert "hunter2" not in repr(TvDatafeedConfig(auth=auth))
    assert "ann" in repr(auth)
    store = StoreConfig(url="postgresql://ann:hunter2@h/db", token="hunter2")
    assert "hunter2" not in repr(TvDatafeedConfig(store=store))
    with pytest.raises(ConfigurationError) as caught:
        StoreConfig(token=["hunter2"])
    assert "hunter2" not in str(caught.value) + repr(caught.value.value)
    for name in (*secrets, "sessionid", "sessionid_sign"):
        with pytest.raises(ConfigurationError) as caught:
            AuthConfig(**{name: ["hunter2"]})
        assert "hunter2" not in str(caught.value) + repr(caught.value.value)


def test_a_file_of_variables(tmp_path, monkeypatch):
    """A file gives what the environment does not, and changes no other program's environment."""
    file = tmp_path / ".env"
    file.write_text("TV_USERNAME=ann\nTV_PASSWORD='p # ü'\nTV_DEFAULT_BARS=7\nTV_DEBUG\n", "utf-8")
    monkeypatch.setenv("TV_USERNAME", "bob")
    read = TvDatafeedConfig.from_env(dotenv_path=file, credentials=True)
    assert (read.auth.username, read.auth.password) == ("bob", "p # ü")
    assert read.data.default_bars == 7
    assert TvDatafeedConfig.from_env(dotenv_path=str(file)).auth == AuthConfig()
    assert TvDatafeedConfig.from_env() == DEFAULT_CONFIG


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    """A file that was requested has to be there, and to be text."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe=\xff")
    for name in ("none", "bytes", "."):
        with pytest.raises(ConfigurationError) as caught:
            TvDatafeedConfig.from_env(dotenv_path=tmp_path / name)
        assert caught.value.parameter == "dotenv_path"


def test_headers_are_copied_and_cannot_change():
    """Neither the caller's dict nor the config's own view changes the headers afterwards."""
    mine = {"Origin": "https://example.org"}
    network = NetworkConfig(ws_headers=mine)
    mine["Cookie"] = "sessionid=1"
    assert network.ws_headers == {"Origin": "https://example.org"}
    assert len(network.ws_headers) == 1
    with pytest.raises(TypeError):
        network.ws_headers["Origin"] = "x"


def test_the_repr_shows_no_cookie():
    """A config that is logged does not give away what its headers carry."""
    network = NetworkConfig(ws_headers={"Origin": "https://o", "Cookie": "sessionid=hunter2"})
    assert "hunter2" not in repr(TvDatafeedConfig(network=network))
    assert "https://o" in repr(network)


@pytest.mark.parametrize("value", [1, 0.001, -1, "5", " 2.5 ", 1e9])
def test_a_timeout_is_positive_or_minus_one(value):
    """What float takes is a timeout, if it is a time at all."""
    assert validate_timeout(value) == float(value)
    assert type(validate_timeout(value)) is float


def test_a_timeout_error_names_the_parameter_it_is_told():
    """The caller's name of the value is in the error."""
    with pytest.raises(ConfigurationError) as caught:
        validate_timeout(-7, "ws_timeout")
    assert (caught.value.parameter, caught.value.value) == ("ws_timeout", -7)
    with pytest.raises(ConfigurationError) as caught:
        validate_timeout(-7)
    assert caught.value.parameter == "timeout"


@given(st.floats() | st.integers() | st.text() | st.booleans() | st.none() | st.lists(st.floats()))
def test_a_timeout_is_a_usable_number_or_an_error(value):
    """Whatever comes in, only finite seconds or -1 come out."""
    try:
        seconds = validate_timeout(value)
    except ConfigurationError:
        return
    assert seconds == -1 or 0 < seconds < math.inf


def example_lines():
    path = Path(__file__).parent.parent / ".env.example"
    return path.read_text(encoding="utf-8").splitlines()


def test_the_example_file_lists_each_variable():
    """What .env.example lists is what the library reads, in the same order."""
    listed = [line[1:].split("=")[0] for line in example_lines() if line.startswith("#TV_")]
    assert listed == list(environment_variables())


def test_the_example_file_changes_nothing_and_explains_all():
    """Each line is a comment; each variable stands under its meaning."""
    lines = example_lines()
    for before, line in itertools.pairwise(lines):
        assert not line or line.startswith("#")
        if line.startswith("#TV_"):
            assert before.startswith("# ")


def test_the_example_file_shows_the_defaults(monkeypatch):
    """Without its comment signs, the file is the default config."""
    for line in example_lines():
        if line.startswith("#TV_"):
            variable, _, text = line[1:].partition("=")
            monkeypatch.setenv(variable, text)
            assert_defaults()


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(config).failed == 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "1e6"}, None),
        ({"WATCHDOG_USEC": "\u0663"}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "x"}, None),
    ],
)
def test_watchdog_of_the_service_manager(monkeypatch, variables, expected):
    """Its time counts in seconds, and only where it was meant for this process."""
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert watchdog_s() == expected


def test_socket_of_the_service_manager(monkeypatch):
    """An empty value counts as unset."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify_socket() is None
    monkeypatch.setenv("NOTIFY_SOCKET", "")
    assert notify_socket() is None
    monkeypatch.setenv("NOTIFY_SOCKET", "@systemd")
    assert notify_socket() == "@systemd"
