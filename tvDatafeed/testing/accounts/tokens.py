"""The data tokens of accounts: JWTs in TradingView's shape, kept as long as the server."""

import base64
import binascii
import json
import re
import secrets
import threading
from typing import Any

from tvDatafeed.testing.wire.payloads import to_json

_JWT = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]+", re.ASCII)
_HEADER = {"alg": "RS512", "kid": "GZxU", "typ": "JWT"}
# RS512 with a key of 2048 bits.
_SIGNATURE_BYTES = 256
# The limits of a plan: studies in a chart, charts in a layout, alerts, connections. The limits of
# the free plan are recorded, the others are in proportion.
_LIMITS = {
    "": (2, 1, 3, 2),
    "pro": (5, 2, 20, 10),
    "pro_plus": (10, 4, 100, 20),
    "pro_premium": (25, 8, 400, 50),
    "ultimate": (50, 16, 1000, 200),
}


class Tokens:
    """The tokens that a server has issued, and when they expire.

    Parameters
    ----------
    changed
        The lock and condition of the journal; notified when a token is issued.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._expiries: dict[str, float] = {}
        self._issued = 0

    @property
    def issued(self) -> int:
        """How many tokens were issued, including expired ones."""
        return self._issued

    def issue(
        self, user_id: int, plan: str, now: float, lifetime_s: float, *, perm: str = ""
    ) -> str:
        """Return a new token; `perm` is a comma list of exchanges with real-time data."""
        issued_at, expiry = int(now), int(now + lifetime_s)
        signature = _segment(secrets.token_bytes(_SIGNATURE_BYTES))
        claims = _claims(user_id, plan, issued_at, expiry) | {"perm": perm}
        token = ".".join([*(_segment(to_json(x).encode()) for x in (_HEADER, claims)), signature])
        with self._changed:
            self._expiries[token] = expiry
            self._issued += 1
            self._changed.notify_all()
        return token

    def expire(self, token: str | None = None) -> None:
        """Expire one token, or all that were issued so far with None."""
        with self._changed:
            for each in list(self._expiries) if token is None else [token]:
                self._expiries[each] = 0.0

    def is_known(self, token: str) -> bool:
        """Whether a token was issued here or expired by `expire`."""
        with self._changed:
            return token in self._expiries

    def has_ended(self, token: str, now: float) -> bool:
        """Whether a known token has expired."""
        with self._changed:
            return self._expiries[token] <= now


def claims_of(token: str) -> dict[str, Any] | None:
    """Return the claims of a JWT; None if it is not a JWT, empty if the claims are not valid."""
    jwt = _JWT.fullmatch(token)
    if jwt is None:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(jwt[1] + "=" * (-len(jwt[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _claims(user_id: int, plan: str, issued_at: int, expiry: int) -> dict[str, Any]:
    studies, charts, alerts, connections = _LIMITS[plan]
    return {
        "user_id": user_id,
        "exp": expiry,
        "iat": issued_at,
        "plan": plan,
        "prostatus": "paid" if plan else "non_pro",
        "ext_hours": 1 if plan else 0,
        "perm": "",
        "study_perm": "",
        "max_studies": studies,
        "max_fundamentals": 1,
        "max_charts": charts,
        "max_active_alerts": alerts,
        "max_study_on_study": 1,
        "fields_permissions": [],
        "max_alert_conditions": 5,
        "max_overall_alerts": 2000,
        "max_active_primitive_alerts": alerts,
        "max_active_complex_alerts": alerts,
        "max_connections": connections,
    }
