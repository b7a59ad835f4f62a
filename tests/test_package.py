"""The package as it is installed and imported."""

import doctest
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import unittest.mock

import pytest

import tvDatafeed
import tvDatafeed.testing
from tests.programs import ROOT, run

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(tvDatafeed.__path__, "tvDatafeed.")
    if not module.name.endswith("__main__")
)
# A page of the reference that a browser shows at once.
LARGEST_PAGE_BYTES = 1_000_000
PUBLIC = [
    (package, name) for package in (tvDatafeed, tvDatafeed.testing) for name in package.__all__
]


@pytest.mark.parametrize("package", [tvDatafeed, tvDatafeed.testing], ids=lambda p: p.__name__)
def test_all_is_sorted(package):
    """``__all__`` names each public name once, constants first, in the order of the linter."""
    names = package.__all__
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))


@pytest.mark.parametrize(("package", "name"), PUBLIC, ids=[name for _package, name in PUBLIC])
def test_public_names(package, name):
    """Every public name can be imported, and every class and function has a docstring."""
    value = getattr(package, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert inspect.getdoc(value)
        assert value.__doc__


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.slow
def test_modules(name):
    """Every module has a docstring, and the examples in its docstrings run."""
    module = importlib.import_module(name)
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


def test_package_example():
    """The example in the package's docstring runs."""
    assert doctest.testmod(tvDatafeed).failed == 0


@pytest.mark.slow
def test_import_is_light():
    """Importing the package loads none of the libraries that take their time."""
    heavy = {"pandas", "numpy", "requests", "websocket", "ssl", "msgspec", "tzlocal"}
    done = run("-c", "import sys, tvDatafeed; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert heavy.isdisjoint(done.stdout.split())


def test_version():
    """The version is a valid one, and the distribution's is the same."""
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|(a|b|rc)\d+)?", tvDatafeed.__version__)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version", "readme"]' in project
    assert 'path = "tvDatafeed/__init__.py"' in project


def test_changelog_knows_the_version():
    """The changelog begins with what is not released yet, or with this version."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    top = re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert top is not None
    assert top[1] == ("Unreleased" if "dev" in tvDatafeed.__version__ else tvDatafeed.__version__)


def test_types_are_shipped():
    """Type checkers find that the package is typed."""
    assert (ROOT / "tvDatafeed" / "py.typed").is_file()


def test_star_import():
    """A star import gives the public names and nothing else."""
    names = {}
    exec("from tvDatafeed import *", names)  # noqa: S102 - a star import needs a module of its own
    assert names.keys() - {"__builtins__"} == set(tvDatafeed.__all__)


def test_completion_lists_the_public_names():
    """After ``tvDatafeed.`` come the names to import and the parts, and no module of ours."""
    parts = {"delivery", "metrics", "network", "store", "testing", "__version__"}
    assert dir(tvDatafeed) == sorted({*tvDatafeed.__all__, *parts})
    assert all(hasattr(tvDatafeed, name) for name in dir(tvDatafeed))


@pytest.mark.parametrize("kind", [tvDatafeed.TvDatafeed, tvDatafeed.TvDatafeedLive])
def test_completion_of_a_client_lists_public_names(kind):
    """After ``tv.`` come methods and attributes that are documented, and nothing private."""
    with kind() as client:
        shown = [name for name in dir(client) if not name.startswith("__")]
        assert {"get_hist", "get_hist_multi", "get_quotes", "close", "token"} <= set(shown)
        assert [name for name in shown if name.startswith("_")] == []
        assert {name for name in dir(kind) if not name.startswith("_")} <= set(shown)
        mock = unittest.mock.create_autospec(client)
        with mock:
            mock.get_hist("AAPL")


@pytest.mark.slow
def test_another_package_named_websocket(tmp_path):
    """It stands where websocket-client should: the error says so, and what to do."""
    (tmp_path / "websocket.py").write_text("class WebSocketClient: pass", encoding="utf-8")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from tvDatafeed import ConfigurationError, TvDatafeed
try:
    TvDatafeed().get_hist("A:B")
except ConfigurationError as error:
    print(error)
"""
    done = run("-c", program)
    assert done.returncode == 0, done.stderr
    assert "pip uninstall --yes websocket websocket-client && pip install" in done.stdout


def test_metadata():
    """What is installed says the same as what is imported, and what it can be found by."""
    metadata = importlib.metadata.metadata("tvdatafeed")
    assert metadata["Version"] == tvDatafeed.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert metadata["Description-Content-Type"] == "text/markdown"
