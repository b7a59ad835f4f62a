"""What all tests share: the recordings, a loopback server, and the watch over leaks."""

import gc
import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.loopback import NOW, impatient
from tests.scale import PATIENCE_S, scaled
from tvDatafeed import TvDatafeed
from tvDatafeed.testing import FakeTradingView

# How long an example takes depends on what else the machine does.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tests")
# On demand: pytest --hypothesis-profile=thorough
settings.register_profile("thorough", settings.get_profile("tests"), max_examples=20_000)

_THREAD_GRACE_S = scaled(15.0)
# Where a process lists its descriptors, if the system does that.
_DESCRIPTORS = next((f for f in ("/proc/self/fd", "/dev/fd") if Path(f).is_dir()), None)
# Run only when the expression of -m names them: it replaces any expression in the settings.
_ON_DEMAND = ("network", "documentation")


def pytest_configure(config):
    """Restore Ctrl-C and terminals for tests, independent of how this process was started."""
    if hasattr(config, "workerinput"):
        # What a worker of pytest-xdist is given is not for the programs that tests start: they have
        # terminals of their own, and run as users run them.
        for variable in ("COLUMNS", "LINES", "PYTHONDEVMODE", "PYTHONWARNINGS"):
            os.environ.pop(variable, None)
    # The background jobs of a shell ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers():
    """Run one worker more than there are cores, at most four: most tests wait for a while."""
    return min((os.cpu_count() or 1) + 1, 4)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark property tests as slow, and deselect what runs on demand only."""
    asked = config.getoption("markexpr")
    left_out = [marker for marker in _ON_DEMAND if marker not in asked]
    kept, deselected = [], []
    for item in items:
        if getattr(item.obj, "is_hypothesis_test", False):
            item.add_marker(pytest.mark.slow)
        on_demand = any(item.get_closest_marker(marker) for marker in left_out)
        (deselected if on_demand else kept).append(item)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def _patient_servers():
    """Scale how long a loopback server waits where a test does not say it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeTradingView.wait_until, "__defaults__", (PATIENCE_S,))
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes():
    """Hash passwords at no cost; `test_a_guess_is_costly` holds the real one."""
    scrypt = hashlib.scrypt
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "scrypt", lambda *args, **how: scrypt(*args, **{**how, "n": 2}))
        yield


@pytest.fixture(scope="session")
def captures():
    """The folder of recorded frames; the tests that need it are skipped without one."""
    folder = os.environ.get("TVDATAFEED_CAPTURES")
    if not folder:
        pytest.skip("TVDATAFEED_CAPTURES does not name a folder of recordings")
    return Path(folder)


@pytest.fixture
def server():
    """A loopback TradingView whose market stands still."""
    with FakeTradingView(clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def tv(server):
    """A client of the loopback TradingView."""
    with TvDatafeed(config=impatient(server)) as client:
        yield client


@pytest.fixture
def set_zone():
    """Set the local zone of this process; that of before is set again after the test."""
    if not hasattr(time, "tzset"):
        pytest.skip("the zone of a process cannot be set here")
    with pytest.MonkeyPatch.context() as patch:

        def set_to(name):
            patch.setenv("TZ", name)
            time.tzset()

        yield set_to
    time.tzset()


@pytest.fixture(autouse=True)
def _no_leaks():
    """Each test leaves as many threads and open descriptors as it found."""
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    yield
    started = [t for t in threading.enumerate() if t not in threads]
    for thread in started:
        thread.join(_THREAD_GRACE_S)
    assert [t.name for t in started if t.is_alive()] == []
    if open_descriptors() > descriptors:
        gc.collect()
    assert open_descriptors() <= descriptors


def open_descriptors():
    """Return how many descriptors this process has; 0 where the system does not report."""
    return len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS else 0  # noqa: PTH208 - paths are slow
