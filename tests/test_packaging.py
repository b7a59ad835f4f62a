"""What distributions say about themselves, and how they are made and installed."""

import importlib.metadata
import re
import sys

import pytest
import yaml

import tvDatafeed
from tests.programs import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # of pytest

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SUFFIXES = {".py", ".md", ".ipynb", ".yml", ".toml", ".example"}
FOLDERS = ("tvDatafeed", "tests", "docs", "examples", ".github")
TEXTS = [
    path
    for path in (
        *sorted(ROOT.glob("*.md")),
        ROOT / ".env.example",
        ROOT / ".ci" / "run",
        *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))),
    )
    if path.is_file() and (path.suffix in SUFFIXES or path.name == "run")
]
# A source distribution has no workflows.
needs_workflows = pytest.mark.skipif(not WORKFLOWS, reason="there are no workflows here")
INSTALL = re.compile(r"pip install[^\n|;]*")
EXTRA = re.compile(r"(\S*)\[([a-z][a-z,]*)\]")
# Of a checkout, for its tests: the README's second command, which people paste.
CHECKOUT = re.compile(r"""['"]?\.\[test\]['"]?""")


def installations():
    """Each ``pip install`` of the texts, by the file that has it."""
    for path in TEXTS:
        if path.name == "test_packaging.py":
            continue
        text = path.read_text(encoding="utf-8").replace('\\"', '"').replace("\\[", "[")
        for line in INSTALL.findall(text.replace("\\]", "]")):
            yield path.relative_to(ROOT).as_posix(), line


def test_extras_are_installed_in_one_form():
    """``pip install "tvdatafeed[plot]"``: shells like zsh want the quotes, and cmd these ones."""
    seen, others = set(), []
    for path, line in installations():
        for name, extras in EXTRA.findall(CHECKOUT.sub("", line)):
            if re.search(rf'pip install (--\S+ )*"tvdatafeed\[{extras}\]"', line):
                seen.update(extras.split(","))
            # A pattern of a test matches any quote.
            elif not (path.startswith("tests/") and ".tvdatafeed[" in line):
                others.append((path, name, line))
    assert others == []
    assert seen <= PROJECT["optional-dependencies"].keys()
    assert {"plot", "parquet", "postgres", "server", "redis", "keyring", "completion"} <= seen


def test_groups_and_extras_of_commands_exist():
    """What CONTRIBUTING, CI and the README install is declared."""
    for path, line in installations():
        for group in re.findall(r"--group[ =]([a-z]+)", line):
            assert group in GROUPS, (path, line)
        for extras in re.findall(r"['\"]\.\[([a-z,]+)\]", line):
            assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys(), (path, line)


def test_development_is_in_groups():
    """Users see the extras that they can use; of development only that of the README's command."""
    assert {"dev", "test", "lint", "docs", "release", "benchmark"} <= GROUPS.keys()
    assert PROJECT["optional-dependencies"].keys() & GROUPS.keys() == {"test"}
    assert GROUPS["test"] == ["tvdatafeed[test]"]


def test_each_extra_is_tested():
    """What the extras of users need is among what the tests need, except the system's keyring."""
    extras = PROJECT["optional-dependencies"]
    names = {extra: {re.split(r"[\[><=; ]", one)[0] for one in extras[extra]} for extra in extras}
    for extra, needed in names.items():
        assert extra in {"test", "keyring"} or needed <= names["test"], extra


def test_licence_and_authors():
    """The licence is an SPDX expression with its file, and no classifier repeats it."""
    assert PROJECT["license"] == "MIT"
    assert [ROOT / name for name in PROJECT["license-files"]] == [ROOT / "LICENSE"]
    assert "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["authors"] == [{"name": "tvDatafeed contributors"}]
    assert not any(one.startswith("License ::") for one in PROJECT["classifiers"])


@needs_workflows
def test_urls_are_in_one_place():
    """A maintainer fills in the URLs once; the names are those that the release looks for."""
    urls = PROJECT.get("urls", {})
    assert not urls or {"Repository", "Documentation"} <= urls.keys()
    assert all(url.startswith("https://") and "example" not in url for url in urls.values())
    release = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert 'urls.get("Repository"' in release
    assert '"Documentation" not in urls' in release


@needs_workflows
def test_every_python_is_tested():
    """The classifiers name the versions of the matrix in CI, and the first is the lowest."""
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert versions == jobs["tests"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert versions[-1] == "3.14"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path):
    """A tag can be moved to other code; a commit cannot. Its version stands beside it."""
    used = re.findall(r"^\s*(?:- )?uses: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    pinned = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)+")
    assert [action for action in used if not pinned.fullmatch(action)] == []


def test_the_version_is_dated_in_the_changelog():
    """A released version has a date, and a note for those who upgrade."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## \[{re.escape(tvDatafeed.__version__)}\] - \d{{4}}-\d\d-\d\d$"
    assert re.search(heading, changelog, re.MULTILINE)
    assert "### Upgrading from tvDatafeed 2.x" in changelog


def test_installed_metadata():
    """The build writes the licence and the authors."""
    metadata = importlib.metadata.metadata("tvdatafeed")
    if metadata["Version"] != tvDatafeed.__version__:
        pytest.skip("another checkout is installed")
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Author"] == "tvDatafeed contributors"
    assert metadata.get_all("License-File") == ["LICENSE"]
