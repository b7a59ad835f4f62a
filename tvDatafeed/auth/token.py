"""Data tokens: their expiry, their renewal, and their plan.

A token is a JWT. Only TradingView verifies its signature; this module reads when to renew it and
which plan it has.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any

# A token is 1 to 2 KB.
MAX_TOKEN_CHARACTERS = 64 * 1024

# Renewed this long before it expires, or for short-lived tokens a tenth of their life.
RENEWAL_MARGIN_S = 300.0

_JWT_PARTS = 3

_LIFE_PARTS = 10


def expiry_of(token: str) -> float | None:
    """Return when a token expires.

    Parameters
    ----------
    token : str
        A data token; its signature is not verified.

    Returns
    -------
    float or None
        Seconds since 1970 UTC; None if the token has no expiry.

    Examples
    --------
    >>> expiry_of("unauthorized_user_token") is None
    True
    """
    return _seconds(_claims(token).get("exp"))


def renewal_of(token: str) -> float | None:
    """Return when to renew a token: 5 minutes, or a tenth of its life, before it expires.

    Parameters
    ----------
    token : str
        A data token.

    Returns
    -------
    float or None
        Seconds since 1970 UTC; None if the token has no expiry.
    """
    claims = _claims(token)
    end, start = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    if end is None:
        return None
    life = math.inf if start is None or start >= end else end - start
    return end - min(RENEWAL_MARGIN_S, life / _LIFE_PARTS)


def plan_of(token: str) -> str:
    """Return the plan of a token.

    Parameters
    ----------
    token : str
        A data token.

    Returns
    -------
    str
        Such as "pro_premium"; empty for the free plan, and for a token without a plan.
    """
    plan = _claims(token).get("plan")
    return plan if isinstance(plan, str) else ""


def user_of(token: str) -> str:
    """Return the number of a token's user; empty if the token has none."""
    user = _claims(token).get("user_id")
    return str(user) if isinstance(user, int | str) else ""


def _claims(token: str) -> dict[str, Any]:
    """Read the payload of a JWT (protocol: header.payload.signature, each base64url)."""
    parts = token.split(".") if len(token) <= MAX_TOKEN_CHARACTERS else []
    if len(parts) != _JWT_PARTS:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(payload)
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
