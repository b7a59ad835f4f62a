"""Signatures of messages, as Standard Webhooks specifies them.

The signature is ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``. A header may hold
several, separated by spaces, so that a secret can be replaced while messages are on their way.
Specification: https://github.com/standard-webhooks/standard-webhooks
"""

import base64
import binascii
import functools
import hashlib
import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tvDatafeed.common.facts import facts
from tvDatafeed.exceptions import ConfigurationError, SigningError, VerificationError

__all__ = ["TOLERANCE_S", "VerifiedMessage", "new_secret", "sign", "verify"]

logger: logging.Logger = logging.getLogger(__name__)

# How much the clocks of two machines may differ; the specification proposes five minutes.
TOLERANCE_S = 300

_PREFIX = "whsec_"
_VERSION = "v1,"
_NEW_SECRET_BYTES = 32
# 128 bits cannot be guessed; the specification asks for 24 to 64 bytes.
_MIN_SECRET_BYTES = 16
_GOOD_SECRET_BYTES = 24
# One secret and its predecessor are usual; each further one costs an HMAC.
_MAX_SECRETS = 16
# Headers of a message have a size: nothing is gained by comparing more.
_MAX_SIGNATURES = 64
# No full stop: it separates the parts of what is signed.
_ID = re.compile(r"[!-\-/-~]{1,256}")
# Seconds up to the year 5138.
_TIMESTAMP = re.compile(r"[0-9]{1,11}")
_ID_HEADER = "webhook-id"
_TIMESTAMP_HEADER = "webhook-timestamp"
_SIGNATURE_HEADER = "webhook-signature"


class Headers(Protocol):
    """The headers of a request: a mapping, or those that `http.server` passes on."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return pairs of a name and a value."""


@dataclass(frozen=True)
class VerifiedMessage:
    """A message whose signature is valid.

    Attributes
    ----------
    id : str
        The id, which all attempts to deliver this message share.
    timestamp : int
        When this attempt was signed, in seconds since 1970.
    body : bytes
        The body that was signed.
    """

    id: str
    timestamp: int
    body: bytes


def new_secret() -> str:
    """Return a new secret of 32 random bytes.

    Returns
    -------
    str
        ``whsec_`` and base64.

    Examples
    --------
    >>> len(new_secret())
    50
    """
    return _PREFIX + base64.b64encode(secrets.token_bytes(_NEW_SECRET_BYTES)).decode("ascii")


def sign(secret: str | Sequence[str], id: str, timestamp: float, body: str | bytes) -> str:  # noqa: A002 - the name in the specification
    """Return the value of the header ``webhook-signature``.

    Parameters
    ----------
    secret : str or sequence of str
        ``whsec_`` and base64, or a text of at least 16 bytes. Several: one signature each.
    id : str
        The message's id: printable ASCII without spaces and full stops, at most 256 characters.
    timestamp : float
        The moment of this attempt, in seconds since 1970; cut to whole seconds.
    body : str or bytes
        What will be sent, to the byte; a text is encoded as UTF-8.

    Returns
    -------
    str
        ``v1,`` and base64; several are separated by spaces.

    Raises
    ------
    SigningError
        The id, timestamp or body cannot be signed.
    ConfigurationError
        The secret cannot be used.

    Examples
    --------
    >>> sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_1", 1614265330, b"{}")
    'v1,ZztYR0IIDCBCUcYzh8ZE+qsQWpIgtHU7R1hpe8htaD4='
    """
    keys = secret_keys(secret)
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise SigningError(
            "the id of a message must be printable ASCII without spaces and full stops, "
            "at most 256 characters"
        )
    try:
        seconds = str(math.floor(timestamp))
    except (TypeError, ValueError, OverflowError):
        seconds = ""
    if isinstance(timestamp, bool) or not _TIMESTAMP.fullmatch(seconds):
        raise SigningError("the timestamp of a message must be a number of seconds since 1970")
    try:
        content = bytes_of(body)
    except (TypeError, ValueError) as error:
        reason = str(error)
    else:
        return " ".join(_signatures(keys, id, seconds, content))
    raise SigningError(reason)


def verify(
    headers: Headers | Iterable[tuple[str, str]],
    body: str | bytes,
    secret: str | Sequence[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now: float | None = None,
) -> VerifiedMessage:
    """Check the signature and the age of a message that came in.

    A message may come more than once: remember its ``id`` to handle it once.

    Parameters
    ----------
    headers : mapping of str to str, headers of `http.server`, or pairs of str
        The request's headers; the case of names does not matter, and names and values may be bytes.
    body : str or bytes
        The body as it came, not parsed and serialised again.
    secret : str or sequence of str
        The secret; several are all accepted.
    tolerance_s : float, default 300
        By how many seconds the timestamp may differ from `now`, in either direction.
    now : float, optional
        The present moment in seconds since 1970. Default: this machine's clock.

    Returns
    -------
    VerifiedMessage
        The id, timestamp and body.

    Raises
    ------
    VerificationError
        The message is not authentic, or any argument cannot be used; no other error is raised.

    Examples
    --------
    >>> secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    >>> signature = sign(secret, "msg_1", 1614265330, b"{}")
    >>> headers = {
    ...     "webhook-id": "msg_1",
    ...     "webhook-timestamp": "1614265330",
    ...     "webhook-signature": signature,
    ... }
    >>> verify(headers, b"{}", secret, now=1614265331)
    VerifiedMessage(id='msg_1', timestamp=1614265330, body=b'{}')
    """
    try:
        return _verified(headers, body, secret, tolerance_s, now)
    except VerificationError:
        raise
    except ConfigurationError as error:
        reason = f"the secret cannot be used: {error.reason}"
    except Exception as error:  # noqa: BLE001 - a hostile header may raise anything
        reason = f"the message cannot be read ({type(error).__name__})"
    # Outside of the handler: the original may hold parts of the message.
    raise VerificationError(reason)


def _verified(
    headers: Headers | Iterable[tuple[str, str]],
    body: str | bytes,
    secret: str | Sequence[str],
    tolerance_s: float,
    now: float | None,
) -> VerifiedMessage:
    keys = secret_keys(secret)
    found = header_values(headers, (_ID_HEADER, _TIMESTAMP_HEADER, _SIGNATURE_HEADER))
    message_id, timestamp = found[_ID_HEADER], found[_TIMESTAMP_HEADER]
    if not _ID.fullmatch(message_id):
        raise VerificationError(f"the header {_ID_HEADER} is not an id")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise VerificationError(f"the header {_TIMESTAMP_HEADER} is not a number of seconds")
    content = bytes_of(body)
    given = [s for s in found[_SIGNATURE_HEADER].split(" ") if s.startswith(_VERSION)]
    if len(given) > _MAX_SIGNATURES:
        raise VerificationError(f"the header {_SIGNATURE_HEADER} holds too many signatures")
    if not matches(given, _signatures(keys, message_id, timestamp, content)):
        raise VerificationError(
            "the signature does not match: another secret, or the body was changed on the way"
        )
    check_age(int(timestamp), tolerance_s, now)
    return VerifiedMessage(message_id, int(timestamp), content)


def _signatures(keys: Sequence[bytes], message_id: str, timestamp: str, body: bytes) -> list[str]:
    content = b"%b.%b.%b" % (message_id.encode("ascii"), timestamp.encode("ascii"), body)
    return [_VERSION + mac(key, content) for key in keys]


def mac(key: bytes, content: bytes) -> str:
    """Return HMAC-SHA256 in base64."""
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode("ascii")


def matches(given: Iterable[str], expected: Sequence[str]) -> bool:
    """Whether one of some signatures is expected; how long it takes depends on their number alone.

    Texts are compared, not what they decode to: several texts decode to the same bytes.
    """
    found = False
    for signature in given:
        received = signature.encode("utf-8", "surrogatepass")
        for own in expected:
            found |= hmac.compare_digest(received, own.encode("ascii"))
    return found


def check_age(timestamp: float, tolerance_s: float, now: float | None) -> None:
    """Raise a `VerificationError` for a message that is too old or too new."""
    present = time.time() if now is None else now
    ahead_s = timestamp - present
    if abs(ahead_s) <= tolerance_s:
        return
    raise VerificationError(
        f"the message was signed {abs(ahead_s):.0f} s {'after' if ahead_s > 0 else 'before'} now, "
        f"and {tolerance_s:g} s are allowed: is the clock of one machine wrong?"
    )


def header_values(
    headers: Headers | Iterable[tuple[str, str]], names: Sequence[str]
) -> dict[str, str]:
    """Return the values of some headers, by lower-case names.

    Raises
    ------
    VerificationError
        One is missing, or is there twice with different values.
    """
    found: dict[str, str] = {}
    # Not all that have items() are mappings: http.server's headers are not.
    items = getattr(headers, "items", None)
    pairs: Any = headers if items is None else items()
    for name, value in pairs:
        key = _text(name).lower()
        if key not in names:
            continue
        text = _text(value)
        if found.setdefault(key, text) != text:
            raise VerificationError(f"the header {key} is there twice")
    for name in names:
        if name not in found:
            raise VerificationError(f"the header {name} is missing")
    return found


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise TypeError("headers must be texts")
    return value


def bytes_of(body: object) -> bytes:
    """Return a body as bytes.

    Raises
    ------
    TypeError, ValueError
        It is something else, or a text that UTF-8 cannot express.
    """
    if isinstance(body, str):
        try:
            return body.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("the body is not a text that UTF-8 can express") from None
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"the body must be bytes or str, not {type(body).__name__}")


def secret_keys(secret: str | Sequence[str]) -> tuple[bytes, ...]:
    """Return the keys of one secret or several.

    Parameters
    ----------
    secret
        ``whsec_`` and base64, or a text of at least 16 bytes; or a sequence of these.

    Raises
    ------
    ConfigurationError
        A secret is missing, too short, or not base64.
    """
    if isinstance(secret, str):
        return (_key(secret),)
    if not isinstance(secret, Sequence):
        raise ConfigurationError("secret", None, "must be a text, or a sequence of texts")
    if not 1 <= len(secret) <= _MAX_SECRETS or not all(isinstance(one, str) for one in secret):
        raise ConfigurationError("secret", None, f"must be 1 to {_MAX_SECRETS} texts")
    return tuple(_key(one) for one in secret)


# A short secret is reported once, not with each message.
@functools.lru_cache(maxsize=64)
def _key(secret: str) -> bytes:
    if secret.startswith(_PREFIX):
        coded = secret.removeprefix(_PREFIX)
        try:
            key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = None
    else:
        try:
            key = secret.encode("utf-8")
        except UnicodeEncodeError:
            key = None
    if key is None:
        reason = f"must be {_PREFIX} and base64, or another text"
    elif len(key) < _MIN_SECRET_BYTES:
        reason = (
            f"must have at least {_MIN_SECRET_BYTES} bytes, and has {len(key)}; "
            "new_secret() makes a good one"
        )
    else:
        if len(key) < _GOOD_SECRET_BYTES:
            logger.warning(
                "a secret has %d bytes; at least %d are advised: new_secret() makes a good one",
                len(key),
                _GOOD_SECRET_BYTES,
                extra=facts(bytes=len(key)),
            )
        return key
    # Outside of the handlers: the original holds the secret.
    raise ConfigurationError("secret", secret, reason)
