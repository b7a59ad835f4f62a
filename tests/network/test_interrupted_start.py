"""Ctrl-C while a connection starts costs that connection, and no other thread its answer."""

import queue
import threading
import time

import pytest

from tests.loopback import impatient
from tests.scale import PATIENCE_S
from tvDatafeed.network.connection import Connection
from tvDatafeed.network.outcomes import Limits
from tvDatafeed.network.sessionlimit import KnownLimit
from tvDatafeed.protocol.events import RequestFailed, SeriesRequest
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN


class Outcomes(queue.SimpleQueue):
    """A receiver that keeps what it gets."""

    deliver = queue.SimpleQueue.put


def test_request_of_another_thread_fails_at_once(server, monkeypatch):
    """It was given a slot on a connection whose thread never began."""
    network = impatient(server).network
    limit = KnownLimit(10, longest_s=300.0)
    connection = Connection(network, server.ws_url, ANONYMOUS_TOKEN, known_limit=limit)
    outcomes = Outcomes()
    assert connection.acquire_slot(ANONYMOUS_TOKEN, "cs_abcdefghijkl")
    connection.send_request(
        "cs_abcdefghijkl",
        SeriesRequest("NASDAQ:AAPL", "1D", 10),
        time.monotonic() + PATIENCE_S,
        Limits(PATIENCE_S, None),
        outcomes,
    )

    def interrupt(_thread):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        connection.start()
    outcome = outcomes.get(timeout=PATIENCE_S)
    assert isinstance(outcome, RequestFailed)
    assert outcome.error.retryable
    assert connection.join(0)
