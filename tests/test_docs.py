"""What the pages of store, delivery, asyncio and logging say; blocks run in test_pages.py."""

import contextlib
import json
import re
import shlex

import pytest

from tests import programs
from tests.delivery import telegram
from tests.delivery.hooks import SEIS, bar
from tests.delivery.receiver import SECRET, Receiver
from tests.delivery.redisserver import NO_SERVER, RedisServer, has_server
from tests.loopback import NOW
from tests.pages import PAGES, blocks
from tests.programs import ROOT, urls
from tests.scale import PATIENCE_S
from tests.store.webserver import serving
from tvDatafeed import exceptions
from tvDatafeed.cli import main
from tvDatafeed.config import environment_variables
from tvDatafeed.delivery import Webhook
from tvDatafeed.testing import FakeTradingView, FinMidFrame

STORE = PAGES["store"]
DELIVERY = PAGES["delivery"]
# The commands that the pages and the READMEs of examples show.
_TEXTS = [*PAGES.values(), (ROOT / "examples" / "delivery" / "README.md").read_text("utf-8")]
COMMANDS = sorted(
    {
        line.partition("#")[0].partition(" > ")[0].partition(" 2> ")[0].partition(" | ")[0].strip()
        for text in _TEXTS
        for block in blocks(text, "sh")
        for line in block.splitlines()
        if line.startswith("tvdatafeed ")
    }
    | {
        f"tvdatafeed {group} {command}"
        for group, page in (("store", STORE), ("deliver", DELIVERY))
        for row in re.findall(
            r"^\| (`[a-z].*?) \|", page.partition(f"| `tvdatafeed {group} ...")[2], re.MULTILINE
        )
        for command in re.findall(r"`(.*?)`", row)
    }
    | {found for text in _TEXTS for found in re.findall(r"`(tvdatafeed [a-z][^`.|\n]*)`", text)}
)
_GROUPS = {"store", "deliver"}


def run(block):
    """Run a block, and return its names."""
    names = {"__name__": "__main__"}
    exec(compile(block, "docs", "exec"), names)  # noqa: S102 - our pages
    return names


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An empty folder, and the settings of a loopback TradingView; more are set by a call."""
    monkeypatch.chdir(tmp_path)
    for variable in environment_variables():
        monkeypatch.delenv(variable, raising=False)

    def change(variables):
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)

    with FakeTradingView(clock=lambda: NOW) as server:
        change(urls(server) | {"TV_TOKEN_CACHE": "off", "TV_OUTBOX": str(tmp_path / "outbox.db")})
        yield change


@contextlib.contextmanager
def deliveries(environment):
    """Run the servers that the page of delivery speaks of, and set their variables."""
    with Receiver() as receiver, telegram.running() as bot:
        variables = {"TV_WEBHOOK_URL": receiver.url, "TV_WEBHOOK_SECRET": SECRET}
        chat = {"TV_TELEGRAM_TOKEN": telegram.TOKEN, "TV_TELEGRAM_CHAT_ID": "42"}
        environment(variables | chat | {"TV_TELEGRAM_URL": bot.url})
        yield receiver, bot


@pytest.fixture(scope="module")
def redis():
    """A Redis server of this module."""
    if not has_server():
        pytest.skip(NO_SERVER)
    server = RedisServer()
    yield server
    server.close()


def block_with(words):
    """Return the block of the page of delivery that has some words."""
    return block_of("delivery", words)


@pytest.mark.slow
def test_five_minutes(environment, capsys):
    """The first two blocks together: the receiver verifies what the sender has sent."""
    environment({"TV_WEBHOOK_SECRET": SECRET})
    app = run(block_with("FastAPI"))["app"]
    with serving(app) as client:
        assert client.post("/bars", data=b"{}").status_code == 401
        environment({"TV_WEBHOOK_URL": f"{client.base_url}/bars"})
        run(block_with("hook.results(print)"))
    lines = capsys.readouterr().out.splitlines()
    (message,) = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("bar_")]
    assert (message["type"], message["data"]["symbol"]) == ("bar.closed", "BTCUSDT")
    assert any("state='delivered', status=204" in line for line in lines)


@pytest.mark.slow
def test_signals_are_sent_once(environment):
    """The block that sends a signal twice under one key sends one message."""
    with deliveries(environment) as (receiver, _bot):
        run(block_with("first == again"))
        (request, _status) = receiver.requests[0]
    assert len(receiver.requests) == 1
    assert request.message["type"] == "signal.created"


@pytest.mark.slow
def test_alert_is_sent(environment):
    """The block of alerts sends one to the bot of the environment."""
    with deliveries(environment) as (_receiver, bot):
        run(block_with("alerts.attach"))
        bot.wait()
    assert bot.texts == ["The bot has started"]


@pytest.mark.slow
def test_feed_is_shared(environment, redis, capsys):
    """The block that reads gets the bar that the block before has published."""
    redis.command("FLUSHALL")
    environment({"TV_REDIS_URL": redis.url})
    run(block_with("RedisPublisher("))
    assert not capsys.readouterr().out
    run(block_with("RedisFeed("))
    assert "BINANCE:BTCUSDT" in capsys.readouterr().out


def block_of(page, words):
    """Return the block of a page that has some words."""
    (found,) = [block for block in blocks(PAGES[page], "python") if words in block]
    return found


@pytest.mark.slow
def test_a_coroutine_is_refused_with_the_line_that_works(environment, capsys):
    """The block prints the error; the line in it is the one of the block, and brings a bar."""
    block = block_of("asyncio", "DataValidationError")
    run(block)
    refused, bar = capsys.readouterr().out.splitlines()
    line = "lambda seis, data: asyncio.run_coroutine_threadsafe(f(seis, data), loop)"
    assert line in refused
    assert line in block
    assert bar.startswith("BTCUSDT ")


@pytest.mark.slow
def test_fastapi(environment):
    """The application answers history, a mistake, and the bar that closed last as an event."""
    app = run(block_of("asyncio", "FastAPI"))["app"]
    with serving(app) as client:
        bars = client.get("/bars/NASDAQ/AAPL", params={"n": 3}).json()
        assert [bar["symbol"] for bar in bars] == ["NASDAQ:AAPL"] * 3
        assert client.get("/bars/NASDAQ/NOSUCH").status_code == 404
        with client.get("/live", stream=True) as live:
            line = next(live.iter_lines())
    (bar,) = json.loads(line.decode().removeprefix("data: "))
    assert bar["symbol"] == "BINANCE:BTCUSDT"


@pytest.mark.slow
def test_chat(environment, capsys):
    """The bot answers a question, and says why it cannot answer another one."""
    run(block_of("asyncio", "class Chat"))
    out = capsys.readouterr().out
    assert "AAPL: " in out
    assert "'NOSUCH' not found on NASDAQ" in out


@pytest.mark.slow
def test_fields_are_read(server):
    """A handler of the page reads the fields of an outage."""
    server.inject(FinMidFrame(times=1))
    done = programs.run("-c", block_of("logging", "class Outages"), server=server)
    assert done.stdout.startswith("tried again: AAPL 1 ")


@pytest.mark.slow
def test_record_with_info(server):
    """With the configuration of the page there is a line for each answer."""
    done = programs.run("-c", block_of("logging", "level=logging.INFO, format"), server=server)
    *_others, line = done.stderr.splitlines()
    assert re.fullmatch(r"\S+ \S+ INFO tvDatafeed.main: NASDAQ:AAPL: 100 bars in \d.\d+ s", line)


@pytest.mark.documentation
def test_structlog(server):
    """Records of the library and of the program are JSON, with their fields."""
    done = programs.run("-c", block_of("logging", "structlog"), server=server)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert (found[0]["event"], found[0]["strategy"]) == ("started", "trend")
    (answer,) = [one for one in found if one["logger"] == "tvDatafeed.main" and "bars" in one]
    assert (answer["symbol"], answer["bars"], answer["level"]) == ("AAPL", 100, "info")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_exists(command, capsys):
    """Each command that is shown exists, and has the options that are shown."""
    _program, *words = shlex.split(command)
    path = words[: 2 if words[0] in _GROUPS and len(words) > 1 else 1]
    assert main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"tvdatafeed {' '.join(path)} " in text
    for option in [word for word in words if word.startswith("--") and word != "--"]:
        assert option in text


def test_message_is_shown_as_it_is(environment):
    """The body that the page shows has the fields of a message."""
    with deliveries(environment) as (receiver, _bot), Webhook() as hook:
        hook(SEIS, bar())
        assert hook.flush(PATIENCE_S)
        (body,) = receiver.bodies()
    shown = json.loads(blocks(DELIVERY, "json")[0])
    assert (list(shown), list(shown["data"])) == (list(body), list(body["data"]))


@pytest.mark.parametrize(
    ("page", "prefixes"),
    [(STORE, "TV_STORE"), (DELIVERY, ("TV_WEBHOOK", "TV_OUTBOX", "TV_TELEGRAM", "TV_REDIS"))],
    ids=["store", "delivery"],
)
def test_settings_are_listed(page, prefixes):
    """A page lists each variable of its part, and no other."""
    variables = {name for name in environment_variables() if name.startswith(prefixes)}
    assert variables
    rows = re.findall(r"^\| (`TV_\w+`(?:, `TV_\w+`)*) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == variables


def test_errors_exist():
    """Each error that a page names is one of the library's."""
    for name in re.findall(r"^\| `(\w+Error)`", STORE + DELIVERY, re.MULTILINE):
        assert issubclass(getattr(exceptions, name), exceptions.TvDatafeedError)
