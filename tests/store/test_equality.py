"""What comes with a store equals what comes without one, whatever has happened."""

import os
import shutil
import tempfile
from datetime import datetime, timezone

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.store.exchange import FIRST_S, Exchange
from tvDatafeed import Interval
from tvDatafeed.config import DataConfig
from tvDatafeed.exceptions import DataNotFoundError
from tvDatafeed.frames.history import history_to_frame
from tvDatafeed.query.history import FrameOptions, HistoryQuery, RangeOptions, SeriesOptions
from tvDatafeed.store import BarStore
from tvDatafeed.store.readthrough import conversation

pytestmark = pytest.mark.slow

COUNTS = st.sampled_from([1, 2, 5, 19, 20, 21, 40, 100, 400])
DAYS = st.integers(0, 900)
EVENTS = st.one_of(
    st.just(()),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 1, 1.4, 3, 30, 200])),
    st.tuples(st.just("restate"), st.sampled_from([0.5, 2.0])),
    st.tuples(st.just("correct"), st.integers(1, 12)),
    st.tuples(st.just("evict"), st.sampled_from([0, 50])),
    st.tuples(st.just("expire")),
    st.tuples(st.just("delay"), st.sampled_from([0, 900])),
)
REQUESTS = st.one_of(
    st.tuples(st.just("last"), COUNTS, st.booleans()),
    st.tuples(st.just("until"), COUNTS, DAYS),
    st.tuples(st.just("range"), DAYS, DAYS),
    st.tuples(st.just("since"), DAYS),
    st.tuples(st.just("refresh"), COUNTS),
)
STEPS = st.lists(
    st.tuples(EVENTS, REQUESTS, st.sampled_from(["one", "one", "two"])), min_size=3, max_size=9
)


def query(n_bars=None, start=None, end=None, *, closed_only=False):
    return HistoryQuery(
        RangeOptions(Interval.in_daily, n_bars, start, end, "UTC"),
        SeriesOptions(
            extended_session=False, adjustment="splits", currency=None, backadjusted=False
        ),
        FrameOptions("open", closed_only=closed_only, validate="off"),
        DataConfig(max_bars=300),
    )


def day(number):
    return datetime.fromtimestamp(FIRST_S + number * 86400.0, timezone.utc)


def talk(generator, exchange):
    """Answer the questions of a conversation, and return its result."""
    questions = next(generator)
    while True:
        try:
            questions = generator.send([exchange.answer(question) for question in questions])
        except StopIteration as end:
            return end.value


def frame(history, view):
    try:
        return history_to_frame(history, view)
    except DataNotFoundError as error:
        return type(error)


def assert_same(left, right):
    if isinstance(left, type) or isinstance(right, type):
        assert left == right
        return
    pd.testing.assert_frame_equal(left, right)
    assert left.attrs == right.attrs


def happen(exchange, store, event):
    match event:
        case ("pass", days):
            exchange.pass_time(days)
        case ("restate", factor):
            exchange.restate(factor)
        case ("correct", place):
            exchange.correct(place)
        case ("evict", count):
            store.evict(count)
        case ("expire",):
            store.clear_expired_cache(0)
        case ("delay", delay_s):
            exchange.delay_s = delay_s


def asked_for(request):
    match request:
        case ("last", count, closed_only):
            return query(count, closed_only=closed_only)
        case ("refresh", count):
            return query(count)
        case ("until", count, last):
            return query(count, end=day(last))
        case ("range", first, last):
            return query(start=day(min(first, last)), end=day(max(first, last) + 1))
        case ("since", first):
            return query(start=day(first))


def play(store, steps):
    """Play what happens, and compare each answer with that of the exchange itself."""
    exchange = Exchange()
    exchange.pass_time(500)
    for event, request, account in steps:
        happen(exchange, store, event)
        asked, refresh = asked_for(request), request[0] == "refresh"
        plain, view = asked.request("NASDAQ:AAPL"), asked.view()
        expected = frame(exchange.answer(plain), view)
        got = talk(conversation(store.archive, plain, account, refresh=refresh), exchange)
        assert_same(frame(got, view), expected)


EXAMPLES = int(os.environ.get("STORE_EXAMPLES", "60"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def moved(first_s, then_s, request):
    """Return steps in which an account changes to a feed that is stored, after a restatement."""
    return [
        (("delay", first_s), ("since", 0), "one"),
        (("delay", then_s), ("range", 155, 499), "two"),
        (("restate", 0.5), request, "one"),
    ]


@SETTINGS
@given(steps=STEPS)
@example(moved(0, 900, ("until", 1, 28)))
@example(moved(900, 0, ("until", 1, 28)))
@example(moved(0, 900, ("until", 2, 27)))
@example(moved(900, 0, ("range", 26, 28)))
def test_a_store_changes_no_frame(steps):
    """For any sequence of requests and events the frame with a store equals the one without."""
    folder = tempfile.mkdtemp()
    try:
        with BarStore(f"{folder}/bars.db", recheck_days=0) as store:
            play(store, steps)
    finally:
        shutil.rmtree(folder)


@settings(SETTINGS, max_examples=max(EXAMPLES // 3, 1))
@given(steps=STEPS)
def test_a_store_on_a_server_changes_no_frame(postgres_store, steps):
    """The same on PostgreSQL."""
    postgres_store.clear()
    play(postgres_store, steps)


@pytest.fixture
def postgres_store(postgres):
    with BarStore(postgres.new_database(), recheck_days=0) as store:
        yield store
