"""A live feed posts its closed bars."""

import asyncio
import contextlib

import pytest

from tests.delivery.hooks import SEIS, bar, make_hook
from tests.delivery.receiver import SECRET, Receiver
from tests.feed import BTC, LiveServer, live, until
from tests.scale import PATIENCE_S
from tvDatafeed.delivery import AsyncWebhook, DeliveryConfig, Outbox, OutboxFullError


@pytest.fixture
def receiver():
    """A receiver that runs."""
    with Receiver() as running:
        yield running


def opened(receiver):
    """When the bars that were accepted open."""
    return [body["data"]["time_s"] for body in receiver.bodies()]


def test_each_closed_bar_is_posted(receiver, tmp_path):
    """What closes in the market is received in order, through an outage of the receiver."""
    receiver.faults += [500, "reset", 503]
    with LiveServer() as server, make_hook(receiver.url, tmp_path) as hook:
        with live(server) as tvl:
            tvl.new_consumer(tvl.new_seis(*BTC), hook)
            expected = []
            for _minute in range(4):
                server.move()
                (newest,) = (int(moment.timestamp()) for moment in server.closed())
                expected.append(newest)
                assert until(lambda newest=newest: opened(receiver)[-1:] == [newest])
    bars = [body["data"] for body in receiver.bodies()]
    assert [one["time_s"] for one in bars][-4:] == expected
    assert {(one["symbol"], one["exchange"], one["interval"]) for one in bars} == {
        ("BTCUSD", "BITSTAMP", "1")
    }


def fill(hook, data):
    """Enqueue until the outbox is full."""
    with contextlib.suppress(OutboxFullError):
        while True:
            hook.send("a.b", data)


def test_full_outbox_reaches_on_error(tmp_path):
    """A consumer whose outbox is full reports it, and continues."""
    outbox, errors = Outbox(tmp_path / "o.db", max_bytes=256_000), []
    with LiveServer() as server, make_hook("http://127.0.0.1:1/", outbox) as hook:
        fill(hook, "x" * 20_000)
        fill(hook, 1)
        with live(server) as tvl:
            tvl.on_error = lambda _seis, error: errors.append(error)
            tvl.new_consumer(tvl.new_seis(*BTC), hook)
            server.move()
            assert until(lambda: errors)
    outbox.close()
    assert {type(error) for error in errors} == {OutboxFullError}


def test_asyncio(receiver, tmp_path):
    """The same from a coroutine."""
    results = []

    async def main():
        config = DeliveryConfig(timeout=5)
        path = tmp_path / "o.db"
        async with AsyncWebhook(receiver.url, SECRET, outbox=path, config=config) as hook:
            hook.results(results.append)
            await hook(SEIS, bar())
            message_id = await hook.send("signal.created", {"side": "buy"}, key="7")
            assert await hook.flush(PATIENCE_S)
            assert (await hook.stats())["delivered"] == 2
            assert hook.url == receiver.url
            assert repr(hook) == "<AsyncWebhook to 127.0.0.1>"
        return message_id

    message_id = asyncio.run(main())
    assert message_id in receiver.accepted
    assert len(receiver.accepted) == 2
    assert {result.state for result in results} <= {"delivered"}
