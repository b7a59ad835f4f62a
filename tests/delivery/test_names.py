"""The public names of delivery: each can be imported, and costs what it needs."""

import pytest

from tests.programs import run
from tvDatafeed import delivery


def test_each_name_can_be_imported():
    """What is listed is there, in alphabetical order of code points."""
    assert sorted(delivery.__all__) == list(delivery.__all__)
    for name in delivery.__all__:
        assert getattr(delivery, name) is not None


def test_other_names_are_errors():
    """A name that is misspelt is an AttributeError that shows it."""
    with pytest.raises(AttributeError, match="Webhok"):
        _name = delivery.Webhok


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("sign, verify, CanonicalRequest", "requests urllib3 pandas numpy asyncio ssl sqlite3"),
        ("RetryPolicy, with_retry", "requests urllib3 pandas numpy asyncio ssl sqlite3"),
        ("send_owner_alert, AlertService", "requests urllib3 pandas numpy asyncio ssl sqlite3"),
        ("TelegramSender", "pandas numpy asyncio sqlite3"),
    ],
)
def test_imports_are_light(name, unused):
    """A receiver that verifies messages loads neither HTTP nor pandas."""
    program = (
        f"from tvDatafeed.delivery import {name}\n"
        "import sys\n"
        f"print(sorted(set({unused.split()!r}) & set(sys.modules)))\n"
    )
    assert run("-c", program).stdout.strip() == "[]"
