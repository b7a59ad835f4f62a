"""What CONTRIBUTING says of the code is in the code."""

import importlib
import re
from pathlib import Path

import pytest

CONTRIBUTING = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FOLDERS = "delivery|live|symbology|frames|query|auth|network|protocol|main|datafeed|ratelimit"
NAMES = sorted(set(re.findall(rf"`((?:{FOLDERS})\.[\w.]*[A-Z_]\w*[\w.]*)`", CONTRIBUTING)))
FILES = sorted(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", CONTRIBUTING)))


def found(name):
    """Return what a dotted name below the package names."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(["tvDatafeed", *parts[:length]]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            thing = getattr(thing, part)
        return thing
    raise LookupError(name)


@pytest.mark.parametrize("name", NAMES)
def test_name_exists(name):
    """Each stop of a request and of a live bar is where CONTRIBUTING says it is."""
    assert found(name) is not None


@pytest.mark.parametrize("name", FILES)
def test_file_exists(name):
    """Each file that is named exists, in the package or beside it."""
    root = Path(__file__).parents[1]
    assert (root / "tvDatafeed" / name).exists() or (root / name).exists()


def test_both_ways_are_checked():
    """The names are found in the text at all."""
    assert len(NAMES) > 20
    assert len(FILES) > 10
