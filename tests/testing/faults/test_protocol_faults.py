"""Faults of the protocol do on the wire what they say."""

import json

import pytest

from tests.testing.faults.client import CLOSE, HISTORY, names
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import (
    CompletionFirst,
    CriticalErrorReply,
    EmptyHistory,
    FakeTradingView,
    ForeignSession,
    HeartbeatsOnly,
    HostileJson,
    LateReply,
    NoCompletion,
    ProtocolErrorReply,
    ReplaceBars,
    SessionCap,
    TruncatedJson,
    UnknownMessages,
    load_packets,
)


class TestProtocolFaults:
    @pytest.fixture
    def ask(self, server, client):
        """Inject a fault into the answer of one request."""

        def asked(*faults):
            server.inject(*faults)
            client.open()
            client.ask()
            return client

        return asked

    def test_truncated_json(self, ask):
        """TruncatedJson cuts the largest payload, with a right length."""
        payloads = load_packets(ask(TruncatedJson()).text())
        assert len(payloads) == 4
        with pytest.raises(json.JSONDecodeError):
            json.loads(payloads[1])
        assert names(payloads[:1] + payloads[2:]) == [HISTORY[0], *HISTORY[2:]]

    @pytest.mark.parametrize(
        ("kind", "sign"),
        [
            ("nan", "[NaN]"),
            ("infinity", "[Infinity]"),
            ("long_number", "9" * 400),
            ("deep", "[" * 10_000),
            ("lone_surrogate", r"\ud800"),
        ],
    )
    def test_hostile_json(self, ask, kind, sign):
        """HostileJson puts a payload before the answer, in the client's own session."""
        hostile, *payloads = load_packets(ask(HostileJson(kind)).text())
        assert sign in hostile
        assert '"cs_1"' in hostile
        assert names(payloads) == HISTORY

    def test_unknown_messages(self, ask):
        """UnknownMessages come before an intact answer."""
        payloads = load_packets(ask(UnknownMessages()).text())
        assert tuple(payloads[:-4]) == UnknownMessages.PAYLOADS
        assert names(payloads[-4:]) == HISTORY

    def test_heartbeats_only(self, connect):
        """HeartbeatsOnly answers nothing and keeps beating."""
        with FakeTradingView(heartbeat_interval_s=0.01, faults=[HeartbeatsOnly(times=1)]) as server:
            client = connect(server)
            client.open()
            client.ask()
            assert server.wait_until(lambda s: len(s.received) == 3)
            assert [client.text() for _ in range(3)] == [encode(f"~h~{n}") for n in (1, 2, 3)]
            assert server.faults == ()

    def test_no_completion(self, ask):
        """NoCompletion leaves series_completed out."""
        assert ask(NoCompletion()).names() == HISTORY[:-1]

    def test_completion_first(self, ask):
        """CompletionFirst puts series_completed before everything else."""
        assert ask(CompletionFirst()).names() == [HISTORY[-1], *HISTORY[:-1]]

    def test_foreign_session(self, ask):
        """ForeignSession sends the answer with other bars under another session first."""
        messages = [json.loads(p) for p in load_packets(ask(ForeignSession("cs_other")).text())]
        assert [m["p"][0] for m in messages] == ["cs_other"] * 4 + ["cs_1"] * 4
        first, second = (m["p"][1]["sds_1"]["s"][0]["v"] for m in (messages[2], messages[6]))
        assert first[0] > second[0] + 1e9

    def test_late_reply(self, ask):
        """LateReply lets later commands be answered first."""
        client = ask(LateReply(0.1, symbol="NASDAQ:AAPL"))
        client.ask("NYSE:IBM", "cs_2")
        first, second = client.text(), client.text()
        assert '"cs_2"' in first
        assert '"cs_1"' in second

    def test_session_cap(self, ask, server):
        """SessionCap refuses one session too many, and the others live on."""
        client = ask(SessionCap(1))
        assert client.names() == HISTORY
        client.say("chart_create_session", "cs_2", "")
        (error,) = map(json.loads, load_packets(client.text()))
        assert (error["m"], error["p"][0]) == ("critical_error", "cs_2")
        assert server.open_sessions == {"cs_1"}
        client.ask("NASDAQ:MSFT", "cs_1")
        assert client.names() == HISTORY

    def test_protocol_error_reply(self, ask):
        """ProtocolErrorReply answers by protocol_error and closes."""
        client = ask(ProtocolErrorReply("user connections limit reached"))
        assert client.text().endswith(
            '{"m":"protocol_error","p":["user connections limit reached"]}'
        )
        assert client.frame().opcode == CLOSE
        assert client.rest() == b""

    def test_protocol_error_reply_to_a_silent_command(self, server, client):
        """ProtocolErrorReply strikes the command it names, even one without an answer."""
        server.inject(ProtocolErrorReply("banned", method="set_auth_token"))
        client.open()
        client.say("set_auth_token", "unauthorized_user_token")
        assert "banned" in client.text()

    def test_critical_error_reply(self, ask, server):
        """CriticalErrorReply kills the session it answers in, and no other."""
        client = ask(CriticalErrorReply("no_such_thing", "details", times=1))
        (error,) = map(json.loads, load_packets(client.text()))
        assert error == {"m": "critical_error", "p": ["cs_1", "no_such_thing", "details"]}
        assert server.open_sessions == set()
        client.ask(session="cs_2")
        assert client.names() == HISTORY

    def test_replace_bars(self, ask):
        """ReplaceBars sends the rows it was given, whatever they are."""
        rows = ([1787232600.0, 1, 2, 0.5, 1.5, None], [1787232600.0, "x", 2, 0.5, 1.5], None)
        update = json.loads(load_packets(ask(ReplaceBars(rows)).text())[2])
        assert [item["v"] for item in update["p"][1]["sds_1"]["s"]] == list(rows)

    def test_replace_bars_by_a_function(self, ask):
        """ReplaceBars with a function makes its rows from the true ones."""
        client = ask(ReplaceBars(lambda rows: [*rows, rows[-1]]))
        update = json.loads(load_packets(client.text())[2])
        rows = [item["v"] for item in update["p"][1]["sds_1"]["s"]]
        assert len(rows) == 6
        assert rows[-1] == rows[-2]

    def test_empty_history(self, ask):
        """EmptyHistory completes a series without bars."""
        payloads = load_packets(ask(EmptyHistory()).text())
        assert names(payloads) == HISTORY
        update = json.loads(payloads[2])
        assert update["p"][1]["sds_1"]["s"] == update["p"][2]["changes"] == []
