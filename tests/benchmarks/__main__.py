"""Print each figure beside its target and the floor of the same run.

P1 to P9 are the client, S1 to S8 the bar store, D1 to D5 delivery, and R1 and R2 many processes
that share a feed or a store. Each group of figures runs in a process of its own, the loopback
server in another one, and each peer in an interpreter that has it, as `peer_enhanced` and
`peer_tvkit` describe. Absolute times move with the machine; the ratios are taken in one run.
"""

import argparse
import datetime as dt
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from tests.benchmarks.against import Comparison, checkout_of, commit_of, compared, git
from tests.benchmarks.groups import ROOT, Group, GroupError, Options, groups_of, measured
from tests.benchmarks.measure import Figure

STDOUT = "-"


@dataclass
class Report:
    """What was measured, for keeping.

    Parameters
    ----------
    facts
        The machine, the versions and the commit.
    options
        How it was measured.
    figures, comparisons
        What was measured; comparisons with an older commit only.
    seconds
        How long each group took.
    failed
        Why a group could not be measured.
    """

    facts: dict[str, Any]
    options: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write the report as one JSON document."""
        document = asdict(self)
        for comparison, written in zip(self.comparisons, document["comparisons"], strict=True):
            written["ratio"] = comparison.ratio
        return json.dumps(document, indent=2)


def facts(root: Path = ROOT) -> dict[str, Any]:
    """Return what figures depend on: the machine, the versions and the commit."""
    try:
        commit: str | None = git(root, "rev-parse", "HEAD")
        is_changed: bool | None = bool(git(root, "status", "--porcelain"))
    except ValueError:
        commit = is_changed = None
    return {
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit,
        "uncommitted_changes": is_changed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "pandas": version("pandas"),
        "numpy": version("numpy"),
    }


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--enhanced", help="an interpreter that has tvdatafeed-enhanced installed")
    parser.add_argument("--tvkit", help="an interpreter that has tvkit installed")
    parser.add_argument("--runs", type=_positive, default=60, help="of short work; default: 60")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="figures; default: all")
    parser.add_argument(
        "--quick", action="store_true", help="S4 with a million bars, S6 for five seconds"
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="write the figures as JSON too; without FILE on stdout, instead of the table",
    )
    parser.add_argument(
        "--against",
        metavar="COMMIT",
        help="measure this commit too, in turn, and print the ratio of each figure",
    )
    parser.add_argument(
        "--rounds", type=_positive, default=3, help="of --against; default: 3, in turn"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main() -> int:
    """Measure and print; the exit code is 1 if a group could not be measured."""
    arguments = parser().parse_args()
    try:
        groups = groups_of(arguments.only)
        old = commit_of(arguments.against) if arguments.against else None
    except ValueError as error:
        parser().error(str(error))
    options = Options(arguments.runs, arguments.quick, arguments.enhanced, arguments.tvkit)
    report = Report(facts(), asdict(options) | {"against": old, "rounds": arguments.rounds})
    table = sys.stderr if arguments.json == STDOUT else sys.stdout
    # Stopped by another program, temporary folders are removed as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(_headline(report.facts, arguments.runs), file=table, flush=True)
    started = time.monotonic()
    try:
        if old is None:
            _measure(groups, options, report, table)
        else:
            with checkout_of(old) as folder:
                words = f"old is {old[:9]}, in {folder}; {arguments.rounds} rounds in turn\n"
                print(words, file=table, flush=True)
                _compare(groups, options, folder, report, table)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"\n{len(groups)} groups in {time.monotonic() - started:.0f} s", file=table)
    if arguments.json == STDOUT:
        print(report.to_json())
    elif arguments.json:
        Path(arguments.json).write_text(report.to_json() + "\n", encoding="utf-8")
    return 1 if report.failed else 0


def _headline(known: dict[str, Any], runs: int) -> str:
    commit = (known["commit"] or "unknown")[:9] + (
        " and changes" * bool(known["uncommitted_changes"])
    )
    return (
        f"Python {known['python']}, pandas {known['pandas']}, numpy {known['numpy']} on "
        f"{known['platform']}, {known['cores']} cores; commit {commit}; medians of {runs} runs\n"
    )


def _measure(groups: list[Group], options: Options, report: Report, table: TextIO) -> None:
    for group in groups:
        with _timed(group, report, table):
            for figure in measured(group, options):
                report.figures.append(figure)
                print(figure, file=table, flush=True)


def _compare(
    groups: list[Group],
    options: Options,
    old: Path,
    report: Report,
    table: TextIO,
) -> None:
    for group in groups:
        with _timed(group, report, table):
            for comparison in compared(group, options, report.options["rounds"], old):
                report.comparisons.append(comparison)
                print(comparison, file=table, flush=True)


@contextmanager
def _timed(group: Group, report: Report, table: TextIO) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    except GroupError as error:
        report.failed[group.names] = str(error)
        print(f"{group.names}: {error}", file=table, flush=True)
    report.seconds[group.names] = round(time.monotonic() - started, 1)
    print(f"     {group.names} took {report.seconds[group.names]} s", file=table, flush=True)


if __name__ == "__main__":
    sys.exit(main())
