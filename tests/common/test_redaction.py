"""What is shown instead of secrets."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvDatafeed import utils
from tvDatafeed.common import redaction
from tvDatafeed.common.redaction import mask_sensitive_data, redact


@pytest.mark.parametrize(
    ("data", "options", "masked"),
    [
        ("abcdefgh", {}, "****efgh"),
        ("abcde", {}, "*bcde"),
        ("abcd", {}, "********"),
        ("a", {}, "********"),
        ("", {}, "********"),
        (None, {}, "********"),
        ("abcdef", {"visible_chars": 2}, "****ef"),
        ("abcdef", {"mask_char": "#"}, "##cdef"),
        ("ab", {"mask_char": "#"}, "########"),
        ("abcdef", {"visible_chars": 0}, "******"),
        ("abcdef", {"visible_chars": -3}, "******"),
    ],
)
def test_only_the_end_of_a_secret_is_shown(data, options, masked):
    """All but the last characters are masked; a short secret shows nothing at all."""
    assert mask_sensitive_data(data, **options) == masked


@pytest.mark.parametrize(
    ("text", "secrets", "redacted"),
    [
        ("token abcdef rejected", ["abcdef"], "token *** rejected"),
        ("abcdef abcdef", ["abcdef"], "*** ***"),
        ("abcdefghij", ["abcd", "abcdefghij"], "***"),
        ("abcdefghij", ["abcdefghij", "abcd"], "***"),
        ("a.c+ aXc+", ["a.c+"], "*** aXc+"),
        ("one abc two", ["abc", ""], "one abc two"),
        ("nothing", [], "nothing"),
    ],
)
def test_secrets_are_replaced_in_a_text(text, secrets, redacted):
    """Each secret of four characters or more is gone; shorter ones would hit by chance."""
    assert redact(text, iter(secrets)) == redacted


@given(st.text(), st.lists(st.text(alphabet="ab.*\\[", min_size=4)), st.text())
def test_no_secret_is_left_in_a_text(before, secrets, after):
    """Whatever a secret consists of, the text that contained it does not any more."""
    text = before + " ".join(secrets) + after
    redacted = redact(text, secrets)
    for secret in secrets:
        assert secret.replace("*", "") == "" or secret not in redacted


def test_utils_hands_the_functions_on():
    """Programs that import them from their old place get the same functions."""
    assert utils.redact is redact
    assert utils.mask_sensitive_data is mask_sensitive_data


def test_the_examples_run():
    """What the documentation shows is what happens."""
    assert doctest.testmod(redaction).failed == 0
