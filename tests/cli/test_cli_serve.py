"""The serve command runs a loopback TradingView for other programs."""

import contextlib
import signal
import time
from types import SimpleNamespace

import pytest

from tests.cli.command import lines_of, needs_signals
from tests.loopback import NOW
from tests.programs import start
from tests.testing.client import Client
from tvDatafeed import CaptchaRequiredError, Interval, TvDatafeed, TvDatafeedConfig
from tvDatafeed.cli.app import main
from tvDatafeed.config import NetworkConfig
from tvDatafeed.testing import FAULTS, FakeTradingView, Market


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_serve(number):
    """Serve prints three lines to export, serves clients, and ends with status 0 at a signal."""
    arguments = [
        "-m",
        "tvDatafeed",
        "serve",
        "--heartbeat",
        "0.5",
        "--round-trip",
        "0.2",
        "--bandwidth",
        "1000000",
        "--fault",
        "glued_heartbeat",
    ]
    with start(*arguments) as program:
        exports = [program.stdout.readline().removeprefix("export ").strip() for _ in range(3)]
        found = dict(export.partition("=")[::2] for export in exports)
        assert list(found) == ["TV_WS_URL", "TV_BASE_URL", "TV_SEARCH_URL"]
        network = NetworkConfig(ws_url=found["TV_WS_URL"])
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv:
            started = time.monotonic()
            assert len(tv.get_hist("NASDAQ:AAPL", n_bars=3)) == 3
            assert time.monotonic() - started >= 0.4
        program.send_signal(number)
        out, err = program.communicate()
    assert (program.returncode, out) == (0, "")
    (line,) = lines_of(err)
    assert "made-up market" in line


@needs_signals
@pytest.mark.slow
def test_serve_with_accounts():
    """With --accounts a client can sign in in each way that the README has."""
    with start("-m", "tvDatafeed", "serve", "--accounts") as program:
        exports = [program.stdout.readline().removeprefix("export ").strip() for _ in range(6)]
        found = dict(export.partition("=")[::2] for export in exports)
        network = NetworkConfig(ws_url=found["TV_WS_URL"], base_url=found["TV_BASE_URL"])
        cookies = {"sessionid": found["TV_SESSIONID"], "sessionid_sign": found["TV_SESSIONID_SIGN"]}
        for way in (
            {"username": "alice", "password": "open sesame"},
            {"username": "bob", "password": "open sesame", "totp_secret": "JBSWY3DPEHPK3PXP"},
            {"username": "carol", "password": "open sesame", "totp_code": "024680"},
            {"auth_token": found["TV_AUTH_TOKEN"]},
            cookies,
        ):
            config = TvDatafeedConfig(network=network)
            with TvDatafeed(**way, token_cache=False, config=config) as tv:
                assert len(tv.get_hist("NASDAQ:AAPL", n_bars=3)) == 3
        with pytest.raises(CaptchaRequiredError):
            TvDatafeed("dave", "open sesame", token_cache=False, config=config)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
    assert (program.returncode, out) == (0, "")
    assert "alice; bob" in err


@needs_signals
@pytest.mark.parametrize(
    "moment", ["2026-08-14T22:00Z", "2026-08-14T22:00", "2026-08-14T18:00-04:00"]
)
@pytest.mark.slow
def test_serve_at_a_moment(moment):
    """The clock of the market starts at --start, and stands still with --speed 0."""
    with serving("--start", moment, "--speed", "0") as network:
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv:
            bars = tv.get_hist("BTCUSDT", "BINANCE", Interval.in_1_minute, 3, timezone="UTC")
    last = Market().bars("BINANCE:BTCUSDT", "1", 1, NOW)[0]
    assert (bars.index[-1].timestamp(), bars["close"].iloc[-1]) == (last.time, last.close)


@needs_signals
@pytest.mark.slow
def test_serve_is_live():
    """An open series receives new bars, and a fast clock brings them soon."""
    with serving("--start", "2026-08-14T22:00Z", "--speed", "600") as network:
        client = Client(SimpleNamespace(ws_url=network.ws_url))
        with client.socket.sock:
            client.greet()
            client.history("BINANCE:BTCUSDT", "1", 10)
            while client.messages()[0]["m"] != "timescale_update":
                pass


@contextlib.contextmanager
def serving(*arguments):
    """Run a server, and yield the network settings that it prints."""
    with start("-m", "tvDatafeed", "serve", *arguments) as program:
        url = program.stdout.readline().removeprefix("export TV_WS_URL=").strip()
        try:
            yield NetworkConfig(ws_url=url)
        finally:
            program.terminate()
            program.communicate()
    assert program.returncode == 0


def test_serve_on_a_port_that_is_taken(capsys):
    """A port that is taken is one sentence."""
    with FakeTradingView() as server:
        assert main(["serve", "--port", str(server.port)]) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert line.startswith(f"tvdatafeed: cannot listen on 127.0.0.1 port {server.port}: ")


@pytest.mark.parametrize("arguments", [["--list-faults"], ["--fault", "list"]])
def test_serve_lists_faults(arguments, capsys):
    """The faults are listed by name, each with a sentence and its options."""
    assert main(["serve", *arguments]) == 0
    out, err = capsys.readouterr()
    rows = out.splitlines()
    assert [row.split()[0] for row in rows] == sorted(FAULTS)
    assert next(row for row in rows if row.startswith("drip ")).endswith("Options: bytes_per_s.")
    assert err == ""
