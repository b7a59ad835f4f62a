"""What the README says is true."""

import builtins
import operator
import re
from pathlib import Path

import pytest

import tvDatafeed
from tests.programs import urls
from tvDatafeed.config import TvDatafeedConfig, environment_variables

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def table_of(heading):
    """The rows of the last table of a section, each a list of cells without backticks."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    last_rule = max(number for number, row in enumerate(rows) if row.startswith("|---"))
    return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows[last_rule + 1 :]]


@pytest.mark.parametrize("block", BLOCKS, ids=range(1, len(BLOCKS) + 1))
def test_block_runs(block, server, monkeypatch):
    """Each Python block runs as it stands; what names no server finds the loopback one."""
    for variable, url in urls(server).items():
        monkeypatch.setenv(variable, url)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our README


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
    value = operator.attrgetter(field)(TvDatafeedConfig.default())
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
