"""Redaction of secrets in texts."""

import re
from collections.abc import Iterable

_HIDDEN_LENGTH = 8
TOKEN = re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*){0,2}")
# Shorter strings appear in ordinary text by chance.
REDACT_MIN_LENGTH = 4


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in a text by ``***``.

    Parameters
    ----------
    text : str
        The text, such as an answer of the server that may repeat what we sent.
    secrets : iterable of str
        The secrets. Those shorter than 4 characters are not replaced: they would occur by chance.

    Returns
    -------
    str
        The text without the secrets.

    Examples
    --------
    >>> redact("token eyJhbGci rejected", ["eyJhbGci"])
    'token *** rejected'
    """
    # Longest first, so that a secret that contains another is replaced completely.
    hidden = sorted((s for s in set(secrets) if len(s) >= REDACT_MIN_LENGTH), key=len)
    if hidden:
        text = re.sub("|".join(map(re.escape, reversed(hidden))), "***", text)
    # Tokens are also recognized by their form, even if truncated or unknown.
    return TOKEN.sub("***", text)


def masked_url(url: str) -> str:
    """Return a URL without its password and query, which may contain a password too.

    An unquoted password, which may contain any character, is hidden as well.
    """
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    name, colon, _password = user.partition(":")
    shown = f"{name}{':***' if colon else ''}{at}{place}"
    return f"{scheme}{separator}{shown}".partition("?")[0]


def mask_sensitive_data(data: str | None, visible_chars: int = 4, mask_char: str = "*") -> str:
    """Hide all but the end of a secret.

    Parameters
    ----------
    data : str or None
        The secret.
    visible_chars : int, default 4
        How many characters at the end stay readable; 0 shows nothing.
    mask_char : str, default "*"
        The replacement of a hidden character.

    Returns
    -------
    str
        A text as long as `data`; eight mask characters if `data` is empty or would be shown
        completely.

    Examples
    --------
    >>> mask_sensitive_data("abcdefgh")
    '****efgh'
    """
    visible_chars = max(visible_chars, 0)
    if not data or len(data) <= visible_chars:
        return mask_char * _HIDDEN_LENGTH
    hidden = len(data) - visible_chars
    return mask_char * hidden + data[hidden:]
