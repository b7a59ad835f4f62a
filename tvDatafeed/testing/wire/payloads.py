"""How the server writes: its messages as the JSON texts that go into packets."""

import json
from typing import Any


def to_json(value: Any) -> str:
    """Format JSON as TradingView does: no spaces, no escapes where none are needed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def plain(name: str, *params: Any) -> str:
    """Format a message without a time; see `Backend.stamped` for those that carry one."""
    return to_json({"m": name, "p": params})
