"""Every import path of tvDatafeed 2.x works, and importing the package is quick."""

import pytest

from tests.programs import run

PATHS = {
    "tvDatafeed": (
        "TvDatafeed TvDatafeedLive Interval Seis Consumer TvDatafeedError AuthenticationError "
        "TwoFactorRequiredError CaptchaRequiredError NetworkError WebSocketError "
        "WebSocketTimeoutError ConnectionError DataError DataNotFoundError DataValidationError "
        "InvalidOHLCError InvalidIntervalError ThreadingError LockTimeoutError ConsumerError "
        "ConfigurationError RateLimitError Validators generate_session_id "
        "generate_chart_session_id retry_with_backoff mask_sensitive_data ContextTimer "
        "SymbolNotFoundError ProtocolError EntitlementError SlowConsumerError SymbolInfo "
        "TvDatafeedConfig __version__"
    ),
    "tvDatafeed.main": "TvDatafeed Interval interval_len _get_timezone_object",
    "tvDatafeed.datafeed": "TvDatafeedLive RETRY_LIMIT SHUTDOWN_TIMEOUT CONSUMER_STOP_TIMEOUT",
    "tvDatafeed.seis": "Seis",
    "tvDatafeed.consumer": "Consumer",
    "tvDatafeed.exceptions": "TvDatafeedError SymbolNotFoundError SlowConsumerError",
    "tvDatafeed.validators": (
        "Validators validate_symbol validate_exchange validate_n_bars validate_ohlc"
    ),
    "tvDatafeed.utils": (
        "generate_session_id generate_chart_session_id retry_with_backoff mask_sensitive_data "
        "ContextTimer timeout_decorator log_execution_time format_timestamp chunk_list safe_divide "
        "clamp"
    ),
    "tvDatafeed.config": (
        "NetworkConfig AuthConfig DataConfig ThreadingConfig TvDatafeedConfig DEFAULT_CONFIG"
    ),
    "tvDatafeed.network": "WebSocketManager NetworkConfig",
    "tvDatafeed.ratelimit": "RateLimiter CircuitBreaker",
    "tvDatafeed.auth": "TradingViewAuth Authenticator Credentials Identity",
    "tvDatafeed.interval": "Interval interval_len",
    "tvDatafeed.metrics": "MetricsServer TvDatafeedCollector",
    "tvDatafeed.cli": "main",
}


@pytest.mark.slow
@pytest.mark.parametrize(("module", "names"), PATHS.items(), ids=PATHS)
def test_import_path(module, names):
    """The first import of a program may be any of them."""
    program = f"import {module}\nfrom {module} import {', '.join(names.split())}"
    done = run("-W", "error", "-c", program)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_import_is_quick():
    """No library that is slow to import is loaded before it is needed."""
    slow = {"pandas", "numpy", "requests", "urllib3", "websocket", "sqlite3", "msgspec", "ssl"}
    done = run("-c", f"import sys, tvDatafeed; print({slow!r} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("tvDatafeed.network.http", {"websocket", "pandas"}),
        ("tvDatafeed.auth.token", {"requests", "websocket", "pandas"}),
        ("tvDatafeed.query.history", {"requests", "websocket", "pandas"}),
    ],
)
def test_one_part_loads_no_other(module, absent):
    """The names that a folder hands on are imported at first use."""
    done = run("-c", f"import sys, {module}; print({absent!r} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("set()\n", "")
