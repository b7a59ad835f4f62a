"""What the pages in docs/ say is true."""

import re
from pathlib import Path

import pytest

from tests.loopback import NOW
from tests.programs import urls
from tvDatafeed import exceptions
from tvDatafeed.config import environment_variables
from tvDatafeed.testing import FakeTradingView

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL), 1
    )
]
STORE = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.slow
def test_block_runs(block, monkeypatch, tmp_path):
    """Each Python block runs as it stands, in an empty folder and against the loopback server."""
    monkeypatch.chdir(tmp_path)
    for variable in environment_variables():
        monkeypatch.delenv(variable, raising=False)
    with FakeTradingView(clock=lambda: NOW) as server:
        for variable, url in (urls(server) | {"TV_TOKEN_CACHE": "off"}).items():
            monkeypatch.setenv(variable, url)
        exec(compile(block, "docs", "exec"), {"__name__": "__main__"})  # noqa: S102 - our pages


def test_blocks_are_found():
    """The page of the store has blocks at all."""
    assert len(BLOCKS) >= 6


def test_settings_are_listed():
    """The page of the store lists each of its variables."""
    variables = {name for name in environment_variables() if name.startswith("TV_STORE")}
    assert variables
    assert variables <= set(re.findall(r"^\| `(TV_STORE_\w+)`", STORE, re.MULTILINE))


def test_errors_exist():
    """Each error that the page names is one of the library's."""
    for name in re.findall(r"^\| `(\w+Error)`", STORE, re.MULTILINE):
        assert issubclass(getattr(exceptions, name), exceptions.TvDatafeedError)
