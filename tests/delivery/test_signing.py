"""Signatures: published vectors, an independent implementation, and every way to tamper."""

import base64
import datetime as dt
import doctest
import hmac
import http.client
import io
import logging
import time

import pytest
import standardwebhooks
from hypothesis import assume, given
from hypothesis import strategies as st

from tvDatafeed.delivery import VerifiedMessage, new_secret, sign, signing, verify
from tvDatafeed.exceptions import (
    ConfigurationError,
    DeliveryError,
    SigningError,
    VerificationError,
)

# RFC 4231, section 4: key, data, HMAC-SHA-256. The second one's key has four bytes.
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (
        b"\x0c" * 20,
        b"Test With Truncation",
        "a3b6167473100ee06e0c796c2955552bfa6f7c0a6a8aef8b93f860aab0cd20c5",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size data. "
            b"The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]
# The example of the Standard Webhooks specification and of its libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
NOW = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

IDS = st.text(st.sampled_from("abcXYZ0189_-"), min_size=1, max_size=40)
TIMES = st.integers(0, 99_999_999_999)
KEYS = st.binary(min_size=24, max_size=64)
# Values of a header that a framework may pass.
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.just(object()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def secret_of(key):
    return "whsec_" + base64.b64encode(key).decode()


def headers_of(signature=SIGNATURE, message_id=ID, timestamp=str(NOW)):
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
    }


def changed(text, position, by):
    """Return a text or bytes with one byte changed."""
    data = bytearray(text.encode("latin-1") if isinstance(text, str) else text)
    data[position % len(data)] ^= by
    return data.decode("latin-1") if isinstance(text, str) else bytes(data)


@pytest.mark.parametrize(("key", "data", "expected"), RFC_4231)
def test_rfc_4231(key, data, expected):
    """The code of a key and some bytes is that of the RFC."""
    assert base64.b64decode(signing.mac(key, data)).hex() == expected


def test_the_specification_s_example():
    """The example of Standard Webhooks has the signature that is published with it."""
    assert sign(SECRET, ID, NOW, BODY) == SIGNATURE
    assert sign(SECRET, ID, NOW + 0.9, BODY.decode()) == SIGNATURE
    assert verify(headers_of(), BODY, SECRET, now=NOW) == VerifiedMessage(ID, NOW, BODY)


@given(KEYS, IDS, TIMES, st.text())
def test_the_reference_signs_the_same(key, message_id, time_s, body):
    """The library of the specification makes the same signature of any message."""
    reference = standardwebhooks.Webhook(secret_of(key))
    moment = dt.datetime.fromtimestamp(time_s, dt.timezone.utc)
    assert sign(secret_of(key), message_id, time_s, body) == reference.sign(
        message_id, moment, body
    )


@given(KEYS, KEYS, IDS, st.dictionaries(st.text(), st.integers()))
def test_the_reference_verifies_what_is_signed_here(key, old_key, message_id, data):
    """A receiver that uses the library of the specification accepts a message, also while a
    secret is replaced."""
    body = standardwebhooks.webhooks.json.dumps(data)
    now = time.time()
    signature = sign((secret_of(key), secret_of(old_key)), message_id, now, body)
    headers = headers_of(signature, message_id, str(int(now)))
    for known in (key, old_key):
        assert standardwebhooks.Webhook(secret_of(known)).verify(body, headers) == data


@given(KEYS, IDS, st.text())
def test_what_the_reference_signs_is_verified_here(key, message_id, body):
    """A message that is signed by the library of the specification is accepted."""
    now = dt.datetime.now(dt.timezone.utc)
    signature = standardwebhooks.Webhook(secret_of(key)).sign(message_id, now, body)
    headers = headers_of(signature, message_id, str(int(now.timestamp())))
    message = verify(headers, body, secret_of(key))
    assert message == VerifiedMessage(message_id, int(now.timestamp()), body.encode())


def refused(headers, body=BODY, secret=SECRET, now=NOW, **options):
    """Expect that a message is refused, with nothing but a `VerificationError`."""
    with pytest.raises(VerificationError) as caught:
        verify(headers, body, secret, now=now, **options)
    assert type(caught.value) is VerificationError
    assert caught.value.__cause__ is caught.value.__context__ is None
    return str(caught.value)


@given(st.sampled_from(sorted(headers_of())), st.integers(0, 200), st.integers(1, 255))
def test_a_changed_header_is_refused(name, position, by):
    """No byte of id, timestamp and signature can be changed."""
    headers = headers_of()
    refused({**headers, name: changed(headers[name], position, by)})


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_body_is_refused(position, by):
    """No byte of the body can be changed."""
    refused(headers_of(), changed(BODY, position, by))


@given(st.binary())
def test_another_body_is_refused(body):
    """A signature is good for one body."""
    assume(body != BODY)
    refused(headers_of(), body)


@given(KEYS)
def test_another_secret_is_refused(key):
    """A sender with another secret cannot sign."""
    assume(secret_of(key) != SECRET)
    refused(headers_of(), secret=secret_of(key))


@given(st.integers(-(10**12), 10**12))
def test_the_age_of_a_message(ahead_s):
    """A message that is five minutes older or newer than the clock is refused, and no other."""
    if abs(ahead_s) <= 300:
        assert verify(headers_of(), BODY, SECRET, now=NOW + ahead_s).id == ID
    else:
        assert "clock" in refused(headers_of(), now=NOW + ahead_s)


@pytest.mark.parametrize(("tolerance_s", "ahead_s"), [(0, 1), (10, 11), (1e9, 1e9 + 1)])
@pytest.mark.parametrize("sign_of", [1, -1])
def test_the_tolerance(tolerance_s, ahead_s, sign_of):
    """The caller chooses how far the clocks may differ, in both directions."""
    near = NOW + sign_of * tolerance_s
    assert verify(headers_of(), BODY, SECRET, tolerance_s=tolerance_s, now=near).timestamp == NOW
    refused(headers_of(), tolerance_s=tolerance_s, now=NOW + sign_of * ahead_s)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_hostile_arguments(headers, body, secret, tolerance_s, now):
    """Arguments of any type raise a `VerificationError` alone."""
    refused(headers, body, secret, now, tolerance_s=tolerance_s)


@given(st.dictionaries(st.sampled_from(sorted(headers_of())), ANYTHING), ANYTHING)
def test_hostile_headers(hostile, now):
    """Headers of any type are refused, and never raise anything else."""
    assume(hostile)
    try:
        verify({**headers_of(), **hostile}, BODY, SECRET, now=now)
    except VerificationError:
        return
    assert {**headers_of(), **hostile} == headers_of()


class Hostile:
    """An object whose every use raises."""

    def items(self):
        raise RuntimeError

    def __str__(self):
        raise RuntimeError

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(Hostile(), id="hostile"),
        pytest.param({"webhook-id": Hostile()}, id="hostile id"),
        [("webhook-id",)],
        [("webhook-id", ID, "more")],
        {"webhook-id": "\ud800"},
        {**headers_of(), "webhook-signature": "v1,\ud800"},
        {**headers_of(), "webhook-signature": "v1,"},
        {**headers_of(), "webhook-signature": SIGNATURE[:8]},
        {**headers_of(), "webhook-signature": SIGNATURE.rstrip("=")},
        {**headers_of(), "webhook-signature": SIGNATURE.replace("v1", "v2")},
        {**headers_of(), "webhook-signature": SIGNATURE.replace("v1,", "v1a,")},
        {**headers_of(), "webhook-signature": SIGNATURE + ","},
        {**headers_of(), "webhook-signature": " ".join([SIGNATURE] * 65)},
        {**headers_of(), "webhook-timestamp": "hello"},
        {**headers_of(), "webhook-timestamp": f"0{NOW}"},
        {**headers_of(), "webhook-timestamp": f"{NOW}.0"},
        {**headers_of(), "webhook-timestamp": f" {NOW}"},
        {**headers_of(), "webhook-timestamp": "٣" * 10},
        {**headers_of(), "webhook-timestamp": "9" * 100},
        [*headers_of().items(), ("Webhook-Id", "another")],
        *[
            {name: text for name, text in headers_of().items() if name != left}
            for left in headers_of()
        ],
    ],
)
def test_headers_that_are_refused(headers):
    """Headers that are missing, doubled, malformed or no headers at all are refused."""
    refused(headers)


def test_a_full_stop_cannot_move():
    """The borders between id, timestamp and body cannot be moved: an id has no full stop."""
    signature = sign(SECRET, "evt", NOW, f"{NOW}.5")
    assert verify(headers_of(signature, "evt"), f"{NOW}.5", SECRET, now=NOW).id == "evt"
    refused(headers_of(signature, f"evt.{NOW}"), b"5")


def test_the_message_is_not_shown():
    """The error of a message that is refused shows nothing that a stranger has sent."""
    for headers in (headers_of("hunter2"), headers_of(message_id="hunter2 x")):
        assert "hunter2" not in refused(headers, b"hunter2")


def test_comparison_in_constant_time(monkeypatch):
    """Each given signature is compared with each expected one by `hmac.compare_digest`."""
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or compare(a, b))
    other = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
    several = f"{other} v2,abc {SIGNATURE} {other}"
    verify(headers_of(several), BODY, (secret_of(b"k" * 32), SECRET), now=NOW)
    assert len(compared) == 3 * 2
    refused(headers_of(other))
    assert len(compared) == 3 * 2 + 1


@pytest.mark.parametrize(
    "headers",
    [
        {name.upper(): text for name, text in headers_of().items()},
        {name.title(): text for name, text in headers_of().items()},
        list(headers_of().items()),
        [(name.encode(), text.encode()) for name, text in headers_of().items()],
        http.client.parse_headers(
            io.BytesIO("".join(f"{n}: {t}\r\n" for n, t in headers_of().items()).encode() + b"\r\n")
        ),
        iter([*headers_of().items(), ("webhook-id", ID), ("X-Other", 1)]),
    ],
    ids=["upper", "title", "pairs", "asgi", "http.server", "iterator"],
)
def test_headers_of_frameworks(headers):
    """Headers are read as frameworks hand them over, names in any case."""
    assert verify(headers, memoryview(BODY), SECRET, now=NOW).body == BODY


def test_parsed_json_is_refused():
    """The body must be that which came: the error says so."""
    assert "TypeError" in refused(headers_of(), {"test": 2432232314})


@pytest.mark.parametrize(
    ("message_id", "timestamp", "body"),
    [
        ("", NOW, BODY),
        ("a.b", NOW, BODY),
        ("a b", NOW, BODY),
        ("a\n", NOW, BODY),
        ("é", NOW, BODY),
        ("x" * 257, NOW, BODY),
        (None, NOW, BODY),
        (b"id", NOW, BODY),
        (ID, -1, BODY),
        (ID, float("nan"), BODY),
        (ID, float("inf"), BODY),
        (ID, 10**12, BODY),
        (ID, True, BODY),
        (ID, "now", BODY),
        (ID, None, BODY),
        (ID, NOW, None),
        (ID, NOW, {}),
        (ID, NOW, "\ud800"),
    ],
)
def test_what_cannot_be_signed(message_id, timestamp, body):
    """An id, timestamp or body that a receiver would refuse is a `SigningError`."""
    with pytest.raises(SigningError) as caught:
        sign(SECRET, message_id, timestamp, body)
    assert isinstance(caught.value, DeliveryError)
    assert caught.value.__cause__ is caught.value.__context__ is None


BAD_SECRETS = [
    "",
    "Jefe",
    "hunter2",
    "whsec_",
    "whsec_" + base64.b64encode(b"k" * 15).decode(),
    "whsec_hunter2hunter2hunter2hunter2!",
    "whsec_" + "A" * 41,
    "hunter2\ud800" * 5,
    None,
    7,
    b"hunter2hunter2hunter2hunter2",
    [],
    ["hunter2"],
    [SECRET, None],
    [SECRET] * 17,
]


@pytest.mark.parametrize("secret", BAD_SECRETS)
def test_bad_secrets(secret):
    """A secret that can be guessed or read wrongly is refused, and shown by no error."""
    with pytest.raises(ConfigurationError) as caught:
        sign(secret, ID, NOW, BODY)
    assert caught.value.parameter == "secret"
    assert "hunter2" not in f"{caught.value!r} {caught.value.value} {caught.value.__context__}"
    assert "the secret cannot be used" in refused(headers_of(), secret=secret)


@pytest.mark.parametrize("secret", ["x" * 16, secret_of(b"s" * 23), "é" * 9])
def test_a_short_secret_is_reported_once(secret, caplog):
    """Sixteen bytes are accepted with one warning, which does not show them."""
    with caplog.at_level(logging.DEBUG):
        for _message in range(3):
            sign(secret, ID, NOW, BODY)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert secret not in record.getMessage()


def test_good_secrets_are_quiet(caplog):
    """Twenty-four bytes need no warning, as base64 with or without padding, or as text."""
    key = b"\x00\xff" * 13
    padded = secret_of(key)
    with caplog.at_level(logging.DEBUG):
        for secret in (padded, padded.rstrip("="), "t" * 24):
            sign(secret, ID, NOW, BODY)
    assert caplog.records == []
    assert sign(padded, ID, NOW, BODY) == sign(padded.rstrip("="), ID, NOW, BODY)


def test_new_secrets():
    """A new secret has 32 random bytes."""
    secrets = {new_secret() for _time in range(50)}
    assert len(secrets) == 50
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(signing).failed == 0
