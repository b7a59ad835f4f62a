"""A live feed beside messages that cannot be read."""

from tests.feed import BTC, Bars
from tvDatafeed.protocol.framing import encode

MALFORMED = ['{"m":"du","p":["cs_of_another",{"s":5}]}', '"ping"', '{"m":"qsd","p":[]}', "[]", "17"]


def opened_series(server):
    return sum(command.method == "create_series" for command in server.received)


def test_series_are_not_opened_again_for_messages_of_others(server, tvl):
    """Ten malformed messages leave the series open, and the next bar comes over it."""
    callback = Bars()
    tvl.new_consumer(tvl.new_seis(*BTC), callback)
    for payload in MALFORMED * 2:
        server.send_raw(encode(payload))
    server.move()
    server.move()
    assert callback.wait(2)
    assert tvl.stats()["ignored"] >= 10
    assert tvl.stats()["errors"] == {}
    assert (opened_series(server), server.connections_opened) == (1, 1)
