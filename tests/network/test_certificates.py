"""The issuer of a certificate is read from its bytes, and other bytes are harmless."""

import ssl

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed.network.certificates import issuer_of


def der_of(**names):
    authority = trustme.CA(**names)
    pem = authority.issue_cert("a.example").cert_chain_pems[0].bytes().decode()
    return ssl.PEM_cert_to_DER_cert(pem)


CERTIFICATE = der_of()


@pytest.mark.parametrize(
    ("names", "issuer"),
    [
        ({}, "trustme"),
        ({"organization_name": "Inspecting Firewall"}, "Inspecting Firewall"),
        ({"organization_name": "Prüfstelle"}, "Prüfstelle"),
        (
            {"organization_name": "Let's Encrypt", "organization_unit_name": "R11"},
            "Let's Encrypt",
        ),
    ],
)
def test_issuer(names, issuer):
    """Organization and common name, in whatever letters."""
    assert issuer_of(der_of(**names)).startswith(issuer)


@given(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 255))
def test_changed_bytes(place, value):
    """One byte that is another one gives some text in one line, or none."""
    changed = bytearray(CERTIFICATE)
    changed[place] = value
    assert issuer_of(bytes(changed)).isprintable()


@given(st.integers(0, len(CERTIFICATE) - 1))
def test_cut_off(length):
    """What is cut off is not a certificate."""
    assert issuer_of(CERTIFICATE[:length]) == ""


@given(st.binary(max_size=300))
def test_any_bytes(data):
    """Any bytes give a text."""
    assert isinstance(issuer_of(data), str)
