"""The examples run as they stand."""

import pytest

from tests.programs import ROOT, run

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(example, server):
    """An example ends well, prints something, and leaves nothing on stderr."""
    done = run("-W", "error", str(example), server=server)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_example_of_an_unknown_symbol(server):
    """The basic example says in one line that there is nothing to show."""
    done = run(str(ROOT / "examples" / "basic_usage.py"), "NASDAQ:NOSUCH", server=server)
    assert done.returncode == 1
    assert done.stderr.startswith("Nothing to show: Symbol 'NOSUCH' not found")
    assert done.stderr.count("\n") == 1


def test_examples_are_listed():
    """The examples' README lists every example."""
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert all(f"]({path.name})" in listed for path in EXAMPLES)
