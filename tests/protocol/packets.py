"""Packets that a server sends, and a machine with open sessions."""

import json

from tvDatafeed.protocol.events import SeriesRequest
from tvDatafeed.protocol.framing import PacketDecoder, encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import Machine

AAPL = SeriesRequest("NASDAQ:AAPL", "1D", 2)
BARS = [[100.0, 1.0, 2.0, 0.5, 1.5, 10.0], [200.0, 1.5, 2.5, 1.0, 2.0, 20.0]]


def server(method, *parameters, **envelope):
    return encode(json.dumps({"m": method, "p": parameters, **envelope}))


def bars_of(session, bars=BARS, series="sds_1", turnaround="s1", method="timescale_update"):
    items = [{"i": i, "v": v} for i, v in enumerate(bars)]
    return server(
        method, session, {series: {"s": items, "t": turnaround, "lbs": {"bar_close_time": 300}}}
    )


def completed(session, info=None, turnaround="s1", mode="streaming"):
    return server("series_completed", session, "sds_1", mode, turnaround, info or {}, t_ms=500_000)


def sent_by(machine):
    packets = [PacketDecoder().feed(text) for text in machine.data_to_send()]
    assert all(len(packet) == 1 for packet in packets)
    return [json.loads(p) if p[0] == "{" else p for (p,) in packets]


def machine_with(*sessions, token=ANONYMOUS_TOKEN, deadline=60.0, **limits):
    machine = Machine(token)
    for session in sessions:
        machine.open(session, AAPL, now=0.0, deadline=deadline, **limits)
    machine.data_to_send()
    return machine
