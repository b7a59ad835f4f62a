"""The network: bytes, deadlines, connections and retries."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvDatafeed.config import NetworkConfig
    from tvDatafeed.network.pool import WebSocketManager

__all__ = ["NetworkConfig", "WebSocketManager"]


def __getattr__(name: str) -> Any:
    """Import a public name at first use, so that HTTP alone loads no WebSocket."""
    if name == "WebSocketManager":
        from tvDatafeed.network.pool import WebSocketManager  # noqa: PLC0415 - as said

        return WebSocketManager
    if name == "NetworkConfig":
        from tvDatafeed.config import NetworkConfig  # noqa: PLC0415 - as said

        return NetworkConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
