"""Accounts: signing in, data tokens and their cache."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvDatafeed.auth.authenticator import Authenticator, Identity
    from tvDatafeed.auth.legacy import TradingViewAuth
    from tvDatafeed.auth.signin import Credentials

__all__ = ["Authenticator", "Credentials", "Identity", "TradingViewAuth"]

_HOMES = {
    "Authenticator": "authenticator",
    "Credentials": "signin",
    "Identity": "authenticator",
    "TradingViewAuth": "legacy",
}


def __getattr__(name: str) -> Any:
    """Import a public name at first use, so that one part of this folder loads no other."""
    if name == "cache":
        return import_module(f"{__name__}.cache")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
