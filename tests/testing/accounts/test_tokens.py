"""A token opens its account until it expires or is revoked."""

from tests.testing.accounts.client import ALICE, NOW, Socket, claims
from tvDatafeed.testing import FakeTradingView


class TestTokens:
    def test_shape(self, server):
        """A token is a JWT with the documented header and claims, and lives four hours."""
        server.auth_clock = lambda: NOW + 0.5
        header, payload = claims(server.issue_token("bob"))
        assert header == {"alg": "RS512", "kid": "GZxU", "typ": "JWT"}
        assert (payload["user_id"], payload["plan"]) == (8, "pro_premium")
        assert (payload["iat"], payload["exp"]) == (NOW, NOW + 14_400)
        assert len(payload) == 19
        assert claims(server.issue_token(ALICE))[1]["max_connections"] == 2

    def test_lifetime(self, server, connect):
        """A token is good until its exp by the server's clock."""
        server.token_lifetime_s = 60
        token = server.issue_token("alice")
        assert connect(token).reply() == ["symbol_resolved"]
        server.auth_clock = lambda: NOW + 61
        assert connect(token).next() == ["protocol_error"]

    def test_tokens_of_others(self, server, connect):
        """Where there are accounts, a token of another server is bad; no account is fine."""
        with FakeTradingView() as other:
            foreign = other.issue_token(ALICE)
        server.expired_token_is = "silent"
        assert connect(foreign).next() == ["protocol_error"]
        assert connect("unauthorized_user_token").reply() == ["symbol_resolved"]

    def test_paid_plan(self, server, connect):
        """The plan in the token opens what is paid for."""
        for name, last in [("alice", "series_error"), ("bob", "series_completed")]:
            client = connect(server.issue_token(name))
            client.say("chart_create_session", "cs_1", "")
            client.say("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL")
            client.say("create_series", "cs_1", "sds_1", "s1", "sym_1", "7", 5, "")
            names = []
            while not {"series_error", "series_completed"}.intersection(names):
                names += client.next()
            assert last in names

    def test_expired(self, server, connect):
        """Tokens that a test expires are refused; open connections continue."""
        token = server.issue_token("alice")
        live = connect(token)
        assert live.reply() == ["symbol_resolved"]
        server.expire_tokens()
        assert connect(token).next() == ["protocol_error"]
        assert live.reply() == ["symbol_resolved"]
        assert connect(server.issue_token("alice")).reply() == ["symbol_resolved"]

    def test_revoked(self, server, connect):
        """One token can be revoked, and no other."""
        tokens = [server.issue_token("alice") for _ in range(2)]
        server.revoke(tokens[0])
        assert connect(tokens[0]).next() == ["protocol_error"]
        assert connect(tokens[1]).reply() == ["symbol_resolved"]

    def test_revoked_where_there_are_no_accounts(self):
        """A token without an account can be revoked too."""
        token = "e30.e30.c2ln"
        with FakeTradingView() as server:
            client = Socket(server, token)
            assert client.reply() == ["symbol_resolved"]
            server.revoke(token, now=True)
            assert client.next() == ["protocol_error"]
            assert server.tokens_issued == 0
            client.socket.shutdown()

    def test_silence(self, server, connect):
        """An expired token may get heartbeats only, until a good token comes."""
        server.expired_token_is = "silent"
        token = server.issue_token("alice")
        server.expire_tokens()
        client = connect(token)
        client.say("chart_create_session", "cs_1", "")
        client.say("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL")
        assert client.hears_only_heartbeats()
        client.say("set_auth_token", server.issue_token("alice"))
        assert client.reply() == ["symbol_resolved"]

    def test_dropped_mid_connection(self, server, connect):
        """Connections whose token expires are ended at once, others are not."""
        client, anonymous = connect(server.issue_token("alice")), connect("unauthorized_user_token")
        assert client.reply() == anonymous.reply()
        server.expire_tokens(now=True)
        assert client.next() == ["protocol_error"]
        assert client.socket.recv() == ""
        assert anonymous.reply() == ["symbol_resolved"]

    def test_silenced_mid_connection(self, server, connect):
        """Connections whose token expires may fall silent, ticks included."""
        server.expired_token_is = "silent"
        client = connect(server.issue_token("alice"))
        client.say("chart_create_session", "cs_1", "")
        client.say("resolve_symbol", "cs_1", "sym_1", "NASDAQ:AAPL")
        client.say("create_series", "cs_1", "sds_1", "s1", "sym_1", "1D", 5, "")
        while "series_completed" not in client.next():
            pass
        server.expire_tokens(now=True)
        server.tick()
        client.say("create_series", "cs_1", "sds_2", "s2", "sym_1", "1D", 5, "")
        assert client.hears_only_heartbeats()

    def test_waiting_for_a_token(self, server, site):
        """A test can wait for attempts and tokens like for anything else."""
        site.sign_in()
        assert server.wait_until(lambda s: s.tokens_issued == 1 and len(s.logins) == 1)
