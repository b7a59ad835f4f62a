"""The receiver of signed messages: what it shows, what it refuses, and how it ends."""

import contextlib
import json
import signal
import socket
from urllib.parse import urlsplit

import pytest

from tests.cli.command import lines_of, needs_signals
from tests.cli.receiving import EVENT, SECRET, post, receiver, signed
from tests.delivery.hooks import SEIS, bar, make_hook
from tests.scale import PATIENCE_S
from tvDatafeed.cli import main
from tvDatafeed.delivery import CanonicalRequest, DeliveryConfig, new_secret

pytestmark = pytest.mark.slow


def ended(program, number=signal.SIGTERM):
    """End a receiver, and return its exit code, stdout and the lines of stderr."""
    program.send_signal(number)
    out, err = program.communicate(timeout=PATIENCE_S)
    assert SECRET not in out + err
    assert SECRET.removeprefix("whsec_") not in out + err
    return program.returncode, out, lines_of(err)


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_messages(number):
    """Each verified message is a line once; what comes again is said, and a signal ends it."""
    with receiver() as (program, url):
        assert post(url, signed(1)) == (200, "received\n")
        assert post(url, signed(1)) == (200, "received\n")
        assert post(url, signed(2)) == (200, "received\n")
        code, out, notes = ended(program, number)
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[-1] for line in lines] == ["msg_1", "msg_2"]
    assert all('a.b  {"x": 1}' in line for line in lines)
    assert notes == [
        "tvdatafeed: again: msg_1",
        "tvdatafeed: 2 messages came, 1 came again, 0 refused",
    ]


@needs_signals
def test_bars(tmp_path):
    """A bar is shown with its numbers, several in one message with their times; JSON has all."""
    with receiver() as (program, url):
        with make_hook(url, tmp_path / "one.db", secret=SECRET) as hook:
            hook(SEIS, bar())
            assert hook.flush(PATIENCE_S)
        _code, out, _notes = ended(program)
    assert "bar.closed  BINANCE:BTCUSDT 1  2023-11-14T22:14:00Z  open 100.1 high 101.0" in out
    with receiver("--json") as (program, url):
        with make_hook(url, tmp_path / "two.db", secret=SECRET, batch=10) as hook:
            for number in range(3):
                hook(SEIS, bar(number))
            assert hook.flush(PATIENCE_S)
        _code, out, _notes = ended(program)
    bodies = [json.loads(line)["body"] for line in out.splitlines()]
    bars = [one for body in bodies for one in body["data"].get("bars", [body["data"]])]
    assert [one["close"] for one in bars] == [100.5] * 3


@needs_signals
def test_refusals():
    """A wrong signature, an old message and one too large are answered with the reason."""
    with receiver(TV_WEBHOOK_MAX_BODY_BYTES="2000") as (program, url):
        status, text = post(url, signed(secret=new_secret()))
        assert (status, "signature does not match" in text) == (401, True)
        status, text = post(url, signed(age_s=1000))
        assert (status, "s before now, and 300 s are allowed" in text) == (401, True)
        assert post(url, {"webhook-id": "x\x1b[2J"})[0] == 401
        large = b"x" * 1_000_000
        status, text = post(url, signed(body=large), large)
        assert (status, "2000 are allowed (TV_WEBHOOK_MAX_BODY_BYTES" in text) == (413, True)
        assert post(url, signed(), None, "POST")[0] == 401
        assert post(url, {"Transfer-Encoding": "chunked"}, b"0\r\n\r\n")[0] == 411
        assert post(url, {}, None, "GET")[0] == 405
        code, out, notes = ended(program)
    assert (code, out) == (0, "")
    assert all(note.isprintable() for note in notes)
    assert notes[-1] == "tvdatafeed: 0 messages came, 0 came again, 4 refused"


@needs_signals
def test_a_sender_gets_through(tmp_path):
    """A receiver that fails on request shows each message once, when it has accepted it."""
    options = ("--fail", "0.5", "--status", "503", "--slow", "0.01")
    with receiver(*options) as (program, url):
        with make_hook(url, tmp_path, secret=SECRET) as hook:
            ids = [hook.send("a.b", number, lane=str(number % 4)) for number in range(20)]
            assert hook.flush(PATIENCE_S)
        code, out, notes = ended(program)
    assert code == 0
    assert sorted(line.split()[-1] for line in out.splitlines()) == sorted(ids)
    assert any("answered 503, as --fail asks: evt_" in note for note in notes)
    assert "failed on request" in notes[-1]


@needs_signals
def test_canonical_scheme(tmp_path):
    """The scheme of older receivers is verified with the path."""
    settings = {"TV_WEBHOOK_PRODUCER_ID": "desk-1"}
    with receiver("--scheme", "canonical", "--json", **settings) as (program, url):
        config = DeliveryConfig(producer_id="desk-1", timeout=5)
        target = f"{url}hook?v=1"
        with make_hook(target, tmp_path, secret=SECRET, scheme="canonical", config=config) as hook:
            message_id = hook.send("a.b", 1)
            assert hook.flush(PATIENCE_S)
        headers = CanonicalRequest("desk-1", SECRET).headers("POST", "/other", EVENT)
        assert post(url, headers)[0] == 401
        code, out, _notes = ended(program)
    assert code == 0
    assert json.loads(out)["id"] == message_id


@needs_signals
def test_signal_ends_a_slow_answer():
    """A signal waits neither for --slow nor for connections that are left open."""
    with receiver("--slow", "3600") as (program, url):
        parts = urlsplit(url)
        address = (parts.hostname, parts.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in signed().items())
        request = f"POST / HTTP/1.1\r\nContent-Length: {len(EVENT)}\r\n{head}\r\n".encode() + EVENT
        with socket.create_connection(address) as idle, socket.create_connection(address) as slow:
            slow.sendall(request)
            assert program.stdout.readline().endswith("msg_1\n")
            code, _out, _notes = ended(program)
            assert idle.recv(1) == b""
    assert code == 0


@needs_signals
def test_reader_has_gone():
    """The receiver ends when what reads its output has ended."""
    with receiver() as (program, url):
        program.stdout.close()
        with contextlib.suppress(OSError):
            post(url, signed())
        program.wait(PATIENCE_S)
        assert program.returncode == 141


def test_port_in_use(capsys, monkeypatch):
    """The error says what to do."""
    monkeypatch.setenv("TV_WEBHOOK_SECRET", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["deliver", "receive", "--port", str(taken.getsockname()[1])]) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert "cannot listen on 127.0.0.1 port" in line
    assert "choose another --port, or 0 for a free one" in line


@pytest.mark.parametrize(
    ("arguments", "secret", "words"),
    [
        ([], "", "TV_WEBHOOK_SECRET is not set"),
        ([], "short-canary", "at least 16 bytes"),
        (["--scheme", "canonical"], SECRET, "TV_WEBHOOK_PRODUCER_ID"),
        (["--port", "70000"], SECRET, "not a port between 0 and 65535"),
        (["--fail", "1.5"], SECRET, "not a share from 0 to 1"),
        (["--status", "200"], SECRET, "not a status from 300 to 599"),
        (["--slow", "-1"], SECRET, "not a number of seconds"),
    ],
)
def test_mistakes(capsys, monkeypatch, arguments, secret, words):
    """Each is one line without the secret, with the exit code of a mistake."""
    monkeypatch.setenv("TV_WEBHOOK_SECRET", secret)
    assert main(["deliver", "receive", "--port", "0", *arguments]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert words in line
    assert not secret or secret not in line


def test_help_fits(capsys):
    """The help page has examples and fits 80 columns."""
    assert main(["deliver", "receive", "--help"]) == 0
    text = capsys.readouterr().out
    assert "tvdatafeed deliver receive --port 9000 --fail 0.3" in text
    assert max(map(len, text.splitlines())) <= 80
