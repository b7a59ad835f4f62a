"""The issuer of a certificate, read from its bytes.

Python shows the content of a certificate only after it was verified. The issuer matters if it
cannot be verified: it names the software that inspects TLS on the way.
"""

from collections.abc import Iterator

# Tags of DER (X.690): a sequence, and the optional version of a certificate (RFC 5280, 4.1).
_SEQUENCE = 0x30
_VERSION = 0xA0
_LONG_LENGTH = 0x80
# The end of the object identifiers 2.5.4.x (RFC 5280, A.1).
_NAME_ATTRIBUTES = {b"\x55\x04\x0a": "organization", b"\x55\x04\x03": "common name"}
_UTF16_TAG = 0x1E
_SHOWN_CHARACTERS = 80


def issuer_of(certificate: bytes) -> str:
    """Return the organization and the common name of a certificate's issuer.

    Parameters
    ----------
    certificate
        The certificate in DER.

    Returns
    -------
    str
        Such as "Let's Encrypt, R11"; empty if the bytes are not a certificate or contain neither.
    """
    try:
        return ", ".join(_names(certificate))
    except (ValueError, IndexError, StopIteration):
        return ""


def _names(certificate: bytes) -> list[str]:
    _tag, body = next(_parts(certificate))
    _tag, signed = next(_parts(body))
    fields = [part for part in _parts(signed) if part[0] != _VERSION]
    # The serial number, the algorithm, the issuer.
    tag, issuer = fields[2]
    if tag != _SEQUENCE:
        raise ValueError("no issuer")
    found: dict[str, str] = {}
    for _set, relative in _parts(issuer):
        for _sequence, pair in _parts(relative):
            (_oid, kind), (text_tag, text) = list(_parts(pair))[:2]
            name = _NAME_ATTRIBUTES.get(kind)
            if name is not None:
                encoding = "utf-16-be" if text_tag == _UTF16_TAG else "utf-8"
                found.setdefault(name, _shown(text.decode(encoding, "replace")))
    return [found[name] for name in _NAME_ATTRIBUTES.values() if found.get(name)]


def _shown(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:_SHOWN_CHARACTERS].strip()


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each element."""
    start = 0
    while start < len(data):
        tag, length = data[start], data[start + 1]
        start += 2
        if length >= _LONG_LENGTH:
            count = length - _LONG_LENGTH
            length = int.from_bytes(data[start : start + count], "big")
            start += count
        if start + length > len(data):
            raise ValueError("cut off")
        yield tag, data[start : start + length]
        start += length
