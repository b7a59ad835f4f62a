"""What the README says is true; its blocks run in test_pages.py."""

import re

import pytest

from tests.pages import PAGES, PYTHON_BLOCKS
from tests.programs import ROOT

README = PAGES["README"]
LINKS = re.findall(r"\]\(([^)\s]+)\)", README)


def test_readme_is_short():
    """The README has at most 250 lines; everything else is on the site."""
    assert len(README.splitlines()) <= 250


def test_commands_are_single_lines():
    """Commands one and two are one line each, marked for the script that runs them."""
    for number in ("one", "two"):
        block = README.partition(f"<!-- ci: command {number} -->\n")[2]
        assert re.match(r"```sh\n[^\n]+\n```\n", block)


def test_command_one_shows_progress():
    """Command one installs for a minute: it is not quiet meanwhile."""
    assert (
        "--quiet" not in README.partition("<!-- ci: command one -->\n")[2].partition("\n```\n")[0]
    )


@pytest.mark.parametrize("link", [link for link in LINKS if "://" not in link])
def test_relative_link(link):
    """Each link to a file of the repository leads somewhere."""
    assert (ROOT / link.partition("#")[0]).exists()


URLS = {"Documentation": "https://docs.example/", "Repository": "https://git.example/x"}


@pytest.mark.parametrize(
    ("link", "with_urls"),
    [
        ("docs/index.md", "https://docs.example/"),
        ("docs/history.md#depth", "https://docs.example/history/#depth"),
        ("docs/reference/index.md", "https://docs.example/reference/"),
        ("docs/reference/client.md", "https://docs.example/reference/client/"),
        ("CHANGELOG.md", "https://git.example/x/blob/main/CHANGELOG.md"),
        ("https://www.tradingview.com/policies/", "https://www.tradingview.com/policies/"),
    ],
)
def test_links_of_the_distribution(link, with_urls):
    """A built distribution has absolute links, or the words alone where a URL is not filled in."""
    hook = pytest.importorskip("hatch_build", reason="needs hatchling")
    assert hook.with_absolute_links(f"[it]({link})", URLS) == f"[it]({with_urls})"
    without = f"[it]({link})" if "://" in link else "it"
    assert hook.with_absolute_links(f"[it]({link})", {}) == without


def test_each_page_is_linked():
    """The README names each page of the site."""
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(LINKS)


def test_loopback_block():
    """The README shows the one line that connects a client with the loopback TradingView."""
    line = "with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:"
    assert any(line in block.code for block in PYTHON_BLOCKS if block.page == "README")
