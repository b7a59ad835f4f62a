"""What the README says is true."""

import builtins
import io
import operator
import re
import types
import warnings
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from tqdm import tqdm

import tvDatafeed
from tests.loopback import NOW
from tests.programs import urls
from tvDatafeed.cli.serve import _accounts
from tvDatafeed.config import (
    DeliveryConfig,
    RedisConfig,
    TelegramConfig,
    TvDatafeedConfig,
    environment_variables,
)
from tvDatafeed.testing import FakeTradingView

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
DOTENV = re.findall(r"^```ini\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]
_FOUND = re.findall(
    r"^(?:<!-- needs: (\S+) -->\n)?```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL
)
BLOCKS = [block for needs, block in _FOUND if not needs]
# What takes a package that neither this library nor its tests have.
OUTER_BLOCKS = [pytest.param(block, id=needs) for needs, block in _FOUND if needs]


def table_of(heading):
    """The rows of the last table of a section, each a list of cells without backticks."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    section = section.partition("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    last_rule = max(number for number, row in enumerate(rows) if row.startswith("|---"))
    return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows[last_rule + 1 :]]


# The accounts of the section "Signing in": those of "tvdatafeed serve --accounts".
ACCOUNTS = tuple(_accounts())
SIGNED_IN = {
    "TvDatafeed(username": "alice",
    "totp_secret": "bob",
    "totp_code": "carol",
    "TvDatafeed.from_env": "bob",
}


@pytest.fixture(scope="module", autouse=True)
def _what_others_keep_open():
    """Fonts and libraries that stay open once they were used are not a leak of a block."""
    mpl.use("agg")
    plt.figure().text(0, 0, "a $10^{6}$").figure.savefig(io.BytesIO())
    plt.close()
    pd.DataFrame({"close": [1.0]}).to_parquet(io.BytesIO())
    # A bar of tqdm would leave a thread that watches over it.
    tqdm.monitor_interval = 0


@pytest.fixture
def server():
    """A loopback TradingView with the README's accounts, whose market stands still."""
    with FakeTradingView(clock=lambda: NOW, accounts=ACCOUNTS) as running:
        yield running


@pytest.mark.parametrize("block", BLOCKS, ids=range(1, len(BLOCKS) + 1))
@pytest.mark.slow
def test_block_runs(block, server, monkeypatch, tmp_path):
    """Each Python block runs as it stands; what names no server finds the loopback one."""
    cookies = server.issue_cookies("alice")
    credentials = {
        "TV_AUTH_TOKEN": server.issue_token("alice"),
        "TV_SESSIONID": cookies.sessionid,
        "TV_SESSIONID_SIGN": cookies.sessionid_sign,
    }
    # Of the credentials no more than the block asks for, since they go before others.
    asked = {name: value for name, value in credentials.items() if f'"{name}"' in block}
    cache = tmp_path / "tokens.json"
    for variable, value in (urls(server) | {"TV_TOKEN_CACHE": str(cache)} | asked).items():
        monkeypatch.setenv(variable, value)
    (tmp_path / ".env").write_text(DOTENV, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "input", lambda _prompt: ACCOUNTS[2].sms_code)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our README
    users = [user for words, user in SIGNED_IN.items() if words in block]
    logins = [login.username for login in server.logins if login.outcome == "success"]
    assert [name for name in logins if name] == users
    assert cache.exists() == bool(users)
    used = {m.params[0] for m in server.received if m.method == "set_auth_token"}
    if users or asked:
        assert used
        assert "unauthorized_user_token" not in used


@pytest.mark.documentation
@pytest.mark.parametrize("block", OUTER_BLOCKS)
def test_block_with_another_package_runs(block, server, monkeypatch, tmp_path):
    """Each of these runs too, where its package is."""
    for variable, url in urls(server).items():
        monkeypatch.setenv(variable, url)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other packages are theirs
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102


def test_ways_to_sign_in():
    """The section "Signing in" has a block for each way."""
    section = README.partition("\n## Signing in\n")[2].partition("\n## ")[0]
    blocks = "".join(re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
    for words in (*SIGNED_IN, "sessionid", "auth_token=", "tv.token = ", "CaptchaRequiredError"):
        assert words in blocks


def test_loopback_block():
    """The README shows the one line that connects a client with the loopback TradingView."""
    line = "with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:"
    assert any(line in block for block in BLOCKS)


def test_configuration_table_is_complete():
    """The configuration table lists the variables that are read, all of them and no other."""
    assert [row[0] for row in table_of("Configuration")] == list(environment_variables())


@pytest.mark.parametrize(
    ("variable", "field", "default"), [r[:3] for r in table_of("Configuration")]
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
    for name, *_rest in table_of("Errors"):
        found = getattr(tvDatafeed, name, None) or getattr(builtins, name)
        assert issubclass(found, tvDatafeed.TvDatafeedError | ValueError)


def test_commands_are_single_lines():
    """Commands one and two are one line each, marked for the script that runs them."""
    for number in ("one", "two"):
        block = README.partition(f"<!-- ci: command {number} -->\n")[2]
        assert re.match(r"```sh\n[^\n]+\n```\n", block)
