"""An older commit beside this checkout."""

import shutil
import signal
import subprocess
import sys

import pytest

from tests.benchmarks import against
from tests.benchmarks.against import Comparison, commit_of, compared, git
from tests.benchmarks.groups import GROUPS, GroupError, Options
from tests.benchmarks.measure import Figure
from tests.programs import ROOT, TIMEOUT_S, environment

GROUP = GROUPS[0]

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def figure(value, work="parse", unit="x"):
    return Figure("P1", work, f"{value} {unit}", "", None, value=value, unit=unit)


@pytest.fixture
def checkouts(tmp_path, monkeypatch):
    """Two checkouts and the order in which they were measured; each has a list of values."""
    old, new, order = tmp_path / "old", tmp_path / "new", []
    values = {old: iter([4.0, 8.0, 6.0]), new: iter([3.0, 3.0, 2.0])}

    def fake(_group, _options, root):
        order.append(root.name)
        yield figure(next(values[root]))
        yield Figure("P1", "histogram", "", "", None)
        yield figure(1.0, work=f"only in {root.name}")

    monkeypatch.setattr(against, "measured", fake)
    return old, new, order


def test_both_are_measured_in_turn_and_each_is_first_as_often(checkouts):
    old, new, order = checkouts
    list(compared(GROUP, Options(), 3, old, new))
    assert order == ["old", "new", "new", "old", "old", "new"]


def test_figures_with_a_value_in_both_are_compared_by_their_medians(checkouts):
    old, new, _order = checkouts
    (comparison,) = compared(GROUP, Options(), 3, old, new)
    assert comparison == Comparison("P1", "parse", 6.0, 3.0, "x", more_is_better=False)
    assert comparison.ratio == 0.5
    assert "new/old  0.50 (less is better)" in str(comparison)


def test_a_line_says_when_more_is_better():
    comparison = Comparison("D2", "post", 1000.0, 2500.0, "posts/s", more_is_better=True)
    assert "new/old  2.50 (more is better)" in str(comparison)


def test_no_ratio_to_an_old_value_of_0():
    assert Comparison("S8", "import", 0.0, 1.0, "modules", more_is_better=False).ratio is None


def test_which_checkout_cannot_run_is_in_the_error(checkouts, monkeypatch):
    old, new, _order = checkouts

    def broken(_group, _options, root):
        if root == old:
            raise GroupError("ImportError: no such name")
        yield figure(1.0)

    monkeypatch.setattr(against, "measured", broken)
    with pytest.raises(GroupError, match="at the old commit: ImportError"):
        list(compared(GROUP, Options(), 3, old, new))


@pytest.fixture
def repository(tmp_path):
    """A repository of this checkout, and an older commit whose package imports more.

    The older commit has no delivery, and its own tests are broken: those of today must be used.
    """
    root = tmp_path / "repository"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tvDatafeed", root / "tvDatafeed", ignore=ignored)
    shutil.copytree(ROOT / "tests", root / "tests", ignore=ignored)
    git(root.parent, "init", "--quiet", str(root))
    git(root, "config", "user.name", "bench")
    git(root, "config", "user.email", "bench@example.com")
    git(root, "config", "core.autocrlf", "false")
    facade, clocks = root / "tvDatafeed/__init__.py", root / "tests/benchmarks/measure.py"
    texts = {path: path.read_text(encoding="utf-8") for path in (facade, clocks)}
    facade.write_text(texts[facade] + "\nimport sqlite3\n", encoding="utf-8")
    clocks.write_text("raise AssertionError\n", encoding="utf-8")
    shutil.move(root / "tvDatafeed/delivery", tmp_path / "delivery")
    _commit(root)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    shutil.move(tmp_path / "delivery", root / "tvDatafeed/delivery")
    _commit(root)
    return root


def _commit(root):
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--no-gpg-sign", "--no-verify", "--message", "A commit")


def start(root, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks", "--runs", "1", *arguments],
        cwd=root,
        env={k: v for k, v in environment().items() if k != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


@needs_git
@pytest.mark.slow
def test_an_older_commit_is_measured_by_the_code_of_today(repository):
    with start(repository, "--only", "S8", "D1", "--against", "HEAD~1", "--rounds", "1") as process:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    lines = output.splitlines()
    (imports,) = (line for line in lines if line.startswith("S8 "))
    assert "old         1 new         0 modules" in imports, errors
    (enqueueing,) = (line for line in lines if line.startswith("D1: "))
    assert "cannot run at the old commit: ModuleNotFoundError" in enqueueing
    assert process.returncode == 1
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert not git(repository, "status", "--porcelain")


@needs_git
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a process alone")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_worktree_is_removed_when_it_is_interrupted(repository, number):
    arguments = "--only", "S8", "--against", "HEAD", "--rounds", "1000"
    with start(repository, *arguments) as process:
        # Written once the worktree is there.
        assert any(line.startswith("old is ") for line in process.stdout)
        assert len(git(repository, "worktree", "list").splitlines()) == 2
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode in (1, 130)
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@needs_git
class TestCommits:
    @pytest.fixture
    def empty(self, tmp_path):
        git(tmp_path, "init", "--quiet")
        return tmp_path

    def test_an_unknown_commit_is_an_error_that_names_it(self, empty):
        with pytest.raises(ValueError, match="there is no commit 'v9'"):
            commit_of("v9", empty)

    def test_a_folder_of_a_checkout_is_not_one(self, empty):
        (empty / "inner").mkdir()
        with pytest.raises(ValueError, match="is not a git checkout, but a folder"):
            commit_of("HEAD", empty / "inner")

    def test_without_a_checkout_there_are_no_commits(self, tmp_path, monkeypatch):
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        with pytest.raises(ValueError, match="is not a git checkout: fatal: not a git repository"):
            commit_of("HEAD", tmp_path)


def test_without_git_there_are_no_commits(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="git cannot be run"):
        commit_of("HEAD", tmp_path)
