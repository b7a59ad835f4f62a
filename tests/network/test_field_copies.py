"""A client belongs to one process: copies of it are refused with the next step."""

import copy
import functools
import pickle

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, assert_right
from tvDatafeed import TvDatafeed, TvDatafeedLive

WAYS = [
    pytest.param(pickle.dumps, id="pickle"),
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
]


@pytest.mark.parametrize("kind", [TvDatafeed, TvDatafeedLive])
@pytest.mark.parametrize("make_copy", WAYS)
def test_client_is_not_copied(server, kind, make_copy):
    """The error names the class and says to make one per process; the client continues."""
    with kind(config=impatient(server)) as client:
        for _state in ("new", "used"):
            with pytest.raises(TypeError, match=rf"make one {kind.__name__} per process"):
                make_copy(client)
            assert_right(server, client.get_hist(SYMBOL, timezone="UTC"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_each_protocol_of_pickle_is_refused(tv, protocol):
    """Old protocols say the same as new ones."""
    with pytest.raises(TypeError, match="per process"):
        pickle.dumps(tv, protocol)


def test_tasks_that_hold_a_client_are_not_pickled(tv):
    """A bound method, as a pool of processes would send it, leads to the same sentence."""
    for task in (tv.get_hist, {"client": tv}, functools.partial(len, tv)):
        with pytest.raises(TypeError, match="make one TvDatafeed per process"):
            pickle.dumps(task)
