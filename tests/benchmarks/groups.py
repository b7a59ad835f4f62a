"""All figures, in groups that are measured together, each group in a process of its own.

``python -m tests.benchmarks.groups NAMES OPTIONS``, with options as JSON, measures one group and
prints a line of JSON for the package that it imported and then one for each figure. In a process of
its own a group inherits no memory, threads or patches of another one.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Figure

ROOT = Path(__file__).parents[2]
# How long an interrupted group may take to stop its servers.
_STOP_S = 15.0
# Another checkout's path, and settings: an account's, or those of a store.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONSAFEPATH", "TV_")


@dataclass(frozen=True)
class Options:
    """What the command line decides.

    Parameters
    ----------
    runs
        How often short work is measured; longer work is measured less often.
    quick
        Whether S4 and S6 measure less.
    enhanced, tvkit
        Interpreters that have these peers; None leaves the comparison out.
    """

    runs: int = 60
    quick: bool = False
    enhanced: str | None = None
    tvkit: str | None = None

    @property
    def peers(self) -> dict[str, list[str]]:
        """The commands of the peers' scripts."""
        return {
            name: [python, f"tests/benchmarks/{script}.py"]
            for name, python, script in (
                ("tvdatafeed-enhanced", self.enhanced, "peer_enhanced"),
                ("tvkit", self.tvkit, "peer_tvkit"),
            )
            if python
        }


@dataclass(frozen=True)
class Group:
    """Figures of one function, which is imported when it is called.

    Parameters
    ----------
    names
        The names of its figures, the main one first.
    module, function
        Where the generator of the figures is, within this folder.
    arguments
        What it is called with.
    """

    names: str
    module: str
    function: str
    arguments: Callable[[Options], tuple[Any, ...]] = lambda _options: ()

    def measure(self, options: Options) -> Iterator[Figure]:
        """Import the function and yield its figures."""
        module = importlib.import_module(f"tests.benchmarks.{self.module}")
        yield from getattr(module, self.function)(*self.arguments(options))


GROUPS = [
    Group("P1", "client", "parsing", lambda o: (o.runs,)),
    Group("P2", "client", "warm_call", lambda o: (o.runs, o.enhanced)),
    Group("P3 P4", "many", "many_symbols", lambda o: (o.peers, max(o.runs // 12, 3))),
    Group("P5 P9", "depth", "deep_history", lambda o: (max(o.runs // 10, 3),)),
    Group("P9", "many", "growth_by_symbols", lambda o: (max(o.runs // 4, 5),)),
    Group("P6", "live", "live_figures", lambda o: (o.tvkit, max(o.runs * 5, 50))),
    Group("P7", "live", "idle_figures"),
    Group("P9 P6", "live", "growth_by_seises"),
    Group("P8", "client", "importing", lambda o: (max(o.runs // 6, 5),)),
    Group("S1", "store", "reading", lambda o: (o.runs,)),
    Group("S2", "store", "writing", lambda o: (max(o.runs // 12, 3),)),
    Group("S3", "store", "appending", lambda o: (o.runs,)),
    Group("S4", "store", "size", lambda o: (o.runs, o.quick)),
    Group("S5", "store", "warm_call", lambda o: (o.runs,)),
    Group("S6", "storeservers", "contention", lambda o: (5.0 if o.quick else 60.0,)),
    Group("S7", "storeservers", "server", lambda o: (max(o.runs // 12, 3),)),
    Group("S8", "store", "importing"),
    Group("D1", "delivery", "enqueueing", lambda o: (o.runs,)),
    Group("D2", "delivery", "posting", lambda o: (max(o.runs // 4, 5),)),
    Group("D3", "delivery", "live_figures", lambda o: (max(o.runs * 5, 50),)),
    Group("D4", "delivery", "memory"),
    Group("D5", "shared", "shared_feed", lambda o: (max(o.runs * 5, 50),)),
    Group("R1", "scale_readers", "shared_readers"),
    Group("R2", "scale_store", "filled_store"),
]


def groups_of(names: list[str] | None) -> list[Group]:
    """Return the groups that have figures of these names; all for None.

    Raises
    ------
    ValueError
        For a name that no group has.
    """
    known = {name: None for group in GROUPS for name in group.names.split()}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"unknown figures: {', '.join(unknown)}; known are {', '.join(known)}")
    return [group for group in GROUPS if names is None or set(group.names.split()) & set(names)]


class GroupError(Exception):
    """A group could not be measured; the text is the last line that it wrote."""


def measured(group: Group, options: Options, root: Path = ROOT) -> Iterator[Figure]:
    """Measure a group in a process of its own, and yield each figure once it is there.

    Parameters
    ----------
    group
        The figures.
    options
        How they are measured.
    root
        The checkout whose package and tests are used.

    Raises
    ------
    GroupError
        If the process ends with an error, or imports another checkout's package.
    """
    command = [sys.executable, "-m", __name__, group.names, json.dumps(asdict(options))]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            command,
            cwd=root,
            env=environment | {"TV_TOKEN_CACHE": "off"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            # Ctrl-C stops the group once, by this process, so that it can stop its servers.
            start_new_session=True,
        ) as process,
    ):
        try:
            lines = iter(process.stdout or ())
            _check_package(next(lines, ""), root)
            for line in lines:
                yield Figure(**json.loads(line))
            if process.wait():
                errors.seek(0)
                reason = errors.read().strip().splitlines()
                raise GroupError(reason[-1] if reason else f"exit code {process.returncode}")
        finally:
            _stop(process)


def _check_package(line: str, root: Path) -> None:
    if line and not Path(json.loads(line)["package"]).is_relative_to(root.resolve()):
        raise GroupError(f"the package came from {json.loads(line)['package']}, not from {root}")


def _stop(process: "subprocess.Popen[str]") -> None:
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.terminate()
    else:
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    process.kill()


def main(names: str, options: str) -> None:
    """Measure one group."""
    # A shell's background jobs ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import tvDatafeed  # noqa: PLC0415 - the one that is measured, after all else is set

    print(json.dumps({"package": str(Path(tvDatafeed.__file__).resolve())}), flush=True)
    (group,) = (group for group in GROUPS if group.names == names)
    for figure in group.measure(Options(**json.loads(options))):
        print(json.dumps(asdict(figure)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
