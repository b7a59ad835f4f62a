"""A loopback TradingView to inject faults into, and bare clients of it."""

import contextlib

import pytest

from tests.testing.faults.client import NOW, Client
from tvDatafeed.testing import FakeTradingView


@pytest.fixture
def server():
    with FakeTradingView(clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def connect(server):
    """Open bare clients that are closed when the test is over."""
    with contextlib.ExitStack() as stack:

        def opened(to=server):
            client = Client(to)
            stack.enter_context(client.sock)
            return client

        yield opened


@pytest.fixture
def client(connect):
    return connect()
