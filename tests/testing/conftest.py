"""A loopback TradingView whose market stands still, and plain clients of it."""

import contextlib

import pytest

from tests.testing.client import Client, Clock
from tvDatafeed.testing import FakeTradingView


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    with FakeTradingView(clock=clock) as running:
        yield running


@pytest.fixture
def connect():
    """Open clients that are closed when the test is over, whatever became of it."""
    with contextlib.ExitStack() as stack:

        def opened(server, **options):
            client = Client(server, **options)
            stack.enter_context(client.socket.sock)
            return client

        yield opened


@pytest.fixture
def client(connect, server):
    return connect(server)
