"""Codes of an authenticator app."""

from __future__ import annotations

import base64
import binascii
import re

from tvDatafeed.exceptions import (
    ConfigurationError,
)

# Not pyotp, which refuses secrets below 112 bits.
_TOTP_MIN_BYTES = 14


def totp_at(secret: str, at: float) -> str:
    """Return the code that an authenticator app shows at a moment.

    Parameters
    ----------
    secret : str
        Base32; spaces, hyphens, padding and case do not matter, and 80 bits are enough.
    at : float
        Seconds since 1970.

    Returns
    -------
    str
        Six digits.

    Raises
    ------
    ConfigurationError
        If the secret is not base32.

    Examples
    --------
    >>> totp_at("gezd gnbv gy3t qojq gezd gnbv gy3t qojq", 59)
    '287082'
    """
    import pyotp  # noqa: PLC0415 - needed by few

    text = re.sub(r"[\s=-]", "", secret).upper()
    try:
        key = base64.b32decode(text + "=" * (-len(text) % 8))
    except (ValueError, binascii.Error):
        key = b""
    if not key:
        raise ConfigurationError(
            "totp_secret", "***", "must be base32: the letters A to Z and the digits 2 to 7"
        )
    # An HMAC key produces the same codes with appended zero bytes.
    padded = base64.b32encode(key.ljust(_TOTP_MIN_BYTES, b"\0")).decode().rstrip("=")
    return pyotp.TOTP(padded).at(int(at))
