"""Secrets in recorded traffic: found by place or by value, replaced by text of equal length.

Each UTF-16 unit of a secret becomes an asterisk, so that the declared lengths of packets stay
right. A secret that was masked once (a token, a cookie, a name in a form) is masked everywhere
after that.
"""

import html
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote_plus

from tvDatafeed.common.redaction import REDACT_MIN_LENGTH, TOKEN
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN

__all__ = ["Masker"]

_JSON_STRING = r'"(?:[^"\\]|\\.)*"'
_SIGNED_IN = re.compile(rf'("m":"set_auth_token","p":\[)({_JSON_STRING})')
_STRINGS = re.compile(_JSON_STRING)
# A part of a JSON number: its start, its middle or its end.
_NUMBER = re.compile(r"-?[0-9]*\.?[0-9]*(?:[eE][-+]?[0-9]*)?|[-+][0-9]*")
# The client's address: it reveals where a user is.
_VIA = re.compile(rf'("via"\s*:\s*)({_JSON_STRING})')
_PRIVATE_KEYS = (
    "auth_token",
    "email",
    "first_name",
    "last_name",
    "password",
    "private_channel",
    "session_hash",
    "sessionid",
    "sessionid_sign",
    "username",
)
_PRIVATE_FIELD = re.compile(rf'("(?:{"|".join(_PRIVATE_KEYS)})"\s*:\s*)({_JSON_STRING})')
# The description of a user: in an answer to a sign-in, and in a page.
_USER = re.compile(r'(?:"user"\s*:|\buser\s*=)\s*(?=\{)')
# A key with its colon, or a text or a number.
_JSON_TOKEN = re.compile(rf"({_JSON_STRING})\s*:\s*|({_JSON_STRING}|-?\d[-+.\deE]*)")
_HARMLESS_KEYS = frozenset({"pro_plan"})
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
# Whether the cookies are kept for weeks.
_HARMLESS_FORM_FIELDS = frozenset({"remember"})
_SHOWN_REQUEST_HEADERS = frozenset({"accept-encoding", "connection", "content-type", "origin"})
_SHOWN_ANSWER_HEADERS = frozenset({"content-type", "date", "location", "retry-after"})


def _stars(text: str) -> str:
    return "*" * (len(text.encode("utf-16-le", "surrogatepass")) // 2)


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _in_utf8_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


# The spellings of a secret in a text, in JSON, in a URL, in a form and in HTML.
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    _in_json,
    _in_utf8_json,
    quote,
    quote_plus,
    html.escape,
)


class Masker:
    """Replaces the secrets of one recording; any thread may call it."""

    def __init__(self) -> None:
        self.reset_lock()
        self._known: frozenset[str] = frozenset()
        # All spellings, longest first: those masked anywhere, numbers, and names.
        self._texts: tuple[str, ...] = ()
        self._numbers: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()

    def reset_lock(self) -> None:
        """Use a new lock in a forked child: no thread there releases the parent's lock."""
        self._lock = threading.Lock()

    def learn(self, secrets: Iterable[str], *, are_names: bool = False) -> None:
        """Mask these secrets from now on, except those below 4 characters, which occur by chance.

        Parameters
        ----------
        secrets
            The secrets.
        are_names
            Whether they are names of users, which are masked only as whole words.
        """
        new = {
            secret
            for secret in secrets
            if len(secret) >= REDACT_MIN_LENGTH and secret != ANONYMOUS_TOKEN
        }
        if new <= self._known:
            return
        spelled = {_spelled(spell, secret) for secret in new for spell in _SPELLINGS}
        with self._lock:
            self._known |= new
            numbers = {text for text in spelled if _NUMBER.fullmatch(text)}
            if are_names:
                self._names = _longest_first({*self._names, *spelled})
            else:
                self._texts = _longest_first({*self._texts, *(spelled - numbers)})
                self._numbers = _longest_first({*self._numbers, *numbers})

    def text(self, text: str) -> str:
        """Mask known secrets, and texts that look like a token."""
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, _stars(secret))
        for name in self._names:
            if name in text:
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", _stars(name), text)
        numbers = [number for number in self._numbers if number in text]
        if numbers:
            # A price may have the same digits; only numbers in strings are masked.
            text = _STRINGS.sub(lambda found: _replaced(found[0], numbers), text)
        return TOKEN.sub(lambda found: _stars(found[0]), text)

    def sent(self, text: str) -> str:
        """Mask a WebSocket message of the client."""
        return self.text(_SIGNED_IN.sub(self._mask_field, text))

    def received(self, text: str) -> str:
        """Mask a WebSocket message of the server."""
        return self.text(_VIA.sub(_mask_digits, text))

    def url(self, url: str, *, keeps_query: bool = False) -> str:
        """Mask user, password and the values of the query in a URL."""
        scheme, separator, rest = url.partition("://")
        user, at, place = rest.rpartition("@")
        place, question, query = place.partition("?")
        shown = query if keeps_query else self._form(query)
        return self.text(f"{scheme}{separator}{_stars(user)}{at}{place}{question}{shown}")

    def request_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Mask the values of all headers except those without secrets."""
        for cookie in headers.get("Cookie", "").split("; "):
            self.learn([cookie.partition("=")[2]])
        return {
            name: self.text(value) if name.lower() in _SHOWN_REQUEST_HEADERS else _stars(value)
            for name, value in headers.items()
        }

    def request_body(self, body: bytes | None, content_type: str) -> str:
        """Mask the values of a form, or all of any other body."""
        text = (body or b"").decode("utf-8", "replace")
        is_form = content_type.startswith("application/x-www-form-urlencoded")
        return self._form(text, is_learned=True) if is_form else _stars(text)

    def answer_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that a client uses, masked."""
        shown = {name: text for name, text in headers.items() if name in _SHOWN_ANSWER_HEADERS}
        if "location" in shown:
            place, question, query = shown["location"].partition("?")
            shown["location"] = f"{place}{question}{self._form(query)}"
        return {name: self.text(text) for name, text in shown.items()}

    def answer_body(self, body: str, sent: str) -> str:
        """Mask an answer, including the values of its request's form.

        Parameters
        ----------
        body
            The text of the answer.
        sent
            The form as it was sent; empty for other requests.
        """
        body = _PRIVATE_FIELD.sub(self._mask_field, body)
        body = self._mask_user(body)
        values = [unquote_plus(pair.partition("=")[2]) for pair in _secret_pairs(sent)]
        spelled = {_spelled(spell, v) for v in values for spell in _SPELLINGS}
        body = _replaced(body, _longest_first({v for v in spelled if len(v) >= REDACT_MIN_LENGTH}))
        return self.text(_EMAIL.sub(lambda found: _stars(found[0]), body))

    def _form(self, text: str, *, is_learned: bool = False) -> str:
        pairs = []
        for pair in text.split("&"):
            name, equals, value = pair.partition("=")
            is_harmless = name in _HARMLESS_FORM_FIELDS
            pairs.append(pair if is_harmless else f"{name}{equals}{_stars(value)}")
            # A code expires soon, and its digits occur in many numbers.
            if is_learned and not is_harmless and name != "code":
                self.learn([unquote_plus(value)], are_names=name == "username")
        return "&".join(pairs)

    def _mask_field(self, found: re.Match[str]) -> str:
        before, literal = found.groups()
        try:
            value = json.loads(literal)
        except ValueError:
            value = literal[1:-1]
        if value == ANONYMOUS_TOKEN:
            return found[0]
        self.learn([value], are_names='"username"' in before)
        return f'{before}"{_stars(literal[1:-1])}"'

    def _mask_user(self, text: str) -> str:
        """Mask all values of an object that describes a user, except for its plan."""
        decoder = json.JSONDecoder()
        parts, end = [], 0
        for found in _USER.finditer(text):
            if found.end() < end:
                continue
            try:
                _user, stop = decoder.raw_decode(text, found.end())
            except (ValueError, RecursionError):
                continue
            parts += [text[end : found.end()], _mask_values(text[found.end() : stop])]
            end = stop
        return "".join([*parts, text[end:]])


def _secret_pairs(form: str) -> list[str]:
    pairs = form.split("&")
    return [pair for pair in pairs if pair.partition("=")[0] not in _HARMLESS_FORM_FIELDS]


def _mask_values(text: str) -> str:
    key = ""

    def masked(found: re.Match[str]) -> str:
        nonlocal key
        if found[1] is not None:
            key = found[1][1:-1]
            return found[0]
        if key in _HARMLESS_KEYS:
            return found[0]
        is_text = found[0].startswith('"')
        return f'"{_stars(found[0][1:-1])}"' if is_text else re.sub(r"\d", "1", found[0])

    return _JSON_TOKEN.sub(masked, text)


def _mask_digits(found: re.Match[str]) -> str:
    return found[1] + re.sub(r"[0-9a-fA-F]", "0", found[2])


def _replaced(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _stars(secret))
    return text


def _longest_first(texts: Iterable[str]) -> tuple[str, ...]:
    # Longest first, so that a secret that contains another is masked completely.
    return tuple(sorted(texts, key=len, reverse=True))


def _spelled(spell: Callable[[str], str], secret: str) -> str:
    try:
        return spell(secret)
    except UnicodeEncodeError:
        return secret
