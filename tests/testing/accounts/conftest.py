"""A loopback TradingView with accounts, and plain clients of its pages and sockets."""

import pytest
import requests

from tests.testing.accounts.client import ALICE, BOB, CAROL, DAVE, NOW, Site, Socket
from tvDatafeed.testing import FakeTradingView


@pytest.fixture
def server():
    accounts = (ALICE, BOB, CAROL, DAVE)
    with FakeTradingView(accounts=accounts, heartbeat_interval_s=0.02) as running:
        running.auth_clock = lambda: NOW
        yield running


@pytest.fixture
def browser():
    """A client that keeps cookies and follows nothing."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def site(server, browser):
    return Site(server, browser)


@pytest.fixture
def connect(server):
    """Open WebSockets that have sent a token."""
    opened = []

    def connected(token):
        client = Socket(server, token)
        opened.append(client)
        return client

    yield connected
    for client in opened:
        client.socket.shutdown()
