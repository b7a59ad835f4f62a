"""Data tokens: when they end, when they are renewed, and whose plan they carry.

A token is a JWT. Its signature is TradingView's business; here it is only read, to know when to
renew it and which host serves its plan.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any

# A token is 1 to 2 KB.
MAX_TOKEN_CHARACTERS = 64 * 1024

# Renewed this long before the end, or a tenth of the life of tokens that live shorter.
RENEWAL_MARGIN_S = 300.0

_JWT_PARTS = 3

_LIFE_PARTS = 10


def expiry_of(token: str) -> float | None:
    """Return when a token ends.

    Parameters
    ----------
    token : str
        A data token; its signature is not verified.

    Returns
    -------
    float or None
        Seconds since 1970 UTC; None when the token does not say.

    Examples
    --------
    >>> expiry_of("unauthorized_user_token") is None
    True
    """
    return _seconds(_claims(token).get("exp"))


def renewal_of(token: str) -> float | None:
    """Return when a token should be replaced: 5 minutes, or a tenth of its life, before its end.

    Parameters
    ----------
    token : str
        A data token.

    Returns
    -------
    float or None
        Seconds since 1970 UTC; None when the token does not say when it ends.
    """
    claims = _claims(token)
    end, start = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
    if end is None:
        return None
    life = math.inf if start is None or start >= end else end - start
    return end - min(RENEWAL_MARGIN_S, life / _LIFE_PARTS)


def plan_of(token: str) -> str:
    """Return the plan that a token was issued for.

    Parameters
    ----------
    token : str
        A data token.

    Returns
    -------
    str
        Such as "pro_premium"; empty for the free plan, and when the token does not say.
    """
    plan = _claims(token).get("plan")
    return plan if isinstance(plan, str) else ""


def user_of(token: str) -> str:
    """Return the number of the user that a token was issued to; empty when it does not say."""
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
