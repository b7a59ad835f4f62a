"""Format the messages of the server as JSON texts, the payloads of packets."""

import json
from typing import Any


def to_json(value: Any) -> str:
    """Format JSON as TradingView does: without spaces and unnecessary escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def plain(name: str, *params: Any) -> str:
    """Format a message without a time; `Backend.stamped` formats messages with one."""
    return to_json({"m": name, "p": params})
