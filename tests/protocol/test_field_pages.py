"""Pages of older bars say nothing of the last bar: it is as it was when the first page came."""

from tests.protocol.packets import server
from tvDatafeed.protocol.bars import Bar
from tvDatafeed.protocol.events import SeriesRequest, StreamRequest
from tvDatafeed.protocol.machine import Machine

T0 = 1_000_020.0
CLOSES_S = T0 + 600


def row(minute, close=1.0):
    return [T0 + 60 * minute, 1.0, 2.0, 0.5, close, 10.0]


def page(minutes, at, close=1.0):
    """A page of bars whose last one, if it is among them, closes at `CLOSES_S`."""
    stamp = {"t_ms": int((T0 + at) * 1000)}
    return update("timescale_update", [row(m, close) for m in minutes], **stamp) + server(
        "series_completed", "cs_a", "sds_1", "streaming", "s1", {}, **stamp
    )


def update(method, rows, **stamp):
    items = [{"i": i, "v": v} for i, v in enumerate(rows)]
    lbs = {"bar_close_time": CLOSES_S}
    return server(method, "cs_a", {"sds_1": {"s": items, "t": "s1", "lbs": lbs}}, **stamp)


def answered(request, *texts):
    """The last event after some texts, one each second."""
    machine = Machine("unauthorized_user_token")
    machine.start_timers(0.0)
    machine.open("cs_a", request, now=0.0, deadline=60.0)
    for now, text in enumerate(texts, 1):
        machine.receive(text, now=float(now))
    return machine.events()[-1]


FOLLOWED = StreamRequest("NASDAQ:AAPL", "1", after=Bar(*row(0)))


def test_refill_of_several_pages():
    """A bar that still formed in the first page forms, whatever the time of the last page."""
    started = answered(FOLLOWED, page((7, 8, 9), at=599), page(range(7), at=605))
    assert [(b.time - T0) / 60 for b in started.update.closed] == list(range(1, 9))
    assert started.update.forming.time == T0 + 540
    assert started.market_time_s == T0 + 599


def test_refill_of_one_page():
    """One page that came after the close has the final values."""
    started = answered(FOLLOWED, page(range(10), at=605))
    assert started.update.closed[-1].time == T0 + 540
    assert started.update.forming is None


def test_update_between_two_pages():
    """An update of the last bar after its close has the final values."""
    late = update("du", [row(9, 1.5)])
    started = answered(FOLLOWED, page((7, 8, 9), at=602), late, page(range(7), at=607))
    # A second after the first page, by the driver's clock.
    assert started.market_time_s == T0 + 603
    assert started.update.closed[-1].close == 1.5


def test_update_of_an_older_bar_between_two_pages():
    """It says nothing of the last bar."""
    late = update("du", [row(8, 1.5)])
    started = answered(FOLLOWED, page((7, 8, 9), at=599), late, page(range(7), at=607))
    assert started.update.forming.time == T0 + 540


def test_history_of_several_pages():
    """The time of the answer is that of the page with the last bar."""
    request = SeriesRequest("NASDAQ:AAPL", "1", 10)
    answer = answered(request, page((7, 8, 9), at=599), page(range(7), at=605)).answer
    assert len(answer.bars) == 10
    assert answer.server_time_s == T0 + 599
