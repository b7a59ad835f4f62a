"""The site is built strictly, and shows every public docstring; it takes the extra docs."""

import functools
import html
import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest

from tests.pages import PAGES
from tests.programs import ROOT
from tests.scale import scaled

pytestmark = [pytest.mark.documentation, pytest.mark.slow]

_LARGEST_PAGE_BYTES = 1_000_000
_PACKAGES = (
    *("tvDatafeed", "tvDatafeed.config", "tvDatafeed.delivery", "tvDatafeed.store"),
    *("tvDatafeed.testing", "tvDatafeed.network", "tvDatafeed.ratelimit", "tvDatafeed.auth"),
    *("tvDatafeed.interval", "tvDatafeed.utils", "tvDatafeed.metrics", "tvDatafeed.validators"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site, which was built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=scaled(300.0),
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@functools.cache
def words(text):
    """Return the words of a page or docstring, without tags and marks."""
    text = html.unescape(re.sub(r"<[^>]*>", "", text))
    return " ".join(re.sub(r"[`*_\\]", "", text).split())


def public_objects():
    """Yield the path and the docstring of each public class, function, method and property."""
    for package in _PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                continue
            yield f"{package}.{name}", inspect.cleandoc(value.__doc__ or "")
            if not inspect.isclass(value):
                continue
            for member_name, member in vars(value).items():
                documented = inspect.isroutine(member) or isinstance(member, property)
                if not member_name.startswith("_") and documented and member.__doc__:
                    yield f"{package}.{name}.{member_name}", inspect.cleandoc(member.__doc__)


def test_every_docstring_is_shown(site):
    """Each public name has a heading in the reference, and its first paragraph below it."""
    pages = [page.read_text("utf-8") for page in (site / "reference").rglob("index.html")]
    anchors = {anchor for page in pages for anchor in re.findall(r'id="(tvDatafeed[^"]+)"', page)}
    shown = words(" ".join(pages))
    lost = []
    for path, docstring in public_objects():
        # A name of several packages is on the page of one of them.
        tail = path.removeprefix("tvDatafeed.").split(".", 1)[-1]
        found = path in anchors or any(anchor.endswith(f".{tail}") for anchor in anchors)
        if not found or words(docstring.partition("\n\n")[0]) not in shown:
            lost.append(path)
    assert lost == []
    assert len(anchors) > 300


def test_pages_are_small(site):
    """No page has more than 1 MB, and the search index has less than 5."""
    sizes = {path.relative_to(site): path.stat().st_size for path in site.rglob("*.html")}
    assert max(sizes.values()) < _LARGEST_PAGE_BYTES
    assert (site / "search" / "search_index.json").stat().st_size < 5 * _LARGEST_PAGE_BYTES


def test_each_page_is_built(site):
    """Each file of docs/ is a page, and no directive is left in one."""
    for name in PAGES.keys() - {"README"}:
        page = site / ("index.html" if name == "index" else f"{name}/index.html")
        text = page.read_text("utf-8")
        assert "{%" not in text
        assert "::: " not in text


def test_no_other_server_is_asked(site):
    """A page loads its scripts, styles and fonts from the site alone."""
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img)[^>]* src="?(https?://[^" >]+)'
            r'|<link[^>]* rel="?(?:stylesheet|preconnect)[^>]* href="?(https?://[^" >]+)',
            page.read_text("utf-8"),
        )
        assert loaded == [], page
