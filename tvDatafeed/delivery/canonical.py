"""The scheme of signatures that older receivers know.

Six lines are signed with HMAC-SHA256, in base64: method, path, timestamp, producer, nonce, and the
SHA-256 of the body in hexadecimal digits. New receivers use Standard Webhooks, which
`tvDatafeed.delivery.signing` implements.
"""

import datetime as dt
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence

from tvDatafeed.delivery.signing import (
    TOLERANCE_S,
    VerifiedMessage,
    bytes_of,
    check_age,
    header_values,
    mac,
    matches,
    secret_keys,
)
from tvDatafeed.exceptions import ConfigurationError, SigningError, VerificationError

__all__ = ["CanonicalRequest"]

_PRODUCER_HEADER = "X-Producer-Id"
_TIMESTAMP_HEADER = "X-Timestamp"
_NONCE_HEADER = "X-Nonce"
_SIGNATURE_HEADER = "X-Signature"
_IDEMPOTENCY_HEADER = "X-Idempotency-Key"
_SIGNED_HEADERS = (_PRODUCER_HEADER, _TIMESTAMP_HEADER, _NONCE_HEADER, _SIGNATURE_HEADER)

_METHOD = re.compile(r"[A-Za-z]{1,32}")
# A line break would move the border between two lines of what is signed.
_PATH = re.compile(r"/[!-~]{0,8191}")
_NAME = re.compile(r"[!-~]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_TIMESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_NONCE_BYTES = 16
# The nonce of our own messages: the id, and the number of the attempt.
_OWN_NONCE = re.compile(r"((?:bar|evt)_[A-Za-z2-7]{26})[.:-][0-9]{1,9}")


class CanonicalRequest:
    """Signs and verifies requests in the scheme of older receivers.

    Parameters
    ----------
    producer_id : str
        Who signs: printable ASCII without spaces, at most 256 characters.
    secret : str or sequence of str
        ``whsec_`` and base64, or a text of at least 16 bytes. Of several the first signs, and all
        are accepted.

    Raises
    ------
    ConfigurationError
        The producer or a secret cannot be used.

    Examples
    --------
    >>> request = CanonicalRequest("desk-1", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> headers = request.headers("POST", "/bars?v=1", b"{}")
    >>> request.verify("POST", "/bars?v=1", headers, b"{}").body
    b'{}'
    """

    def __init__(self, producer_id: str, secret: str | Sequence[str]) -> None:
        if not isinstance(producer_id, str) or not _NAME.fullmatch(producer_id):
            raise ConfigurationError(
                "producer_id",
                producer_id,
                "must be printable ASCII without spaces, at most 256 characters; "
                "TV_WEBHOOK_PRODUCER_ID sets it",
            )
        self._producer_id = producer_id
        self._keys = secret_keys(secret)

    def __repr__(self) -> str:
        return f"<CanonicalRequest of {self._producer_id}>"

    @property
    def producer_id(self) -> str:
        """Who signs."""
        return self._producer_id

    def headers(
        self,
        method: str,
        path: str,
        body: str | bytes,
        *,
        nonce: str | None = None,
        timestamp: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, str]:
        """Return the headers that sign a request.

        Parameters
        ----------
        method : str
            The request's method, in any case.
        path : str
            The path with its query, as it is sent: ``/hook?v=1``.
        body : str or bytes
            What will be sent, to the byte; a text is encoded as UTF-8.
        nonce : str, optional
            A text that no other request has. Default: a random one.
        timestamp : str, optional
            The moment of this attempt, RFC 3339 in UTC and whole seconds: "2026-08-14T22:00:00Z".
            Default: now.
        idempotency_key : str, optional
            The message's id, the same for each attempt; sent beside the others. Not signed, unless
            the nonce holds it.

        Returns
        -------
        dict of str to str
            ``X-Producer-Id``, ``X-Timestamp``, ``X-Nonce``, ``X-Signature``, and
            ``X-Idempotency-Key`` if there is a key.

        Raises
        ------
        SigningError
            A value cannot be signed.
        """
        if nonce is None:
            nonce = secrets.token_hex(_NONCE_BYTES)
        if timestamp is None:
            timestamp = dt.datetime.now(dt.timezone.utc).strftime(_TIMESTAMP_FORMAT)
        if idempotency_key is not None and not _is_name(idempotency_key):
            raise SigningError("the idempotency key must be printable ASCII without spaces")
        try:
            _time_s(timestamp)
            text = _canonical(method, path, timestamp, self._producer_id, nonce, bytes_of(body))
        except (TypeError, ValueError) as error:
            reason = str(error)
        else:
            signed = {
                _PRODUCER_HEADER: self._producer_id,
                _TIMESTAMP_HEADER: timestamp,
                _NONCE_HEADER: nonce,
                _SIGNATURE_HEADER: mac(self._keys[0], text),
            }
            if idempotency_key is not None:
                signed[_IDEMPOTENCY_HEADER] = idempotency_key
            return signed
        raise SigningError(reason)

    def verify(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        body: str | bytes,
        *,
        tolerance_s: float = TOLERANCE_S,
        now: float | None = None,
    ) -> VerifiedMessage:
        """Check the signature and the age of a request that came in.

        Nonces are not remembered: remember the message's ``id`` to handle it once.

        Parameters
        ----------
        method, path : str
            Of the request, the path with its query.
        headers : mapping of str to str, or pairs of str
            The request's headers; the case of names does not matter.
        body : str or bytes
            The body as it came.
        tolerance_s : float, default 300
            By how many seconds the timestamp may differ from `now`, in either direction.
        now : float, optional
            The present moment in seconds since 1970. Default: this machine's clock.

        Returns
        -------
        VerifiedMessage
            The id is the nonce, without the number of the attempt if this library made it: unlike
            the idempotency key it is signed.

        Raises
        ------
        VerificationError
            The request is not authentic, or any argument cannot be used; no other error is raised.
        """
        try:
            return self._verified(method, path, headers, body, tolerance_s, now)
        except VerificationError:
            raise
        except Exception as error:  # noqa: BLE001 - a hostile header may raise anything
            reason = f"the request cannot be read ({type(error).__name__})"
        # Outside of the handler: the original may hold parts of the message.
        raise VerificationError(reason)

    def _verified(  # noqa: PLR0917 - as `verify`
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        body: str | bytes,
        tolerance_s: float,
        now: float | None,
    ) -> VerifiedMessage:
        names = [name.lower() for name in _SIGNED_HEADERS]
        found = header_values(headers, names)
        producer, timestamp, nonce, signature = (found[name] for name in names)
        content = bytes_of(body)
        text = _canonical(method, path, timestamp, producer, nonce, content)
        if not matches([signature], [mac(key, text) for key in self._keys]):
            raise VerificationError(
                "the signature does not match: another secret, method or path, or the body was "
                "changed on the way"
            )
        if producer != self._producer_id:
            raise VerificationError("the request comes from another producer")
        time_s = _time_s(timestamp)
        check_age(time_s, tolerance_s, now)
        own = _OWN_NONCE.fullmatch(nonce)
        return VerifiedMessage(own[1] if own else nonce, time_s, content)


def _canonical(  # noqa: PLR0917 - the lines in their order
    method: str, path: str, timestamp: str, producer: str, nonce: str, body: bytes
) -> bytes:
    """Return the bytes that are signed."""
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        raise ValueError("the method must be a word such as POST")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ValueError("the path must begin with / and be printable ASCII without spaces")
    if not _is_name(nonce):
        raise ValueError("the nonce must be printable ASCII without spaces")
    digest = hashlib.sha256(body).hexdigest()
    lines = (method.upper(), path, timestamp, producer, nonce, digest)
    return "\n".join(lines).encode("utf-8")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _time_s(timestamp: object) -> int:
    """Return the seconds since 1970 of an RFC 3339 timestamp in UTC and whole seconds."""
    if isinstance(timestamp, str) and _TIMESTAMP.fullmatch(timestamp):
        try:
            return int(dt.datetime.fromisoformat(f"{timestamp[:-1]}+00:00").timestamp())
        except ValueError:
            pass  # the 30th of February
    raise ValueError("the timestamp must be like 2026-08-14T22:00:00Z")
