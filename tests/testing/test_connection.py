"""A connection of the loopback TradingView from its handshake to its close, and its lifecycle."""

import math
import shutil
import socket
import ssl
import subprocess
import threading

import pytest
import websocket

from tests.scale import PATIENCE_S
from tests.testing.client import ORIGIN, command, names
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import EndlessFragments, FakeTradingView, HalfOpen


class TestHandshake:
    @pytest.mark.parametrize("origin", [ORIGIN, "https://data.tradingview.com"])
    def test_known_origins_and_any_query(self, server, origin):
        """Both of TradingView's origins are welcome, with whatever query the page appends."""
        url = f"{server.ws_url}?from=chart%2F&date=2026-05-06T09%3A00%3A22&type=chart"
        websocket.create_connection(url, origin=origin, timeout=PATIENCE_S).close()
        (handshake,) = server.handshakes
        assert handshake.headers["origin"] == origin
        assert handshake.query["type"] == "chart"

    def test_foreign_origin(self, connect, server):
        """Any other origin gets 403."""
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            connect(server, origin="https://example.com")
        assert caught.value.status_code == 403
        assert server.connections_opened == 0

    def test_other_path(self, server):
        """An upgrade of another path gets 404."""
        url = server.ws_url.replace("socket.io", "elsewhere")
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            websocket.create_connection(url, origin=ORIGIN, timeout=PATIENCE_S)
        assert caught.value.status_code == 404

    def test_tls(self, connect, clock, tmp_path):
        """With a context both URLs are secure and a client that trusts it is served."""
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("no openssl to make a certificate with")
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
            check=True,
            capture_output=True,
        )
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        trusting = ssl.create_default_context(cafile=str(certificate))
        with FakeTradingView(clock=clock, tls=tls) as server:
            assert server.ws_url.startswith("wss://")
            assert server.search_url.startswith("https://")
            client = connect(server, sslopt={"context": trusting})
            client.greet()
            (_, _, update, _) = client.history("BINANCE:BTCUSDT", "1", 3000)
            with pytest.raises(ssl.SSLCertVerificationError):
                connect(server)
        assert len(update["p"][1]["sds_1"]["s"]) == 3000


class TestConnection:
    def test_heartbeats(self, connect, clock):
        """Heartbeats count from 1 on each connection, and their echoes are counted."""
        with FakeTradingView(clock=clock, heartbeat_interval_s=0.01) as server:
            sockets = [connect(server).socket for _ in range(2)]
            for sock in sockets:
                sock.recv()
                assert [sock.recv() for _ in range(3)] == [
                    encode(f"~h~{number}") for number in (1, 2, 3)
                ]
                sock.send(encode("~h~1"))
            assert server.wait_until(lambda s: s.echoes == 2)

    def test_no_heartbeats(self, connect, clock):
        """Heartbeats may be switched off by an infinite interval."""
        with FakeTradingView(clock=clock, heartbeat_interval_s=math.inf) as server:
            client = connect(server)
            client.greet()
            assert names(client.history())[-1] == "series_completed"

    def test_heartbeats_without_an_echo(self, connect, clock):
        """A client that echoes nothing is dropped after a while."""
        beat = {"heartbeat_interval_s": 0.01, "echo_timeout_s": 0.05}
        with FakeTradingView(clock=clock, **beat) as server:
            connect(server)
            assert server.wait_until(lambda s: s.connections_opened and not s.open_connections)

    def test_received(self, connect, server, client):
        """What clients sent is on record, in order, with the connection it came on."""
        client.greet("cs_1")
        other = connect(server)
        other.greet("cs_2")
        assert server.wait_until(lambda s: s.open_sessions == {"cs_1", "cs_2"})
        assert [(r.connection, r.params[0]) for r in server.received if "chart" in r.method] == [
            (1, "cs_1"),
            (2, "cs_2"),
        ]
        other.socket.close()
        assert server.wait_until(lambda s: s.open_sessions == {"cs_1"})
        assert (server.connections_opened, server.open_connections) == (2, 1)
        assert server.peak_sessions == 2

    def test_deleted_session(self, server, client):
        """A deleted session is no longer open."""
        client.greet()
        client.say("chart_delete_session", "cs_plain")
        assert server.wait_until(
            lambda s: s.received[-1:] and s.received[-1].method[:12] == "chart_delete"
        )
        assert server.open_sessions == set()

    def test_wait_until_gives_up(self, server):
        """wait_until says no when its time is over."""
        assert not server.wait_until(lambda s: s.connections_opened == 1, timeout_s=0.01)

    def test_ping_and_fragments(self, client):
        """A ping is answered and a fragmented message is joined."""
        client.text()
        client.socket.ping("are you there")
        assert client.socket.recv_data(control_frame=True) == (
            websocket.ABNF.OPCODE_PONG,
            b"are you there",
        )
        packet = encode(command("set_auth_token", "garbage"))
        frame = websocket.ABNF.create_frame
        client.socket.send_frame(frame(packet[:9], websocket.ABNF.OPCODE_TEXT, fin=0))
        client.socket.send_frame(frame(packet[9:], websocket.ABNF.OPCODE_CONT, fin=1))
        assert "bad auth token" in client.text()

    def test_close_is_answered(self, server, client):
        """A client's close frame is answered by the same one."""
        client.text()
        client.socket.send_close(1001)
        opcode, data = client.socket.recv_data(control_frame=True)
        assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1001)
        assert server.wait_until(lambda s: s.open_connections == 0)

    def test_unmasked_frame(self, client):
        """A client that does not mask gets close code 1002."""
        client.text()
        client.socket.sock.sendall(b"\x81\x01x")
        opcode, data = client.socket.recv_data(control_frame=True)
        assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1002)

    def test_push(self, server, client):
        """A pushed payload is framed, raw text is not."""
        client.text()
        server.push('{"m":"du"}')
        server.send_raw("anything at all")
        assert client.text() == '~m~10~m~{"m":"du"}'
        assert client.text() == "anything at all"

    @pytest.mark.parametrize(
        ("how", "seen"),
        [
            ("fin", websocket.WebSocketConnectionClosedException),
            ("rst", ConnectionResetError),
        ],
    )
    def test_drop(self, connect, server, client, how, seen):
        """Connections end by FIN or RST at the test's word, and new ones are welcome."""
        client.text()
        server.drop_connections(how)
        assert server.open_connections == 0
        with pytest.raises(seen):
            client.text()
        again = connect(server)
        again.text()

    def test_drop_with_a_close_code(self, server, client):
        """Connections end with the close code of the test's choice."""
        client.text()
        server.drop_connections(1012)
        opcode, data = client.socket.recv_data(control_frame=True)
        assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1012)


class TestLifecycle:
    def test_restart_on_the_same_port(self, connect, clock):
        """A stopped server refuses connections and comes back on its port."""
        server = FakeTradingView(clock=clock)
        server.start()
        port, client = server.port, connect(server)
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        server.start()
        assert server.port == port
        again = connect(server)
        again.greet()
        assert names(again.history())[-1] == "series_completed"
        server.stop()
        client.socket.close()

    def test_start_and_stop_twice(self, connect, clock):
        """Both are idempotent, and no thread is left."""
        threads = threading.active_count()
        server = FakeTradingView(clock=clock)
        server.stop()
        for _ in range(2):
            server.start()
        connect(server)
        for _ in range(2):
            server.stop()
        assert threading.active_count() == threads

    @pytest.mark.parametrize("fault", [HalfOpen(), EndlessFragments()])
    def test_stop_ends_what_a_fault_began(self, connect, clock, fault):
        """A frozen or endlessly sending connection does not outlive the server."""
        threads = threading.active_count()
        with FakeTradingView(clock=clock, faults=[fault]) as server:
            client = connect(server)
            client.greet()
            client.resolve()
            client.say("create_series", "cs_plain", "sds_1", "s1", "sym_1", "1D", 5)
            assert server.wait_until(lambda s: s.received[-1:] and len(s.received) == 4)
        assert threading.active_count() == threads

    def test_taken_port(self, server):
        """A port that is taken is an error, and leaves nothing behind."""
        other = FakeTradingView(port=server.port)
        with pytest.raises(OSError, match=r"."):
            other.start()
        other.stop()

    def test_config(self, server):
        """The configuration points at the server and takes other network settings."""
        network = server.config(recv_timeout=0.5).network
        assert network.ws_url == server.ws_url
        assert network.base_url == server.base_url
        assert network.search_url == server.search_url
        assert network.recv_timeout == 0.5

    def test_repr_shows_state(self, server):
        """The repr reports where it listens and what is open."""
        assert f"{server.port} listening, 0 connections opened" in repr(server)
