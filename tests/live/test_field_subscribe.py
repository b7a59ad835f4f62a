"""A `subscribe` that raises changes nothing."""

import threading

import pytest

from tests.feed import BTC, Bars, live, until
from tvDatafeed import DataValidationError, Interval, ThreadingError


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"bars": "some"}, DataValidationError),
        ({"on_slow": "wait"}, DataValidationError),
        ({"max_queue": 0}, DataValidationError),
        ({"unknown": True}, TypeError),
        ({"timeout": -2}, ValueError),
    ],
)
def test_options_are_checked_first(server, tvl, options, error):
    """With an invalid option nothing is registered, and nothing is sent."""
    with pytest.raises(error):
        tvl.subscribe(*BTC, Bars(), **options)
    assert tvl.status() == []
    assert server.accepted == 0


def test_callback_is_checked_first(server, tvl):
    """A callback that cannot be called is refused before anything is sent."""
    with pytest.raises(DataValidationError):
        tvl.subscribe(*BTC, "no callback")
    assert (tvl.status(), server.accepted) == ([], 0)


class Refused:
    """A start of threads that fails for consumers."""

    def __init__(self, monkeypatch, error):
        self._real, self._error = threading.Thread.start, error
        refused = self

        def start(thread):
            refused(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    def __call__(self, thread):
        if "BTCUSD_BITSTAMP" in thread.name:
            raise self._error
        self._real(thread)


@pytest.mark.parametrize(
    ("raised", "error"),
    [(RuntimeError("can't start new thread"), ThreadingError), (KeyboardInterrupt(), None)],
)
def test_consumer_that_cannot_start(server, tvl, monkeypatch, raised, error):
    """Without a thread for the callback, or after Ctrl-C, the Seis is not registered."""
    with monkeypatch.context() as patch:
        Refused(patch, raised)
        with pytest.raises(error or KeyboardInterrupt):
            tvl.subscribe(*BTC, Bars())
    assert tvl.status() == []
    assert server.wait_until(lambda s: not s.open_sessions)
    bars = Bars()
    tvl.subscribe(*BTC, bars)
    assert bars.wait(1)


def test_what_was_registered_before_stays(server, monkeypatch):
    """A Seis that another call has registered is followed on, and so are its consumers."""
    bars = Bars()
    with live(server) as tvl:
        seis = tvl.subscribe(*BTC, bars).seis
        assert bars.wait(1)
        with monkeypatch.context() as patch:
            Refused(patch, RuntimeError("can't start new thread"))
            with pytest.raises(ThreadingError):
                tvl.subscribe(*BTC, Bars())
        with pytest.raises(DataValidationError):
            tvl.subscribe("BTCUSDT", "BINANCE", Interval.in_1_minute, Bars(), bars="some")
        assert [status.seis for status in tvl.status()] == [seis]
        server.move(60)
        assert bars.wait(2)
        assert until(lambda: [status.state for status in tvl.status()] == ["LIVE"])
