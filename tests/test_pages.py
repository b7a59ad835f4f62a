"""Every Python block of README and docs runs as it stands, and their tables are complete."""

import builtins
import contextlib
import io
import operator
import re
import types
import warnings

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from tqdm import tqdm

import tvDatafeed
from tests import programs
from tests.delivery import telegram
from tests.delivery.receiver import SECRET, Receiver
from tests.delivery.redisserver import NO_SERVER, RedisServer, has_server
from tests.loopback import NOW
from tests.pages import PAGES, PYTHON_BLOCKS, blocks, table_of
from tests.programs import ROOT, urls
from tvDatafeed.cli.serve import _accounts
from tvDatafeed.config import (
    DeliveryConfig,
    RedisConfig,
    TelegramConfig,
    TvDatafeedConfig,
    environment_variables,
)
from tvDatafeed.testing import FakeTradingView

SIGNING_IN = PAGES["signing-in"]
(DOTENV,) = blocks(SIGNING_IN, "ini")
# Who signs in, on the page "Signing in": the accounts of "tvdatafeed serve --accounts".
ACCOUNTS = tuple(_accounts())
SIGNED_IN = {
    "TvDatafeed(username": "alice",
    "totp_secret": "bob",
    "totp_code": "carol",
    "TvDatafeed.from_env": "bob",
}
INNER = [pytest.param(block, id=block.name) for block in PYTHON_BLOCKS if not block.needs]
OUTER = [
    pytest.param(block, id=f"{block.name}-{block.needs}") for block in PYTHON_BLOCKS if block.needs
]


@pytest.fixture(scope="module", autouse=True)
def _what_others_keep_open():
    """Fonts and libraries that stay open once they were used are not a leak of a block."""
    mpl.use("agg")
    plt.figure().text(0, 0, "a $10^{6}$").figure.savefig(io.BytesIO())
    plt.close()
    pd.DataFrame({"close": [1.0]}).to_parquet(io.BytesIO())
    # A bar of tqdm would leave a thread that watches over it.
    tqdm.monitor_interval = 0


@pytest.fixture(scope="module")
def redis():
    """A Redis server of this module."""
    if not has_server():
        pytest.skip(NO_SERVER)
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A loopback TradingView with the accounts of the pages, and an empty folder."""
    for variable in environment_variables():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(DOTENV, encoding="utf-8")
    with FakeTradingView(clock=lambda: NOW, accounts=ACCOUNTS) as running:
        files = {name: tmp_path / name for name in ("tokens.json", "outbox.db")}
        settings = {"TV_TOKEN_CACHE": files["tokens.json"], "TV_OUTBOX": files["outbox.db"]}
        for variable, value in (urls(running) | settings).items():
            monkeypatch.setenv(variable, str(value))
        yield running


@contextlib.contextmanager
def deliveries(monkeypatch):
    """Run the servers that the page of delivery speaks of, and set their variables."""
    with Receiver() as receiver, telegram.running() as bot:
        hook = {"TV_WEBHOOK_URL": receiver.url, "TV_WEBHOOK_SECRET": SECRET}
        chat = {"TV_TELEGRAM_TOKEN": telegram.TOKEN, "TV_TELEGRAM_CHAT_ID": "42"}
        for variable, value in (hook | chat | {"TV_TELEGRAM_URL": bot.url}).items():
            monkeypatch.setenv(variable, value)
        yield


def run(block):
    """Run a block as a program of its own would."""
    names = {"__name__": "__main__"}
    exec(compile(block.code, block.name, "exec"), names)  # noqa: S102 - our pages


@pytest.mark.parametrize("block", INNER)
@pytest.mark.slow
def test_block_runs(block, server, monkeypatch, request, tmp_path):
    """Each Python block runs as it stands; what names no server finds the loopback ones."""
    if "Redis" in block.code:
        monkeypatch.setenv("TV_REDIS_URL", request.getfixturevalue("redis").url)
    cookies = server.issue_cookies("alice")
    credentials = {
        "TV_AUTH_TOKEN": server.issue_token("alice"),
        "TV_SESSIONID": cookies.sessionid,
        "TV_SESSIONID_SIGN": cookies.sessionid_sign,
    }
    # Only the credentials that the block names, since they are used before others.
    asked = {name: value for name, value in credentials.items() if f'"{name}"' in block.code}
    for variable, value in asked.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(builtins, "input", lambda _prompt: ACCOUNTS[2].sms_code)
    if block.page == "logging":
        # In a process of its own: it configures logging.
        done = programs.run("-c", block.code, server=server)
        assert done.returncode == 0, done.stderr
        return
    has_servers = block.page == "delivery" or "Webhook" in block.code
    with deliveries(monkeypatch) if has_servers else contextlib.nullcontext():
        run(block)
    users = [user for words, user in SIGNED_IN.items() if words in block.code]
    logins = [login.username for login in server.logins if login.outcome == "success"]
    assert [name for name in logins if name] == users
    assert (tmp_path / "tokens.json").exists() == bool(users)
    used = {m.params[0] for m in server.received if m.method == "set_auth_token"}
    if users or asked:
        assert used
        assert "unauthorized_user_token" not in used


@pytest.mark.documentation
@pytest.mark.parametrize("block", OUTER)
def test_block_with_another_package_runs(block, server):
    """Each of these runs too, where its package is."""
    if block.page == "logging":
        done = programs.run("-c", block.code, server=server)
        assert done.returncode == 0, done.stderr
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other packages are theirs
        run(block)


def test_ways_to_sign_in():
    """The page "Signing in" has a block for each way."""
    code = "".join(blocks(SIGNING_IN, "python"))
    for words in (*SIGNED_IN, "sessionid", "auth_token=", "tv.token = ", "CaptchaRequiredError"):
        assert words in code


def test_configuration_table_is_complete():
    """The configuration table lists the variables that are read, all of them and no other."""
    assert [row[0] for row in table_of("configuration", "Variables")] == list(
        environment_variables()
    )


@pytest.mark.parametrize(
    ("variable", "field", "default"),
    [row[:3] for row in table_of("configuration", "Variables")],
)
def test_configuration_defaults(variable, field, default):
    """Each row of the configuration table names the variable's field and its true default."""
    others = {c.__name__: c() for c in (DeliveryConfig, TelegramConfig, RedisConfig)}
    sections = vars(TvDatafeedConfig.default()) | others
    value = operator.attrgetter(field)(types.SimpleNamespace(**sections))
    shown = {None: "", True: "true", False: "false"}.get(value, str(value))
    assert shown == default


def test_errors_exist():
    """Each row of the errors table names an exception that can be imported from the package."""
    rows = table_of("errors", None)
    assert len(rows) > 20
    for name, *_rest in rows:
        found = getattr(tvDatafeed, name, None) or getattr(builtins, name)
        assert issubclass(found, tvDatafeed.TvDatafeedError | ValueError)


def test_every_error_is_in_the_table():
    """What a program can catch is explained: each exported error that is ever raised has a row."""
    named = {row[0] for row in table_of("errors", None)}
    exported = {name for name in tvDatafeed.__all__ if name.endswith("Error")}
    # The root of all, and three that other rows name or that only programs raise.
    unlisted = {"TvDatafeedError", "LockTimeoutError", "ConsumerError", "SlowConsumerError"}
    assert exported - named <= unlisted


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages(page):
    """Each relative link of a page leads to a file, on GitHub as on the site."""
    folder = ROOT if page == "README" else ROOT / "docs"
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" not in link and not link.startswith("#"):
            assert (folder / link.partition("#")[0]).exists(), link


def test_blocks_are_found():
    """The pages have blocks at all."""
    assert len(INNER) > 45
    assert len(OUTER) >= 3
