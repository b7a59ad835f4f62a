"""Names of the package in the sentences of README and docs can be used as they stand there."""

import re

import pytest

from tests.pages import PAGES
from tests.programs import run

_PROSE = re.sub(r"^ *```.*?^ *```$", "", "\n".join(PAGES.values()), flags=re.MULTILINE | re.DOTALL)
INLINE = re.findall(r"`([^`\n]+)`", _PROSE)
NAMES = sorted({n for code in INLINE for n in re.findall(r"\btvDatafeed(?:\.\w+)+", code)})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_name_exists_after_one_import(name):
    """`import tvDatafeed` is enough for each name that a page writes in full."""
    done = run("-c", f"import tvDatafeed\nprint({name})")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_login_of_the_command_line_by_inline_code(server):
    """The line that names the token cache works as it is written."""
    (code,) = [c for c in INLINE if "default_cache_path" in c]
    program = f"import tvDatafeed\nfrom tvDatafeed import TvDatafeed\nprint(repr({code}))"
    done = run("-c", program, server=server)
    assert done.stdout.startswith("<TvDatafeed "), done.stderr


@pytest.mark.parametrize("name", ["seis", "consumer", "network.WebSocketManager"])
@pytest.mark.slow
def test_old_import_paths_need_no_import_of_their_own(name):
    """The import paths that users have are attributes of the package too."""
    done = run("-c", f"import tvDatafeed\nprint(tvDatafeed.{name})")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_name_that_does_not_exist():
    """A misspelt name is an AttributeError that repeats it."""
    for name in ("networks", "auth.caches"):
        done = run("-c", f"import tvDatafeed\ntvDatafeed.{name}")
        assert f"has no attribute '{name.rpartition('.')[2]}'" in done.stderr
