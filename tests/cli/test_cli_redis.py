"""Bars in Redis: one command publishes them, another one shows them on other machines."""

import json
import signal
import sys

import pytest

from tests.cli.command import lines_of, moving, needs_signals
from tests.cli.terminal import terminal
from tests.delivery.hooks import SEIS, bar
from tests.delivery.receiver import SECRET, Receiver
from tests.delivery.redisserver import NO_SERVER, PASSWORD, QUOTED, RedisServer, has_server
from tests.feed import LiveServer
from tests.programs import start
from tests.scale import PATIENCE_S
from tvDatafeed.cli import main
from tvDatafeed.delivery import RedisPublisher

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_server(), reason=NO_SERVER),
]
SYMBOL = "BITSTAMP:BTCUSD"
STREAM = f"tvdatafeed:bars:{SYMBOL}:1"
# A port without a server: a command that asks TradingView fails.
NO_TRADINGVIEW = "ws://127.0.0.1:9/"


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


@pytest.fixture
def redis():
    """A Redis server with a password."""
    server = RedisServer(password=PASSWORD)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _outbox(tmp_path, monkeypatch):
    monkeypatch.setenv("TV_OUTBOX", str(tmp_path / "outbox.db"))
    monkeypatch.setenv("TV_WEBHOOK_SECRET", SECRET)


def notes_of(capsys):
    """The lines of stderr, which hold no password."""
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err
    assert QUOTED not in out + err
    return lines_of(err)


def test_publish(loopback, redis, capsys, monkeypatch):
    """Bars are published once, also by a second run; the URL may be in the environment."""
    monkeypatch.setenv("TV_REDIS_URL", redis.url)
    shown = f"redis://:***@127.0.0.1:{redis.port}/0"
    with moving(loopback):
        assert main(["deliver", "run", "--redis", SYMBOL, "--count", "3"]) == 0
    assert redis.command("XLEN", STREAM) == 3
    first, last = notes_of(capsys)
    assert first == f"tvdatafeed: closed bars of {SYMBOL} go to {shown}, until Ctrl-C"
    assert last == f"tvdatafeed: 3 bars published to {shown}"
    # Without an option the variable says where bars go; the last bar is published already.
    assert main(["deliver", "run", SYMBOL, "--count", "1"]) == 0
    assert 3 <= redis.command("XLEN", STREAM) <= 4
    assert "published to" in notes_of(capsys)[-1]


def test_both_destinations(loopback, redis, capsys):
    """With both options each bar goes to both, and each has a line at the end."""
    with Receiver() as receiver, moving(loopback):
        arguments = ("--url", receiver.url, "--redis", redis.url, "--count", "2")
        assert main(["deliver", "run", SYMBOL, *arguments]) == 0
        assert len(receiver.accepted) == 2
    assert redis.command("XLEN", STREAM) == 2
    first, webhook, published = notes_of(capsys)
    assert " and redis://:***@" in first
    assert "2 messages delivered" in webhook
    assert "2 bars published" in published


def test_server_is_away(loopback, redis, capsys):
    """What could not be published is lost when the command ends, and the exit code says so."""
    redis.kill()
    with moving(loopback):
        assert main(["deliver", "run", SYMBOL, "--redis", redis.url, "--count", "2"]) == 1
    *notes, last = notes_of(capsys)
    assert len([note for note in notes if "bars cannot be published for now" in note]) == 1
    assert last.endswith("/0, 2 lost")


@needs_signals
def test_shared_feed(server, redis):
    """Another program shows the bars as JSON without TradingView, through a restart of Redis."""
    publishing = ("-m", "tvDatafeed", "deliver", "run", SYMBOL)
    reading = ("-m", "tvDatafeed", "live", "--from-redis", SYMBOL, "--count", "3")
    settings = {"TV_REDIS_URL": redis.url}
    with start(*publishing, server=server, **settings) as publisher:
        assert "until Ctrl-C" in publisher.stderr.readline()
        with start(*reading, **settings, TV_WS_URL=NO_TRADINGVIEW) as reader, moving(server):
            out, err = reader.communicate(timeout=PATIENCE_S)
        assert (reader.returncode, err) == (0, "")
        redis.kill()
        with moving(server):
            assert "bars cannot be published for now" in publisher.stderr.readline()
        redis.start()
        assert publisher.stderr.readline().endswith("is reached again\n")
        publisher.send_signal(signal.SIGTERM)
        _out, err = publisher.communicate(timeout=PATIENCE_S)
    assert publisher.returncode == 0
    assert "published to redis://:***@" in err
    assert QUOTED not in err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["symbol"] for line in lines] == [SYMBOL] * 3
    assert all(line["closed"] and line["time"].endswith("+00:00") for line in lines)
    assert list(lines[0]) == ["symbol", "time", "open", "high", "low", "close", "volume", "closed"]


@needs_signals
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_table(redis):
    """A terminal shows the table of `live`, with the state of the connection to Redis."""
    arguments = ("live", "BINANCE:BTCUSDT", "--from-redis", "--timezone", "UTC")
    settings = {"TV_REDIS_URL": redis.url, "TV_WS_URL": NO_TRADINGVIEW}
    with terminal(*arguments, **settings) as (program, screen, changed):

        def wait_for(*words):
            with changed:
                assert changed.wait_for(
                    lambda: all(word in "\n".join(screen.lines) for word in words), PATIENCE_S
                ), screen.lines

        wait_for("STATE", "LIVE")
        with RedisPublisher(redis.url) as publisher:
            publisher(SEIS, bar(0))
            wait_for("2023-11-14 22:14:00", "100.5", "12.5")
            publisher(SEIS, bar(1, close=201.0))
            wait_for("2023-11-14 22:15:00", "+100.00%")
        redis.kill()
        wait_for("RECONNECTING")
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE_S) == 130
    assert all(len(line) <= 120 for line in screen.lines)
    assert QUOTED not in "".join(screen.lines)


def test_wrong_password(redis, capsys):
    """A server that refuses is one line with the next step, and without the password."""
    url = f"redis://:wrong-canary@127.0.0.1:{redis.port}/0"
    assert main(["live", SYMBOL, "--from-redis", url]) == 1
    (line,) = notes_of(capsys)
    assert "check the user and the password" in line
    assert "canary" not in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from-redis", SYMBOL], "TV_REDIS_URL"),
        ([SYMBOL, "--from-redis"], "TV_REDIS_URL"),
        ([SYMBOL, "--from-redis", "http://u:pw-canary@example.org"], "redis://"),
        ([SYMBOL, "--from-redis", "redis://127.0.0.1:9", "--forming"], "leave --forming out"),
        ([SYMBOL, "--from-redis", "redis://127.0.0.1:9", "--timezone", "exchange"], "timezone"),
        (["--from-redis", "redis://127.0.0.1:9"], "SYMBOL"),
    ],
)
def test_mistakes(capsys, monkeypatch, arguments, words):
    """Each is one line, with the exit code of a mistake."""
    monkeypatch.delenv("TV_REDIS_URL", raising=False)
    assert main(["live", *arguments]) == 2
    (line,) = notes_of(capsys)
    assert words in line
    assert "pw-canary" not in line
