"""After each fault that passes the live feed recovers and delivers every bar once."""

import pytest

from tests.feed import BTC, Bars, live, until
from tvDatafeed.testing import (
    BadHeader,
    BinaryFrame,
    CloseCode,
    CompletionFirst,
    CompressedFrame,
    ConnectSilence,
    Drip,
    EndlessFragments,
    FinMidFrame,
    ForeignSession,
    GiantHeader,
    GluedHeartbeat,
    HalfOpen,
    HandshakeDrip,
    HandshakeStall,
    HeartbeatFlood,
    HeartbeatsOnly,
    HostileJson,
    InvalidUtf8,
    LateReply,
    LengthUnit,
    NeverRead,
    NoCompletion,
    ProtocolErrorReply,
    Refuse,
    RstMidFrame,
    SplitPackets,
    TruncatedJson,
    UnknownMessages,
    UpgradeStatus,
    WrongLength,
)

# Faults that pass, with how often they strike.
PASSING = [
    BadHeader(times=1),
    BadHeader("~m~" + "9" * 40 + "~m~", times=1),
    BinaryFrame(times=1),
    CloseCode(1000, times=2),
    CloseCode(1001, times=2),
    CloseCode(1008, times=2),
    CloseCode(1012, times=1),
    CloseCode(4001, times=1),
    CompletionFirst(times=1),
    CompressedFrame(times=1),
    ConnectSilence(times=1),
    Drip(bytes_per_s=20, times=1),
    EndlessFragments(times=1),
    FinMidFrame(times=3),
    ForeignSession(times=1),
    GiantHeader(times=1),
    GluedHeartbeat(times=2),
    HalfOpen(times=1),
    HandshakeDrip(bytes_per_s=20, times=1),
    HandshakeStall(times=1),
    HeartbeatFlood(times=1),
    HeartbeatsOnly(times=1),
    *(
        HostileJson(kind, times=1)
        for kind in ("nan", "infinity", "long_number", "deep", "lone_surrogate")
    ),
    InvalidUtf8(times=2),
    LateReply(delay_s=0.2, times=1),
    LengthUnit("bytes", times=2),
    NeverRead(times=1),
    NoCompletion(times=1),
    ProtocolErrorReply(reason="something new", times=2),
    ProtocolErrorReply(reason="user connections limit reached", times=1),
    Refuse("rst", times=6),
    Refuse("fin", times=3),
    RstMidFrame(times=3),
    SplitPackets(times=1),
    TruncatedJson(times=1),
    UnknownMessages(times=1),
    UpgradeStatus(429, times=1),
    *(UpgradeStatus(status, times=2) for status in (500, 502, 503, 504)),
    WrongLength(times=1),
]


def hasty(server, **more):
    """A feed that gives up on what does not come within some tenths of a second."""
    limits = {
        "connect_timeout": 0.3,
        "recv_timeout": 0.4,
        "max_response_time": 0.8,
        "silence_timeout": 0.5,
        "ping_timeout": 0.2,
        "send_timeout": 0.3,
    }
    return live(server, **{**limits, **more})


@pytest.mark.parametrize("fault", PASSING, ids=repr)
@pytest.mark.slow
def test_fault_while_it_reconnects(server, fault):
    """Rows 1 to 45: the feed comes back by itself, and what was missed follows in order."""
    bars = Bars()
    with hasty(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(fault)
        server.now += 180
        server.drop_connections()
        assert bars.wait(4), tvl.status()
        server.clear_faults()
        # What a fault has frozen is noticed by its silence.
        assert until(lambda: tvl.status()[0].state == "LIVE")
        server.now += 60
        assert until(lambda: server.tick() or len(bars.frames) >= 5)
    assert bars.opens == server.closed(count=5)


@pytest.mark.parametrize("fault", [f for f in PASSING if hasattr(f, "symbol")], ids=repr)
@pytest.mark.slow
def test_fault_in_the_midst_of_updates(server, fault):
    """The same faults during updates lose no bar."""
    bars = Bars()
    with hasty(server) as tvl:
        tvl.subscribe(*BTC, bars)
        assert bars.wait(1)
        server.inject(fault)
        for count in (2, 3, 4):
            server.now += 60
            assert until(lambda wanted=count: server.tick() or len(bars.frames) >= wanted)
        server.clear_faults()
    assert bars.opens == server.closed(count=4)
