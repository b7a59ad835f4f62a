"""Passwords in the system's keyring."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from tvDatafeed.exceptions import ConfigurationError

_KEYRING_SERVICE = "tvDatafeed"


def keyring_password(username: str) -> str | None:
    """Return a user's password from the system's keyring (extra ``keyring``).

    Parameters
    ----------
    username : str
        The user.

    Returns
    -------
    str or None
        None if the keyring has no such password.

    Raises
    ------
    ConfigurationError
        If the extra is not installed, or the system has no keyring.
    """
    password = _keyring(lambda ring: ring.get_password(_KEYRING_SERVICE, username))
    return password if isinstance(password, str) else None


def set_keyring_password(username: str, password: str | None) -> None:
    """Store a user's password in the system's keyring; None removes it.

    Parameters
    ----------
    username : str
        The user.
    password : str or None
        The password.

    Raises
    ------
    ConfigurationError
        As for `keyring_password`.
    """
    if password is not None:
        _keyring(lambda ring: ring.set_password(_KEYRING_SERVICE, username, password))
    elif keyring_password(username) is not None:
        _keyring(lambda ring: ring.delete_password(_KEYRING_SERVICE, username))


def _keyring(use: Callable[[Any], Any]) -> Any:
    try:
        ring = importlib.import_module("keyring")
    except ImportError:
        raise ConfigurationError(
            "keyring", "missing", 'must be installed: pip install "tvdatafeed[keyring]"'
        ) from None
    reason = ""
    try:
        return use(ring)
    except Exception as error:  # noqa: BLE001 - each backend has errors of its own
        reason = type(error).__name__
    # Raised outside of the handler, since a backend's text may contain the password.
    raise ConfigurationError("keyring", reason, "must be a keyring that works on this system")
