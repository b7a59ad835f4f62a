"""Each fault has a name, a text form and a number of times that it is applied."""

import contextlib
import dataclasses
import threading
import time

import pytest

from tests.scale import scaled
from tests.testing.faults.client import HISTORY, Client, names
from tvDatafeed.protocol.framing import PacketDecoder
from tvDatafeed.testing import (
    FAULTS,
    BadHeader,
    BinaryFrame,
    CloseCode,
    CompletionFirst,
    CompressedFrame,
    ConnectSilence,
    CriticalErrorReply,
    Drip,
    EmptyHistory,
    EndlessFragments,
    FakeTradingView,
    Fault,
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
    HttpDrip,
    HttpHtml,
    HttpHugeBody,
    HttpRedirect,
    HttpReset,
    HttpStall,
    HttpStatus,
    HttpTruncatedGzip,
    InvalidUtf8,
    LateReply,
    LengthUnit,
    NeverRead,
    NoCompletion,
    ProtocolErrorReply,
    Redirect,
    Refuse,
    ReplaceBars,
    RstMidFrame,
    SessionCap,
    SplitPackets,
    TlsGarbage,
    TlsStall,
    TruncatedJson,
    UnknownMessages,
    UpgradeGarbage,
    UpgradeStatus,
    WrongLength,
    parse_fault,
)

# One of each, none of them the default where there is a choice.
EXAMPLES = [
    BadHeader("~m~~m~"),
    BinaryFrame(times=2),
    CloseCode(4001, "so long, client"),
    CompletionFirst(symbol="NASDAQ:AAPL"),
    CompressedFrame(),
    TlsStall(),
    TlsGarbage(times=1),
    ConnectSilence(times=1),
    CriticalErrorReply("invalid parameters", "details", method="resolve_symbol"),
    Drip(0.5, times=1, symbol="NYSE:BRK.B"),
    EmptyHistory(),
    EndlessFragments(7),
    FinMidFrame(),
    ForeignSession("cs_other"),
    GiantHeader(),
    GluedHeartbeat(12),
    HalfOpen(),
    HandshakeDrip(20.0),
    HandshakeStall(),
    HeartbeatFlood(500.0),
    HeartbeatsOnly(),
    HostileJson("deep"),
    InvalidUtf8(),
    LateReply(0.25),
    LengthUnit("code_points"),
    NeverRead(),
    NoCompletion(times=3),
    ProtocolErrorReply("banned by ip", method="set_auth_token"),
    Redirect("127.0.0.1:1"),
    Refuse("fin"),
    ReplaceBars(([1787232600, 1, 2, 0.5, 1.5, None], [1787232600, "x", 2, 0.5, 1.5])),
    RstMidFrame(),
    SessionCap(3, "no, thank you"),
    SplitPackets(17),
    TruncatedJson(),
    UnknownMessages(),
    UpgradeGarbage(),
    UpgradeStatus(429, b"slow down", retry_after="7"),
    WrongLength(-2),
    HttpDrip(20.0, times=1),
    HttpHtml(b"<html>", path="/"),
    HttpHugeBody(1000, "gzip"),
    HttpRedirect("http://localhost:1/", 307),
    HttpReset(path="*"),
    HttpStall(12),
    HttpStatus(429, b"slow down", retry_after="7"),
    HttpTruncatedGzip(),
]


class TestByName:
    def test_every_fault_has_an_example(self):
        """The table of examples has one of each fault, the plain one aside."""
        assert {type(fault) for fault in EXAMPLES} | {Fault} == set(FAULTS.values())

    @pytest.mark.parametrize("fault", EXAMPLES, ids=lambda fault: type(fault).__name__)
    def test_text_and_back(self, fault):
        """A fault's text is parsed to an equal fault."""
        assert parse_fault(str(fault)) == fault

    @pytest.mark.parametrize("name", FAULTS)
    def test_name_alone(self, name):
        """A name alone is the fault with its defaults."""
        assert parse_fault(name) == FAULTS[name]()
        assert parse_fault(name.replace("_", "-")) == FAULTS[name]()

    def test_values_are_of_their_kinds(self):
        """Numbers become numbers of the field's kind, bodies become bytes."""
        assert parse_fault("drip:bytes_per_s=100,times=1") == Drip(100.0, times=1)
        assert parse_fault("upgrade_status:status=200,body=<html>") == UpgradeStatus(200, b"<html>")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense", "no fault is named 'nonsense': use one of bad_header,"),
            ("drip:speed=1", "drip has no field 'speed': use bytes_per_s, symbol, times"),
            ("drip:bytes_per_s", "cannot read 'bytes_per_s'"),
            ("drip:times=often", "drip:times cannot be 'often'"),
            (
                "length_unit:unit=words",
                "length_unit:unit cannot be 'words': use one of code_points",
            ),
            ("replace_bars:rows=[1", "replace_bars:rows cannot be '\\[1'"),
        ],
    )
    def test_errors_say_what_to_write(self, text, message):
        """What cannot be read is a ValueError that names the choices."""
        with pytest.raises(ValueError, match=message):
            parse_fault(text)

    @pytest.mark.parametrize("fault", EXAMPLES, ids=lambda fault: type(fault).__name__)
    def test_says_what_to_expect(self, fault):
        """Every fault is documented and frozen."""
        assert len(type(fault).__doc__) > 30
        with pytest.raises(dataclasses.FrozenInstanceError):
            fault.times = 5


class TestCounting:
    def test_times(self, server, connect):
        """A fault strikes as often as it says, then it is gone, and injected again it is back."""
        fault = NoCompletion(times=2)
        server.inject(fault)
        client = connect()
        client.open()
        for complete in (False, False, True):
            client.ask(session=f"cs_{complete}")
            assert (client.names()[-1] == "series_completed") is complete
        assert server.faults == ()
        server.inject(fault)
        assert server.faults == (fault,)

    def test_clear(self, server, client):
        """Cleared faults strike no more."""
        server.inject(NoCompletion(), Drip(1.0))
        server.clear_faults()
        client.open()
        client.ask()
        assert client.names() == HISTORY

    def test_one_symbol(self, server, client):
        """A fault of one symbol leaves the others alone, and counts only its own."""
        server.inject(NoCompletion(symbol="NYSE:IBM", times=1))
        client.open()
        client.ask("NASDAQ:AAPL", "cs_1")
        assert client.names() == HISTORY
        client.ask("NYSE:IBM", "cs_2")
        assert client.names() == HISTORY[:-1]

    def test_composition(self, server, client):
        """Faults of the protocol and of the wire strike the same answer, in their order."""
        server.inject(NoCompletion(), UnknownMessages(), GluedHeartbeat(7), SplitPackets(5000))
        client.open()
        client.ask()
        decoder, payloads = PacketDecoder(), [""]
        while not payloads[-1].startswith('{"m":"timescale_update"'):
            payloads += decoder.feed(client.text())
        assert payloads[1] == "~h~7"
        assert tuple(payloads[2:9]) == UnknownMessages.PAYLOADS
        assert names(payloads[9:]) == HISTORY[:-1]

    def test_plain_fault_does_nothing(self, server, client):
        """The base class changes nothing and is never used up."""
        server.inject(Fault(times=1))
        client.open()
        client.ask()
        assert client.names() == HISTORY
        assert server.faults == (Fault(times=1),)


@pytest.mark.parametrize("fault", EXAMPLES, ids=lambda fault: type(fault).__name__)
@pytest.mark.slow
def test_no_fault_keeps_the_server_from_ending(fault):
    """With any fault at work the server stops at once and leaves no thread."""
    threads = threading.active_count()
    server = FakeTradingView(faults=[dataclasses.replace(fault, times=None, symbol=None)])
    with contextlib.ExitStack() as stack:
        with server:
            client = Client(server)
            stack.enter_context(client.sock)
            client.sock.settimeout(0.05)
            with contextlib.suppress(OSError, EOFError, AssertionError, ValueError):
                client.open()
                client.ask()
                client.frame()
            begun = time.monotonic()
        assert time.monotonic() - begun < scaled(4.0)
    assert threading.active_count() == threads
