"""The command that sends closed bars: what goes where, what it says, and how it ends."""

import base64
import json
import signal
import threading

import pytest

from tests.cli.command import lines_of, moving, needs_signals
from tests.delivery.receiver import SECRET, Receiver
from tests.delivery.telegram import CHAT_ID, TOKEN, TOKEN_SECRET
from tests.delivery.telegram import running as running_telegram
from tests.feed import LiveServer
from tests.programs import start
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed.cli import main
from tvDatafeed.delivery import CanonicalRequest, Outbox

SYMBOL = "BITSTAMP:BTCUSD"
CANARIES = (SECRET.removeprefix("whsec_"), base64.b64decode(SECRET.removeprefix("whsec_")).hex())


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


@pytest.fixture
def receiver():
    """A receiver of webhooks."""
    with Receiver() as running:
        yield running


@pytest.fixture
def path(loopback, tmp_path, monkeypatch):
    """The outbox that the environment names, beside a secret."""
    place = tmp_path / "outbox.db"
    monkeypatch.setenv("TV_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("TV_OUTBOX", str(place))
    return place


def run(*arguments):
    """Run the command, and return its exit code."""
    return main(["deliver", "run", *map(str, arguments)])


def bars_of(receiver):
    """The data of each bar that was accepted."""
    bodies = [body["data"] for body in receiver.bodies()]
    return [bar for data in bodies for bar in data.get("bars", [data])]


def notes_of(capsys):
    """The lines of stderr, which hold no secret."""
    out, err = capsys.readouterr()
    assert not [canary for canary in CANARIES if canary in out + err]
    return lines_of(err)


def test_bars_are_posted(loopback, receiver, path, capsys):
    """Each closed bar is posted once, signed; the first line says where, the last what became."""
    with moving(loopback):
        assert run(SYMBOL, "--url", receiver.url, "--count", 4) == 0
    bars = bars_of(receiver)
    assert [bar["time_s"] - bars[0]["time_s"] for bar in bars] == [0, 60, 120, 180]
    assert {bar["symbol"] for bar in bars} == {"BTCUSD"}
    assert all(request.message for request, _status in receiver.requests)
    assert notes_of(capsys) == [
        f"tvdatafeed: closed bars of {SYMBOL} go to 127.0.0.1 (outbox {path}), until Ctrl-C",
        "tvdatafeed: 4 messages delivered to 127.0.0.1; nothing waits",
    ]
    assert loopback.wait_until(lambda s: not s.open_sessions)


def test_several_symbols(loopback, receiver, path, capsys, monkeypatch):
    """The count is that of all symbols together; URL and outbox may come from elsewhere."""
    monkeypatch.setenv("TV_WEBHOOK_URL", receiver.url)
    other = path.with_name("other.db")
    symbols = ("BTCUSDT", "DOGEUSDT", "--exchange", "BINANCE")
    with moving(loopback):
        assert run(*symbols, "--interval", "3m", "--count", 6, "--outbox", other) == 0
    assert len(bars_of(receiver)) == 6
    assert {(bar["symbol"], bar["interval"]) for bar in bars_of(receiver)} == {
        ("BTCUSDT", "3"),
        ("DOGEUSDT", "3"),
    }
    assert str(other) in notes_of(capsys)[0]
    assert not path.exists()


def test_results_as_json(loopback, receiver, path, capsys):
    """With --json each attempt is a line; an outage is a line at its begin, and one at its end."""
    receiver.faults += [503]
    with moving(loopback):
        assert run(SYMBOL, "--url", receiver.url, "--count", 2, "--json") == 0
    out, err = capsys.readouterr()
    results = [json.loads(line) for line in out.splitlines()]
    assert [result["state"] for result in results] == ["retrying", "delivered", "delivered"]
    assert [result["status"] for result in results] == [503, 200, 200]
    assert results[0]["id"] == results[1]["id"]
    _start, failing, again, end = lines_of(err)
    assert "127.0.0.1 is failing: messages wait in the outbox" in failing
    assert again == "tvdatafeed: 127.0.0.1 is reached again"
    assert end == "tvdatafeed: 2 messages delivered to 127.0.0.1; nothing waits"


def test_canonical_scheme_in_batches(loopback, receiver, path, capsys, monkeypatch):
    """Bars that wait go as one message, signed as older receivers expect it."""
    monkeypatch.setenv("TV_WEBHOOK_PRODUCER_ID", "desk-1")
    has_waited = threading.Event()

    def rule(_request):
        if len(outbox_of(path)) > 2:
            has_waited.set()
        return None if has_waited.is_set() else 503

    receiver.rule = rule
    with moving(loopback):
        arguments = ("--scheme", "canonical", "--batch", 10, "--count", 5)
        assert run(SYMBOL, "--url", receiver.url, *arguments) == 0
    request, _status = receiver.requests[-1]
    assert CanonicalRequest("desk-1", SECRET).verify(
        "POST", request.path, request.headers, request.body
    )
    assert notes_of(capsys)[-1].endswith("nothing waits")


def outbox_of(path):
    """The messages that wait."""
    with Outbox(path) as outbox:
        return outbox.pending()


def test_receiver_is_away(loopback, path, capsys, monkeypatch):
    """What is not delivered waits in the outbox, which is an exit code; a later run sends it."""
    with Receiver() as gone:
        port, url = gone.port, gone.url
    monkeypatch.setenv("TV_WEBHOOK_TIMEOUT", "1")
    with moving(loopback):
        assert run(SYMBOL, "--url", url, "--count", 2) == 1
    monkeypatch.delenv("TV_WEBHOOK_TIMEOUT")
    last = notes_of(capsys)[-1]
    assert last == (
        f"tvdatafeed: 0 messages delivered to 127.0.0.1; 2 wait in {path} until it runs again"
    )
    waiting = [message.id for message in outbox_of(path)]
    with Receiver(port) as receiver:
        with moving(loopback):
            assert run(SYMBOL, "--url", url, "--count", 1) == 0
        assert receiver.accepted[:2] == waiting


def test_refused_bars(loopback, receiver, path, capsys):
    """What a receiver refuses for good is counted, and is an exit code."""
    receiver.rule = lambda _request: 400
    with moving(loopback):
        assert run(SYMBOL, "--url", receiver.url, "--count", 1) == 1
    last = notes_of(capsys)[-1]
    assert "1 refused or given up (`tvdatafeed deliver ls --dead`)" in last


def test_alerts(loopback, receiver, path, capsys, monkeypatch):
    """A bot that the environment names alerts, and the alert has come when the command ends."""
    receiver.rule = lambda _request: 400
    with running_telegram() as bot, moving(loopback):
        monkeypatch.setenv("TV_TELEGRAM_TOKEN", TOKEN)
        monkeypatch.setenv("TV_TELEGRAM_CHAT_ID", CHAT_ID)
        monkeypatch.setenv("TV_TELEGRAM_URL", bot.url)
        assert run(SYMBOL, "--url", receiver.url, "--count", 1) == 1
        (text,) = bot.texts
    assert "was given up (HTTP 400)" in text
    assert TOKEN_SECRET not in "".join(notes_of(capsys))


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ([], 2, "there is nowhere to send bars to: add --url or --redis"),
        (["--url", "http://example.org/bars"], 2, "https://"),
        (["--url", "https://example.org/", "--batch", "0"], 2, "--batch"),
        (["--url", "https://example.org/", "--batch", "9999"], 2, "1 to 1000"),
        (["--url", "https://example.org/", "--scheme", "canonical"], 2, "TV_WEBHOOK_PRODUCER_ID"),
        (["--url", "https://u:pw-canary@example.org/"], 2, "url"),
        (["--redis"], 2, "TV_REDIS_URL"),
        (["--redis", "--json"], 2, "add --url, or leave it out"),
        (["--redis", "http://example.org"], 2, "redis://"),
    ],
)
def test_mistakes(path, capsys, arguments, exit_code, words):
    """Each is one line with the next step, before anything is sent."""
    assert run(SYMBOL, *arguments) == exit_code
    out, err = capsys.readouterr()
    (line,) = lines_of(err)
    assert words in line
    assert "pw-canary" not in line
    assert out == ""


def test_secret_is_missing(path, capsys, monkeypatch):
    """The line says how to make one."""
    monkeypatch.delenv("TV_WEBHOOK_SECRET")
    assert run(SYMBOL, "--url", "https://example.org/") == 2
    assert "`tvdatafeed deliver secret`" in notes_of(capsys)[0]


def test_unknown_symbol(path, receiver, capsys):
    """A symbol that TradingView does not know is one line."""
    assert run("NASDAQ:NOPE", "--url", receiver.url) == 1
    (line,) = notes_of(capsys)
    assert "'NOPE' not found on NASDAQ" in line
    assert not receiver.requests


@pytest.fixture
def settings(tmp_path):
    """The variables of a program."""
    return {"TV_WEBHOOK_SECRET": SECRET, "TV_OUTBOX": str(tmp_path / "outbox.db")}


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_signal(server, receiver, settings, number):
    """A signal ends it with exit code 0, after what was on its way; --debug shows no secret."""
    arguments = ("-m", "tvDatafeed", "deliver", "run", SYMBOL, "--url", receiver.url, "--debug")
    with start(*arguments, server=server, **settings) as program:
        receiver.wait_for(1, PATIENCE_S)
        with moving(server):
            receiver.wait_for(3, PATIENCE_S)
        program.send_signal(number)
        out, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, out) == (0, "")
    assert err.splitlines()[-1].endswith("nothing waits")
    assert not [canary for canary in CANARIES if canary in err]
    assert "Traceback" not in err
    assert server.wait_until(lambda s: not s.open_sessions)


@needs_signals
@pytest.mark.slow
def test_signal_while_the_receiver_hangs(server, receiver, settings):
    """What is not answered in time waits in the outbox, and is named in the last line."""
    receiver.rule = lambda _request: "hang"
    arguments = ("-m", "tvDatafeed", "deliver", "run", SYMBOL, "--url", receiver.url)
    with start(*arguments, server=server, **settings) as program:
        receiver.wait_for(1, PATIENCE_S)
        program.send_signal(signal.SIGTERM)
        # Ten seconds after the first a container is killed.
        out, err = program.communicate(timeout=PATIENCE_S)
    assert (program.returncode, out) == (0, "")
    assert lines_of(err)[-1].endswith(f"1 waits in {settings['TV_OUTBOX']} until it runs again")


@needs_signals
@pytest.mark.slow
def test_second_signal(server, receiver, settings):
    """A second signal ends the wait for what is on its way."""
    receiver.rule = lambda _request: "hang"
    arguments = ("-m", "tvDatafeed", "deliver", "run", SYMBOL, "--url", receiver.url)
    with start(*arguments, server=server, **settings) as program:
        receiver.wait_for(1, PATIENCE_S)
        program.send_signal(signal.SIGINT)
        assert server.wait_until(lambda s: not s.open_sessions)
        program.send_signal(signal.SIGINT)
        with at_most(AT_ONCE_S):
            _out, err = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 0
    assert lines_of(err)[-1].endswith("until it runs again")


@needs_signals
@pytest.mark.slow
def test_signal_while_it_opens(receiver, settings):
    """A signal before TradingView has answered is an end too."""
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        arguments = ("-m", "tvDatafeed", "deliver", "run", SYMBOL, "--url", receiver.url)
        with start(*arguments, TV_WS_URL=url, TV_ALLOW_INSECURE="true", **settings) as program:
            connection, _address = silent.accept()
            program.send_signal(signal.SIGTERM)
            _out, err = program.communicate(timeout=PATIENCE_S)
            connection.close()
    assert program.returncode == 0
    assert lines_of(err)[-1].endswith("nothing waits")


@pytest.mark.slow
def test_reader_has_gone(server, receiver, settings):
    """With --json it ends when what reads its output has ended."""
    arguments = ("-m", "tvDatafeed", "deliver", "run", SYMBOL, "--url", receiver.url, "--json")
    with start(*arguments, server=server, **settings) as program:
        assert json.loads(program.stdout.readline())["state"] == "delivered"
        program.stdout.close()
        with moving(server):
            assert program.wait(PATIENCE_S) == 141
        assert "Traceback" not in program.stderr.read()


def test_help_fits(capsys):
    """The help page has examples and fits 80 columns."""
    assert main(["deliver", "run", "--help"]) == 0
    text = capsys.readouterr().out
    assert "tvdatafeed deliver run BINANCE:BTCUSDT --url https://example.org/bars" in text
    assert max(map(len, text.splitlines())) <= 80
