"""An older commit against this checkout, measured in turn by the same code."""

import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.groups import ROOT, Group, GroupError, Options, measured
from tests.benchmarks.measure import Figure

Key = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """One figure of both, each the median of all rounds.

    Parameters
    ----------
    name, work, unit, more_is_better
        As the figure has them.
    old, new
        The values at the older commit and in this checkout.
    """

    name: str
    work: str
    old: float
    new: float
    unit: str
    more_is_better: bool

    @property
    def ratio(self) -> float | None:
        """The new value divided by the old one; None where the old one is 0."""
        return self.new / self.old if self.old else None

    def __str__(self) -> str:
        better = "more" if self.more_is_better else "less"
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        return (
            f"{self.name:<4} {self.work:<64} old {_short(self.old):>9} new {_short(self.new):>9} "
            f"{self.unit:<8} new/old {ratio:>5} ({better} is better)"
        )


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def git(root: Path, *arguments: str) -> str:
    """Run git in a checkout and return what it prints.

    Raises
    ------
    ValueError
        With git's own words, if it fails or is not installed.
    """
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(f"git cannot be run ({error})") from None
    if done.returncode:
        raise ValueError(done.stderr.strip().partition("\n")[0])
    return done.stdout.strip()


def commit_of(revision: str, root: Path = ROOT) -> str:
    """Return the full id of a commit.

    Raises
    ------
    ValueError
        If the folder is not a git checkout, or there is no such commit in it.
    """
    try:
        top = git(root, "rev-parse", "--show-toplevel")
    except ValueError as error:
        raise ValueError(f"{root} is not a git checkout: {error}") from None
    if Path(top).resolve() != root.resolve():
        raise ValueError(f"{root} is not a git checkout, but a folder of the one in {top}")
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except ValueError:
        raise ValueError(f"there is no commit {revision!r} in {root}") from None


@contextmanager
def checkout_of(commit: str, root: Path = ROOT) -> Iterator[Path]:
    """Check an older commit out in a temporary worktree, with the tests of today."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        old = Path(folder).resolve() / "old"
        try:
            git(root, "worktree", "add", "--detach", str(old), commit)
            shutil.rmtree(old / "tests", ignore_errors=True)
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(root / "tests", old / "tests", ignore=ignored)
            yield old
        finally:
            # It is not known to git if it could not be added.
            with suppress(ValueError):
                git(root, "worktree", "remove", "--force", str(old))


def compared(
    group: Group, options: Options, rounds: int, old: Path, new: Path = ROOT
) -> Iterator[Comparison]:
    """Measure a group in both checkouts, in turn, and compare each figure that has a value.

    Parameters
    ----------
    group
        The figures.
    options
        How they are measured.
    rounds
        How often; which checkout is first changes with each round.
    old, new
        The checkouts.

    Raises
    ------
    GroupError
        If one of them cannot measure the group; the text says which one.
    """
    seen: dict[str, dict[Key, list[Figure]]] = {"old": {}, "new": {}}
    for number in range(rounds):
        for side in ("old", "new") if number % 2 == 0 else ("new", "old"):
            try:
                figures = list(measured(group, options, old if side == "old" else new))
            except GroupError as error:
                where = "at the old commit" if side == "old" else "in this checkout"
                raise GroupError(f"cannot run {where}: {error}") from None
            for figure in figures:
                seen[side].setdefault((figure.name, figure.work), []).append(figure)
    for key, figures in seen["new"].items():
        news = [figure.value for figure in figures if figure.value is not None]
        olds = [figure.value for figure in seen["old"].get(key, ()) if figure.value is not None]
        if news and olds:
            last = figures[-1]
            yield Comparison(
                *key,
                old=statistics.median(olds),
                new=statistics.median(news),
                unit=last.unit,
                more_is_better=last.more_is_better,
            )
