"""A coroutine function would never run as a callback or hook, so it is refused at once."""

import asyncio
import functools
from unittest.mock import AsyncMock

import pytest

from tests.feed import BTC, Bars, live, live_config
from tests.scale import PATIENCE_S
from tvDatafeed import Consumer, DataValidationError, Interval, Seis, TvDatafeedLive


async def function(*_arguments):
    """A coroutine function."""


async def generator(*_arguments):
    """An asynchronous generator function."""
    yield None


class Called:
    """An object that is called as a coroutine function, and has one as a method."""

    async def __call__(self, *arguments):
        """Receive a call."""

    async def method(self, *arguments):
        """Receive a call."""


ASYNC = [
    function,
    generator,
    Called(),
    Called().method,
    functools.partial(function),
    functools.partial(functools.partial(Called(), 1), 2),
    AsyncMock(),
]
HOOKS = {
    "on_error": "who, error",
    "on_gap": "seis, start, end",
    "on_reconnect": "start, end",
    "on_state": "seis, state",
}


@pytest.mark.parametrize("callback", ASYNC, ids=lambda f: type(f).__name__)
def test_callback(server, tvl, callback):
    """As a callback it is refused before anything is sent, with the line that works."""
    works = r"lambda seis, data: asyncio\.run_coroutine_threadsafe\(f\(seis, data\), loop\)"
    with pytest.raises(DataValidationError, match=works) as caught:
        tvl.subscribe(*BTC, callback)
    assert caught.value.field == "callback"
    with pytest.raises(DataValidationError):
        Consumer(Seis("A", "B", Interval.in_daily), callback)
    assert (tvl.status(), server.accepted) == ([], 0)


@pytest.mark.parametrize(
    ("name", "parameters"), [("callback", "seis, data"), *HOOKS.items()], ids=["callback", *HOOKS]
)
def test_sentence(tvl, name, parameters):
    """The error names the function, why it is refused, and the line to pass instead."""
    register = functools.partial(setattr, tvl, name)
    if name == "callback":
        register = functools.partial(tvl.subscribe, *BTC)
    with pytest.raises(DataValidationError) as caught:
        register(function)
    assert str(caught.value) == (
        f"Data validation failed for {name}={repr(function)!r}: a coroutine function would "
        f"never run in the threads of the feed; pass lambda {parameters}: "
        f"asyncio.run_coroutine_threadsafe(f({parameters}), loop)"
    )


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("hook", ASYNC, ids=lambda f: type(f).__name__)
def test_hooks(server, tvl, name, hook):
    """As a hook it is refused by the constructor and by an assignment, which changes nothing."""
    with pytest.raises(DataValidationError, match=rf"lambda {HOOKS[name]}: asyncio"):
        TvDatafeedLive(config=live_config(server), **{name: hook})
    setattr(tvl, name, print)
    with pytest.raises(DataValidationError) as caught:
        setattr(tvl, name, hook)
    assert caught.value.field == name
    assert getattr(tvl, name) is print
    setattr(tvl, name, None)


def test_on_error_of_a_consumer(server, tvl):
    """The hook of one consumer is checked too, as an option and as an attribute."""
    consumer = tvl.subscribe(*BTC, Bars())
    with pytest.raises(DataValidationError, match="on_error"):
        tvl.new_consumer(consumer.seis, Bars(), on_error=function)
    with pytest.raises(DataValidationError, match="on_error"):
        consumer.on_error = Called()
    assert consumer.seis.get_consumers() == [consumer]


def test_the_line_that_works(server):
    """The line of the error runs a coroutine function for each bar in the program's loop."""

    async def program():
        loop, frames = asyncio.get_running_loop(), asyncio.Queue()

        async def f(_seis, data):
            await frames.put(data)

        callback = lambda seis, data: asyncio.run_coroutine_threadsafe(f(seis, data), loop)  # noqa: E731
        with live(server) as tvl:
            await asyncio.to_thread(tvl.subscribe, *BTC, callback)
            return await asyncio.wait_for(frames.get(), PATIENCE_S)

    assert asyncio.run(program()).index[0] == server.closed()[0]
