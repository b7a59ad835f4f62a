"""The scheme of older receivers: vectors, both directions, and every way to tamper."""

import base64
import datetime as dt
import doctest
import hashlib
import hmac
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tvDatafeed.delivery import CanonicalRequest, VerifiedMessage, canonical
from tvDatafeed.exceptions import ConfigurationError, SigningError, VerificationError

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
AT = "2026-08-14T22:00:00Z"
NOW = 1786744800
BODY = b'{"type":"bar.closed"}'
PATH = "/hook/bars?v=1&x=%20"
NONCE = "n-1"
REQUEST = CanonicalRequest("desk-1", SECRET)
NAMES = ["X-Producer-Id", "X-Timestamp", "X-Nonce", "X-Signature"]
# One line of another program: what a receiver computes from a request.
RECEIVER = """\
import base64, hashlib, hmac, sys
method, path, timestamp, producer, nonce, body, key = sys.argv[1:]
text = "\\n".join([method, path, timestamp, producer, nonce,
                  hashlib.sha256(body.encode()).hexdigest()])
print(base64.b64encode(hmac.new(bytes.fromhex(key), text.encode(), "sha256").digest()).decode())
"""


def signed(**options):
    return REQUEST.headers("POST", PATH, BODY, **{"nonce": NONCE, "timestamp": AT, **options})


def refused(headers, method="POST", path=PATH, body=BODY, request=REQUEST, **options):
    with pytest.raises(VerificationError) as caught:
        request.verify(method, path, headers, body, **{"now": NOW, **options})
    assert type(caught.value) is VerificationError
    assert caught.value.__cause__ is caught.value.__context__ is None
    return str(caught.value)


def test_the_text_that_is_signed():
    """The signature is that of the six lines, computed here without the library."""
    digest = hashlib.sha256(BODY).hexdigest()
    text = f"POST\n{PATH}\n{AT}\ndesk-1\n{NONCE}\n{digest}"
    code = base64.b64encode(hmac.new(KEY, text.encode(), "sha256").digest()).decode()
    assert signed() == {
        "X-Producer-Id": "desk-1",
        "X-Timestamp": AT,
        "X-Nonce": NONCE,
        "X-Signature": code,
    }


def test_a_fixed_vector():
    """The signature of a known request is what OpenSSL's command line computes."""
    empty = REQUEST.headers("get", "/", b"", nonce="0", timestamp="1970-01-01T00:00:00Z")
    assert empty["X-Signature"] == "3XK6dpRgF70MzXiGZjRaFYl0d2rc8Hgc8mGx0fmmHb8="
    assert signed()["X-Signature"] == "aebL0LYyn6ddRsGupsCgS0oDM1j7LuHsTzz+1SwUSds="


def test_another_program_computes_the_same():
    """A receiver of a few lines computes the signature of the headers that are sent."""
    program = [sys.executable, "-c", RECEIVER, "POST", PATH, AT, "desk-1", NONCE]
    found = subprocess.run(  # noqa: PLW1510 - the output says it
        [*program, BODY.decode(), KEY.hex()], capture_output=True, text=True
    )
    assert found.stdout.strip() == signed()["X-Signature"]


@given(st.binary(), st.sampled_from(["POST", "put", "Get"]), st.integers(-300, 300))
def test_both_directions(body, method, ahead_s):
    """What is signed is verified, within five minutes in both directions."""
    headers = REQUEST.headers(method, PATH, body, timestamp=AT)
    message = REQUEST.verify(method.upper(), PATH, headers, body, now=NOW + ahead_s)
    assert message == VerifiedMessage(headers["X-Nonce"], NOW, body)


def test_the_present_moment():
    """Without a timestamp a request is signed for now, with a nonce of its own."""
    first, second = (REQUEST.headers("POST", PATH, BODY) for _time in range(2))
    assert REQUEST.verify("POST", PATH, first, BODY).body == BODY
    assert first["X-Nonce"] != second["X-Nonce"]
    assert first["X-Timestamp"].endswith("Z")
    then = dt.datetime.fromisoformat(first["X-Timestamp"].replace("Z", "+00:00"))
    assert abs((dt.datetime.now(dt.timezone.utc) - then).total_seconds()) < 60


@given(st.sampled_from(NAMES), st.integers(0, 100), st.integers(1, 255))
def test_a_changed_header_is_refused(name, position, by):
    """No byte of a header that is signed can be changed."""
    headers = signed()
    data = bytearray(headers[name].encode())
    data[position % len(data)] ^= by
    refused({**headers, name: data.decode("latin-1")})


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"method": "POST\n"},
        {"method": None},
        {"path": "/hook/bars?v=2&x=%20"},
        {"path": "/hook/bars"},
        {"path": f"{PATH}\n"},
        {"path": None},
        {"body": BODY + b" "},
        {"body": None},
        {"request": CanonicalRequest("desk-2", SECRET)},
        {"request": CanonicalRequest("desk-1", "another secret that is long enough")},
        {"now": NOW + 301},
        {"now": NOW - 301},
        {"now": "soon"},
        {"tolerance_s": None},
    ],
)
def test_another_request_is_refused(change):
    """A signature is good for one method, path, body, producer, secret and time."""
    refused(signed(), **change)


@given(
    st.dictionaries(st.sampled_from(NAMES), st.none() | st.integers() | st.text() | st.binary())
    | st.none()
    | st.lists(st.text())
)
def test_hostile_headers(hostile):
    """Headers of any type raise a `VerificationError` alone."""
    assume(hostile)
    headers = {**signed(), **hostile} if isinstance(hostile, dict) else hostile
    assume(headers != signed())
    refused(headers)


def test_lines_cannot_move():
    """A line break in a header cannot make one request of another."""
    headers = signed(nonce="a")
    moved = {**headers, "X-Producer-Id": "desk-1\na", "X-Nonce": ""}
    refused(moved)


def test_the_header_is_missing():
    """The error names the header that is missing."""
    for name in NAMES:
        left = {n: text for n, text in signed().items() if n != name}
        assert name.lower() in refused(left)


@pytest.mark.parametrize(
    "stamp", ["2026-02-30T00:00:00Z", "2026-08-14T22:00:00+00:00", "1786744800"]
)
def test_a_timestamp_is_checked_on_both_sides(stamp):
    """A timestamp that is not RFC 3339 in UTC and whole seconds is neither signed nor accepted."""
    with pytest.raises(SigningError):
        signed(timestamp=stamp)
    digest = hashlib.sha256(BODY).hexdigest()
    text = f"POST\n{PATH}\n{stamp}\ndesk-1\n{NONCE}\n{digest}"
    code = base64.b64encode(hmac.new(KEY, text.encode(), "sha256").digest()).decode()
    refused({**signed(), "X-Timestamp": stamp, "X-Signature": code})


@pytest.mark.parametrize(
    "options",
    [
        {"nonce": ""},
        {"nonce": "a\nb"},
        {"nonce": 1},
        {"timestamp": NOW},
        {"timestamp": dt.datetime(2026, 8, 14, tzinfo=dt.timezone.utc)},
        {"idempotency_key": "a b"},
        {"idempotency_key": 1},
    ],
)
def test_what_cannot_be_signed(options):
    """A value that a receiver would refuse is a `SigningError`."""
    with pytest.raises(SigningError):
        signed(**options)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("", "/", b""), ("GET /", "/", b""), ("GET", "", b""), ("GET", "hook", b""), ("GET", "/", 1)],
)
def test_requests_that_cannot_be_signed(method, path, body):
    """A method, path or body that cannot be sent is a `SigningError`."""
    with pytest.raises(SigningError):
        REQUEST.headers(method, path, body)


def test_the_id_of_a_message_is_signed():
    """The attempts of a message share an id that is signed; the unsigned key does not matter."""
    message_id = "bar_" + "a2" * 13
    ids = set()
    for attempt in (1, 2):
        headers = signed(nonce=f"{message_id}.{attempt}", idempotency_key=message_id)
        assert headers["X-Idempotency-Key"] == message_id
        forged = {**headers, "X-Idempotency-Key": "another"}
        ids.add(REQUEST.verify("POST", PATH, forged, BODY, now=NOW).id)
    assert ids == {message_id}
    other = signed(nonce="order-17")
    assert REQUEST.verify("POST", PATH, other, BODY, now=NOW).id == "order-17"


def test_rotation():
    """The first secret signs, and all are accepted."""
    old = "an old secret that is long enough"
    rotating = CanonicalRequest("desk-1", [SECRET, old])
    headers = rotating.headers("POST", PATH, BODY, nonce=NONCE, timestamp=AT)
    assert headers == signed()
    old_headers = CanonicalRequest("desk-1", old).headers("POST", PATH, BODY, timestamp=AT)
    assert rotating.verify("POST", PATH, old_headers, BODY, now=NOW).body == BODY


@pytest.mark.parametrize("producer", ["", "a b", "a\nb", "é", "x" * 257, None, 1])
def test_bad_producers(producer):
    """A producer that cannot stand in a header is refused when the object is made."""
    with pytest.raises(ConfigurationError) as caught:
        CanonicalRequest(producer, SECRET)
    assert caught.value.parameter == "producer_id"


def test_no_secret_is_shown():
    """Neither a representation nor an error shows the secret."""
    assert "desk-1" in repr(REQUEST)
    assert SECRET[6:] not in repr(REQUEST)
    assert REQUEST.producer_id == "desk-1"
    with pytest.raises(ConfigurationError) as caught:
        CanonicalRequest("desk-1", "hunter2")
    assert "hunter2" not in repr(caught.value)


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(canonical).failed == 0
