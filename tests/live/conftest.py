"""A loopback TradingView whose clock a test moves, and a live feed of it."""

import pytest

from tests.feed import LiveServer, live


@pytest.fixture
def server():
    with LiveServer() as running:
        yield running


@pytest.fixture
def tvl(server):
    with live(server) as feed:
        yield feed
