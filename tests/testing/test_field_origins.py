"""Which origins may open a WebSocket of the loopback TradingView."""

import pytest
import websocket

from tests.testing.client import get, names
from tvDatafeed.testing import FakeTradingView

WIDGETS = "https://s.tradingview.com"


def status_of(connect, server, origin):
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(server, origin=origin)
    return caught.value.status_code


def test_origin_of_widgets(connect, server):
    """A client with the origin of TradingView's widgets is served."""
    client = connect(server, origin=WIDGETS)
    client.greet()
    assert names(client.history())[-1] == "series_completed"


def test_origins_can_be_set(connect, clock):
    """A server may refuse the origin of widgets, as one report says, and accept another one."""
    with FakeTradingView(clock=clock, origins=["https://example.com"]) as server:
        assert status_of(connect, server, WIDGETS) == 403
        connect(server, origin="https://example.com").text()
        server.origins.add(WIDGETS)
        connect(server, origin=WIDGETS).text()


@pytest.mark.parametrize(
    "origin", ["https://s.tradingview.com.example", "http://s.tradingview.com"]
)
def test_similar_origins(connect, server, origin):
    """An origin that only looks like one of TradingView's gets 403."""
    assert status_of(connect, server, origin) == 403


def test_search_accepts_no_widgets(server):
    """The search accepts TradingView's two other origins alone: no report has another one."""
    assert get(f"{server.search_url}?text=aapl", Origin=WIDGETS)[0] == 403
