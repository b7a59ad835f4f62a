"""The limits of `tvdatafeed serve`: sessions of a connection, connections of an account."""

import contextlib

import pytest

from tests.cli.command import lines_of, needs_signals
from tests.feed import until
from tests.programs import start
from tvDatafeed import TvDatafeed, TvDatafeedConfig
from tvDatafeed.cli.app import main
from tvDatafeed.config import NetworkConfig

SYMBOL = "NASDAQ:AAPL"


@contextlib.contextmanager
def serving(*switches):
    """Run a server with accounts, and yield settings for clients and a token of alice."""
    with start("-m", "tvDatafeed", "serve", "--accounts", *switches) as program:
        lines = [program.stdout.readline().removeprefix("export ").strip() for _ in range(6)]
        found = dict(line.partition("=")[::2] for line in lines)
        network = NetworkConfig(
            ws_url=found["TV_WS_URL"], base_url=found["TV_BASE_URL"], base_retry_delay=0.02
        )
        try:
            yield TvDatafeedConfig(network=network), found["TV_AUTH_TOKEN"]
        finally:
            program.terminate()
            program.communicate()
    assert program.returncode == 0


@needs_signals
@pytest.mark.slow
@pytest.mark.parametrize(
    ("switches", "connections"),
    [((), 1), (("--max-sessions", "none"), 1), (("--max-sessions", "2"), 3)],
)
def test_sessions_of_a_connection(switches, connections):
    """Five requests need three connections of two sessions each, and one where there is room."""
    with serving(*switches) as (config, _token), TvDatafeed(config=config) as tv:
        for _ in range(5):
            assert len(tv.get_hist(SYMBOL, n_bars=3)) == 3
        assert tv.stats()["connections"] == connections


@needs_signals
@pytest.mark.slow
@pytest.mark.parametrize(
    ("switches", "kept"),
    [((), 1), (("--max-connections", "2"), 1), (("--max-connections", "1"), 0)],
)
def test_connections_of_an_account(switches, kept):
    """With one connection per account, the second client closes that of the first."""
    with serving(*switches) as (config, token):
        with (
            TvDatafeed(config=config, auth_token=token) as first,
            TvDatafeed(config=config, auth_token=token) as second,
        ):
            for tv in (first, second):
                assert len(tv.get_hist(SYMBOL, n_bars=3)) == 3
            assert until(lambda: first.stats()["open_connections"] == kept)


@pytest.mark.parametrize("switch", ["--max-sessions", "--max-connections"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", ""])
def test_a_limit_that_cannot_be_used(switch, value, capsys):
    """What is not a whole number above 0 is a usage error that names the switch."""
    assert main(["serve", switch, value]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert f"{switch}: {value!r} is not a whole number above 0" in line
