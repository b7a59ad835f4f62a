"""The errors: their tree, their messages, what they keep, and what they must not show."""

import builtins
import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed import exceptions
from tvDatafeed.exceptions import (
    AuthenticationError,
    CaptchaRequiredError,
    ConfigurationError,
    ConnectionError,  # noqa: A004
    ConsumerError,
    DataError,
    DataNotFoundError,
    DataValidationError,
    DeliveryError,
    EntitlementError,
    InvalidIntervalError,
    InvalidOHLCError,
    LockTimeoutError,
    NetworkError,
    OutboxError,
    OutboxFullError,
    ProtocolError,
    RateLimitError,
    RetryExhaustedError,
    SigningError,
    SlowConsumerError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreVersionError,
    SymbolNotFoundError,
    ThreadingError,
    TvDatafeedError,
    TwoFactorRequiredError,
    VerificationError,
    WebSocketError,
    WebSocketTimeoutError,
)


class RefusalError(Exception):
    """An error of a program, equal to its copies."""

    def __eq__(self, other):
        return type(other) is type(self) and other.args == self.args

    def __hash__(self):
        return hash(self.args)


# Each error made with all it takes, with the start of its message and the attributes it keeps.
ERRORS = [
    (TvDatafeedError("text"), "text", {}),
    (AuthenticationError(), "Authentication failed", {"username": None}),
    (
        AuthenticationError("wrong password", "ann"),
        "wrong password for user 'ann'",
        {"username": "ann"},
    ),
    (
        TwoFactorRequiredError("sms"),
        "Two-factor authentication required (sms). ",
        {"method": "sms", "username": None},
    ),
    (
        TwoFactorRequiredError(),
        "Two-factor authentication required (totp). ",
        {"method": "totp"},
    ),
    (
        CaptchaRequiredError("ann"),
        "TradingView requires CAPTCHA verification. ",
        {"username": "ann"},
    ),
    (NetworkError(), "Network error", {}),
    (NetworkError("text", retryable=False), "text", {}),
    (WebSocketError(), "WebSocket error", {"url": None}),
    (
        WebSocketError("refused", "wss://host/path", retryable=False),
        "refused (URL: wss://host/path)",
        {"url": "wss://host/path"},
    ),
    (
        WebSocketTimeoutError(),
        "WebSocket operation timed out after 0s",
        {"operation": "operation", "timeout": 0, "detail": None, "url": None},
    ),
    (
        WebSocketTimeoutError("receive", 2.5, detail="1200 bars had arrived"),
        "WebSocket receive timed out after 2.5s: 1200 bars had arrived",
        {"operation": "receive", "timeout": 2.5, "detail": "1200 bars had arrived"},
    ),
    (ProtocolError("bad frame", "wss://host"), "bad frame (URL: wss://host)", {}),
    (ConnectionError(), "Connection failed", {"retry_count": 0}),
    (
        ConnectionError("no route", 3, retryable=False),
        "no route after 3 retries",
        {"retry_count": 3},
    ),
    (
        RateLimitError(60, 30),
        "Rate limit exceeded: 60 requests per 30s. ",
        {"limit": 60, "window": 30, "retry_after": None, "reason": None},
    ),
    (
        RateLimitError(retry_after=7.0, reason="connections limit"),
        "Rate limit exceeded: too many requests (connections limit). Please try again in 7 s.",
        {"limit": None, "window": 60, "retry_after": 7.0, "reason": "connections limit"},
    ),
    (DataError(), "Data error", {"reason": None}),
    (
        DataError("series failed", reason="no_such_study"),
        "series failed (no_such_study)",
        {"reason": "no_such_study"},
    ),
    (
        DataNotFoundError("AAPL", "NASDAQ"),
        "No data found for AAPL on NASDAQ. Possible causes:",
        {"symbol": "AAPL", "exchange": "NASDAQ", "reason": None},
    ),
    (
        DataNotFoundError("AAPL", None, reason="resolve error"),
        "No data found for AAPL. Possible causes:",
        {"symbol": "AAPL", "exchange": None, "reason": "resolve error"},
    ),
    (
        SymbolNotFoundError("X"),
        "Symbol 'X' not found.",
        {"symbol": "X", "exchange": None, "reason": None},
    ),
    (
        SymbolNotFoundError("X", "E", reason="invalid symbol"),
        "Symbol 'X' not found on E.",
        {"symbol": "X", "exchange": "E", "reason": "invalid symbol"},
    ),
    (
        DataValidationError("n_bars", 0, "must be at least 1"),
        "Data validation failed for n_bars='0': must be at least 1",
        {"field": "n_bars", "value": 0, "reason": "must be at least 1"},
    ),
    (
        InvalidOHLCError(1.0, 2.0, 3.0, 4.0),
        "Data validation failed for OHLC='1.0/2.0/3.0/4.0': ",
        {
            "field": "OHLC",
            "value": "1.0/2.0/3.0/4.0",
            "open_price": 1.0,
            "high": 2.0,
            "low": 3.0,
            "close": 4.0,
        },
    ),
    (
        EntitlementError("NSE:NIFTY", "permission denied"),
        "The account's plan does not include NSE:NIFTY as requested: permission denied. ",
        {"symbol": "NSE:NIFTY", "reason": "permission denied"},
    ),
    (
        InvalidIntervalError("x"),
        "Invalid interval: 'x'",
        {"interval": "x", "supported": None},
    ),
    (
        InvalidIntervalError(7, ("a", "b")),
        "Invalid interval: '7'. Supported intervals: a, b",
        {"interval": 7, "supported": ["a", "b"]},
    ),
    (
        InvalidIntervalError("x", ("a", "b"), nearest=("b",), advice="write a or b"),
        "Invalid interval: 'x': write a or b. The nearest are b. Supported intervals: a, b (m: ",
        {"interval": "x", "supported": ["a", "b"], "nearest": ["b"]},
    ),
    (ThreadingError("text"), "text", {}),
    (
        LockTimeoutError(5, "the registry"),
        "Could not acquire the lock of the registry within 5s.",
        {"timeout": 5, "resource": "the registry"},
    ),
    (ConsumerError("stopped"), "stopped", {"seis": None}),
    (ConsumerError("stopped", ("A", "B")), "stopped (Seis: ('A', 'B'))", {"seis": ("A", "B")}),
    (SlowConsumerError("slow", "A"), "slow (Seis: A)", {"seis": "A"}),
    (StoreError("disk full", hint="free some"), "disk full; free some", {"hint": "free some"}),
    (StoreLockedError("locked"), "locked", {"hint": ""}),
    (
        StoreCorruptError("damaged", damaged=("key", 1.0, 2.0)),
        "damaged",
        {"hint": "", "damaged": ("key", 1.0, 2.0)},
    ),
    (StoreVersionError("version 9", hint="upgrade"), "version 9; upgrade", {"hint": "upgrade"}),
    (DeliveryError(), "Delivery failed", {}),
    (DeliveryError("text", retryable=True), "text", {}),
    (SigningError("text"), "text", {}),
    (VerificationError("text"), "text", {}),
    (OutboxError("text"), "text", {}),
    (OutboxFullError("text"), "text", {}),
    (
        RetryExhaustedError(3, RefusalError("hunter2")),
        "gave up after 3 attempts; the last one raised RefusalError",
        {"attempts": 3, "last_error": RefusalError("hunter2")},
    ),
    (
        ConfigurationError("ws_timeout", -7, "must be positive"),
        "Invalid configuration for ws_timeout='-7': must be positive",
        {"parameter": "ws_timeout", "value": -7, "reason": "must be positive"},
    ),
]

TRANSIENT = {
    NetworkError,
    WebSocketError,
    WebSocketTimeoutError,
    ProtocolError,
    ConnectionError,
    RateLimitError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    OutboxFullError,
}


def all_errors(root=TvDatafeedError):
    yield root
    for child in root.__subclasses__():
        if child.__module__ == exceptions.__name__:
            yield from all_errors(child)


ALL_ERRORS = list(dict.fromkeys(all_errors()))


def name_of(value):
    return type(value).__name__ if isinstance(value, Exception) else ""


def state_of(error):
    return type(error), str(error), repr(error), error.args, vars(error), error.retryable


class Hostile:
    def __str__(self):
        raise RuntimeError


def test_every_error_is_in_the_table():
    """An error that is added is checked by this module, or this test fails."""
    assert {type(error) for error, _, _ in ERRORS} == set(ALL_ERRORS)
    assert {error.__name__ for error in ALL_ERRORS} == set(exceptions.__all__)


def test_the_module_docstring_is_the_tree():
    """The tree in the documentation names each error once, under its parent."""
    branch, seen = [], {}
    for line in exceptions.__doc__.splitlines():
        name = line.lstrip(" │├└─").split(" ")[0]
        if name.endswith("Error"):
            depth = (line.index(name) - 3) // 4
            branch[depth:] = [name]
            assert name not in seen
            seen[name] = branch[depth - 1] if depth else "Exception"
    assert seen == {error.__name__: error.__bases__[0].__name__ for error in ALL_ERRORS}


@pytest.mark.parametrize(("error", "message", "attributes"), ERRORS, ids=name_of)
def test_an_error_says_what_happened_and_keeps_what_it_was_given(error, message, attributes):
    """The message starts as documented and each parameter is an attribute."""
    assert str(error).startswith(message)
    assert {name: getattr(error, name) for name in attributes} == attributes


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", [error for error, _, _ in ERRORS], ids=name_of)
def test_an_error_survives_pickling(error, protocol):
    """An error that crosses a process boundary arrives as it left."""
    assert state_of(pickle.loads(pickle.dumps(error, protocol))) == state_of(error)  # noqa: S301


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", [error for error, _, _ in ERRORS], ids=name_of)
def test_an_error_survives_copying(error, duplicate):
    """A copy is another object with the same content."""
    twin = duplicate(error)
    assert twin is not error
    assert state_of(twin) == state_of(error)


def test_a_copy_has_its_own_attributes():
    """A change of a copy does not reach the original."""
    error = RateLimitError(60)
    twin = copy.copy(error)
    twin.limit = 1
    assert error.limit == 60


@pytest.mark.parametrize("error_class", ALL_ERRORS, ids=lambda c: c.__name__)
def test_network_trouble_is_worth_a_retry_and_nothing_else_is(error_class):
    """The class says by default whether the same call may succeed later."""
    assert error_class.retryable is (error_class in TRANSIENT)


@pytest.mark.parametrize(
    "error_class", [NetworkError, WebSocketError, ProtocolError, ConnectionError]
)
def test_network_trouble_can_be_marked_as_final(error_class):
    """One failure that will not go away, such as a certificate's, changes no other."""
    assert error_class("certificate has expired", retryable=False).retryable is False
    assert error_class("certificate has expired", retryable=True).retryable is True
    assert error_class("certificate has expired").retryable is True


def test_the_connection_error_is_an_oserror():
    """Programs that catch the builtin class, or OSError, catch ours too."""
    error = ConnectionError("no route")
    assert isinstance(error, builtins.ConnectionError)
    assert isinstance(error, OSError)
    assert isinstance(error, NetworkError)
    assert error.args == ("no route",)
    assert error.errno is None


def test_an_unknown_symbol_is_also_missing_data():
    """One handler for DataNotFoundError catches both."""
    assert issubclass(SymbolNotFoundError, DataNotFoundError)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TwoFactorRequiredError(), ["totp_code", "totp_secret"]),
        (CaptchaRequiredError(), ["sessionid", "auth_token", "token cache"]),
        (DataNotFoundError("A", "B"), ["look it up on TradingView"]),
        (SymbolNotFoundError("A", "B"), ["Look its name and exchange up"]),
        (EntitlementError("A", "no"), ["Sign in"]),
        (RateLimitError(), ["try again later"]),
        (LockTimeoutError(1), ["longer timeout"]),
    ],
    ids=name_of,
)
def test_an_error_names_what_to_do_next(error, words):
    """The reader of a message learns the next step from it."""
    for word in words:
        assert word in str(error)


def test_a_captcha_error_is_one_line_that_names_the_user():
    """The user stands at the end of the one line."""
    assert "\n" not in str(CaptchaRequiredError("ann"))
    assert str(CaptchaRequiredError("ann")).endswith(" for user 'ann'")


def test_a_rate_limit_without_a_number_does_not_invent_one():
    """A server that names no limit leaves none in the message."""
    assert "None" not in str(RateLimitError())
    assert "60" not in str(RateLimitError())


@pytest.mark.parametrize(
    "error",
    [
        DataNotFoundError("A", "B", reason="the server's text"),
        SymbolNotFoundError("A", reason="the server's text"),
        DataError("it failed: the server's text", reason="the server's text"),
        EntitlementError("A", "the server's text"),
        DataValidationError("field", 1, "the server's text"),
    ],
    ids=name_of,
)
def test_the_reason_is_said_once(error):
    """The server's own text is in the message, and not twice."""
    assert str(error).count("the server's text") == 1


@pytest.mark.parametrize("error_class", [ConfigurationError, DataValidationError])
@pytest.mark.parametrize(
    "name",
    ["password", "TV_PASSWORD", "totp_secret", "auth_token", "TV_2FA_CODE", "sessionid_sign"],
)
def test_a_secret_is_neither_shown_nor_kept(error_class, name):
    """Message, attributes and pickle of an error about a secret are free of it."""
    error = error_class(name, "hunter2hunter2", "is not valid: hunter2hunter2")
    assert error.value == "***"
    assert "***" in str(error)
    assert b"hunter2" not in pickle.dumps(error)


@pytest.mark.parametrize("value", [None, "", "abc", 123456, b"bytes"])
def test_the_value_of_a_secret_is_masked_whatever_it_is(value):
    """Neither a missing nor a short nor an odd value shows through the mask."""
    error = ConfigurationError("password", value, "is not a password")
    assert error.value == "***"
    assert error.reason == "is not a password"


@pytest.mark.parametrize(
    "error",
    [
        WebSocketError("refused", "wss://ann:hunter2@host/path"),
        ConfigurationError("proxy", "http://ann:hunter2@host", "is not reachable"),
        ConfigurationError("proxy", "ftp", "is not http://ann:hunter2@host"),
        DataValidationError("symbol", "http://ann:hunter2@host", "is a URL"),
        DataError("failed", reason="could not reach http://ann:hunter2@host"),
    ],
    ids=name_of,
)
def test_a_url_is_shown_without_user_and_password(error):
    """Credentials inside a URL do not enter a message."""
    assert "hunter2" not in str(error)
    assert "://***@host" in str(error)


def test_a_url_is_kept_without_user_and_password():
    """Credentials inside a URL do not enter an attribute that holds it."""
    assert WebSocketError("refused", "wss://ann:pw@host").url == "wss://***@host"
    assert ConfigurationError("proxy", "http://ann:pw@h", "is bad").value == "http://***@h"


@given(st.text(st.characters()))
def test_a_message_is_one_printable_line_whatever_was_passed(text):
    """A caller's text cannot break a line of a log or make it unprintable."""
    for error in (
        DataValidationError("symbol", text, "is bad"),
        ConfigurationError("timezone", text, text),
        InvalidIntervalError(text),
        DataNotFoundError(text, text, reason=text),
        EntitlementError(text, text),
        AuthenticationError(username=text),
    ):
        assert str(error).isprintable()


def test_a_long_value_is_cut_in_the_message_and_kept_whole():
    """A message stays readable; the attribute has it all."""
    error = DataValidationError("symbol", "A" * 100_000, "is too long")
    assert len(str(error)) < 500
    assert "100000 characters" in str(error)
    assert len(error.value) == 100_000


def test_a_value_that_has_no_text_is_shown_by_its_class():
    """A bad value cannot turn our error into another one."""
    assert "<Hostile>" in str(DataValidationError("symbol", Hostile(), "must be a str"))
