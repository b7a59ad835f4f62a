"""Signed messages to other servers, and alerts to the operator."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tvDatafeed.exceptions import (
    DeliveryError,
    OutboxError,
    OutboxFullError,
    RetryExhaustedError,
    SigningError,
    VerificationError,
)

if TYPE_CHECKING:
    from tvDatafeed.config import DeliveryConfig, RedisConfig, TelegramConfig
    from tvDatafeed.delivery.alerts import (
        AlertService,
        send_owner_alert,
        send_signal_delivery_error,
    )
    from tvDatafeed.delivery.asyncwebhook import AsyncWebhook
    from tvDatafeed.delivery.canonical import CanonicalRequest
    from tvDatafeed.delivery.outbox import Outbox, OutboxMessage
    from tvDatafeed.delivery.redisfeed import RedisFeed, RedisSeis
    from tvDatafeed.delivery.redispublisher import RedisPublisher
    from tvDatafeed.delivery.retry import (
        RetryPolicy,
        calculate_backoff_delay,
        retry_async,
        with_retry,
    )
    from tvDatafeed.delivery.signing import VerifiedMessage, new_secret, sign, verify
    from tvDatafeed.delivery.telegram import TelegramSender
    from tvDatafeed.delivery.webhook import DeliveryResult, Webhook

__all__ = [
    "AlertService",
    "AsyncWebhook",
    "CanonicalRequest",
    "DeliveryConfig",
    "DeliveryError",
    "DeliveryResult",
    "Outbox",
    "OutboxError",
    "OutboxFullError",
    "OutboxMessage",
    "RedisConfig",
    "RedisFeed",
    "RedisPublisher",
    "RedisSeis",
    "RetryExhaustedError",
    "RetryPolicy",
    "SigningError",
    "TelegramConfig",
    "TelegramSender",
    "VerificationError",
    "VerifiedMessage",
    "Webhook",
    "calculate_backoff_delay",
    "new_secret",
    "retry_async",
    "send_owner_alert",
    "send_signal_delivery_error",
    "sign",
    "verify",
    "with_retry",
]

_HOMES = {
    "AlertService": "delivery.alerts",
    "AsyncWebhook": "delivery.asyncwebhook",
    "CanonicalRequest": "delivery.canonical",
    "DeliveryConfig": "config",
    "DeliveryResult": "delivery.webhook",
    "Outbox": "delivery.outbox",
    "OutboxMessage": "delivery.outbox",
    "RedisConfig": "config",
    "RedisFeed": "delivery.redisfeed",
    "RedisPublisher": "delivery.redispublisher",
    "RedisSeis": "delivery.redisfeed",
    "RetryPolicy": "delivery.retry",
    "TelegramConfig": "config",
    "TelegramSender": "delivery.telegram",
    "VerifiedMessage": "delivery.signing",
    "Webhook": "delivery.webhook",
    "calculate_backoff_delay": "delivery.retry",
    "new_secret": "delivery.signing",
    "retry_async": "delivery.retry",
    "send_owner_alert": "delivery.alerts",
    "send_signal_delivery_error": "delivery.alerts",
    "sign": "delivery.signing",
    "verify": "delivery.signing",
    "with_retry": "delivery.retry",
}


def __getattr__(name: str) -> Any:
    """Import a public name at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tvDatafeed.{_HOMES[name]}"), name)
