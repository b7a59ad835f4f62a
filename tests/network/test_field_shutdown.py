"""The first request may come when the main thread has ended, or from an exit handler."""

import pytest

from tests.network.clients import SYMBOL
from tests.programs import run

PROGRAM = """
import atexit, threading
from tvDatafeed import TvDatafeed

tv = TvDatafeed()

def ask():
    print(len({request}), end="")
    tv.close()

def wait_and_ask():
    threading.main_thread().join()
    ask()

{begin}
"""
LATE_THREAD = "threading.Thread(target=wait_and_ask).start()"
EXIT_HANDLER = "atexit.register(ask)"


@pytest.mark.parametrize(
    "begin",
    [pytest.param(LATE_THREAD, id="thread"), pytest.param(EXIT_HANDLER, id="exit handler")],
)
@pytest.mark.parametrize(
    ("request_", "size"),
    [
        pytest.param(f"tv.get_hist({SYMBOL!r})", "10", id="hist"),
        pytest.param(f"tv.get_hist_multi([{SYMBOL!r}, 'NASDAQ:MSFT'])", "2", id="multi"),
        pytest.param(f"tv.get_quotes({SYMBOL!r})", "1", id="quotes"),
        pytest.param(
            "tv.search_symbol('AAPL', limit=1, raise_on_error=True, as_frame=True)",
            "1",
            id="search",
        ),
    ],
)
@pytest.mark.slow
def test_first_request_after_the_main_thread(server, begin, request_, size):
    """What is imported at the first request can be imported when the program is about to end."""
    done = run("-c", PROGRAM.format(request=request_, begin=begin), server=server)
    assert (done.stdout, done.returncode) == (size, 0)
    assert "Traceback" not in done.stderr
