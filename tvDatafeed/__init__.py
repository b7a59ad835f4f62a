"""tvDatafeed: TradingView market data in pandas.

>>> from tvDatafeed import Interval, TvDatafeed
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tvDatafeed.common.redaction import mask_sensitive_data
from tvDatafeed.config import TvDatafeedConfig
from tvDatafeed.datafeed import TvDatafeedLive
from tvDatafeed.exceptions import (
    AuthenticationError,
    CaptchaRequiredError,
    ConfigurationError,
    ConnectionError,  # noqa: A004 - the name of tvDatafeed 2.x; a subclass of the builtin
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
from tvDatafeed.frames.plot import plot
from tvDatafeed.interval import Interval
from tvDatafeed.live.seis import Consumer, Seis
from tvDatafeed.main import TvDatafeed
from tvDatafeed.symbology.info import SymbolInfo
from tvDatafeed.utils import (
    ContextTimer,
    generate_chart_session_id,
    generate_session_id,
    retry_with_backoff,
)
from tvDatafeed.validators import Validators

__all__ = [
    "AuthenticationError",
    "CaptchaRequiredError",
    "ConfigurationError",
    "ConnectionError",
    "Consumer",
    "ConsumerError",
    "ContextTimer",
    "DataError",
    "DataNotFoundError",
    "DataValidationError",
    "DeliveryError",
    "EntitlementError",
    "Interval",
    "InvalidIntervalError",
    "InvalidOHLCError",
    "LockTimeoutError",
    "NetworkError",
    "OutboxError",
    "OutboxFullError",
    "ProtocolError",
    "RateLimitError",
    "RetryExhaustedError",
    "Seis",
    "SigningError",
    "SlowConsumerError",
    "StoreCorruptError",
    "StoreError",
    "StoreLockedError",
    "StoreVersionError",
    "SymbolInfo",
    "SymbolNotFoundError",
    "ThreadingError",
    "TvDatafeed",
    "TvDatafeedConfig",
    "TvDatafeedError",
    "TvDatafeedLive",
    "TwoFactorRequiredError",
    "Validators",
    "VerificationError",
    "WebSocketError",
    "WebSocketTimeoutError",
    "generate_chart_session_id",
    "generate_session_id",
    "mask_sensitive_data",
    "plot",
    "retry_with_backoff",
]

__version__ = "3.0.0.dev0"

# Import paths that nothing above imports.
_PARTS = frozenset({"consumer", "delivery", "metrics", "network", "seis", "store", "testing"})

# Those of them that a program names; the other two are old paths of names above.
_SHOWN_PARTS = _PARTS - {"consumer", "seis"}

# Not for type checkers, which would take every name for one of these.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a part of the package when it is first named."""
        if name not in _PARTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f"{__name__}.{name}")

    def __dir__() -> list[str]:
        """Return the public names, and the parts that are used by their own names."""
        return sorted({*__all__, *_SHOWN_PARTS, "__version__"})
