"""The replies of `tvdatafeed serve` to a sign-in, with and without an empty error."""

import json
import urllib.error
import urllib.parse
import urllib.request

import pytest

from tests.cli.command import needs_signals
from tests.programs import start
from tests.scale import PATIENCE_S
from tvDatafeed import TvDatafeed, TvDatafeedConfig
from tvDatafeed.config import NetworkConfig

pytestmark = [needs_signals, pytest.mark.slow]


def post(url, **form):
    """Return the JSON of the reply to a form."""
    data = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(url, data, timeout=PATIENCE_S) as reply:  # noqa: S310 - loopback
        return json.loads(reply.read())


@pytest.mark.parametrize(
    ("switches", "keys"), [((), {"error", "user"}), (("--no-empty-error",), {"user"})]
)
def test_replies_to_a_sign_in(switches, keys):
    """With the switch a success has no error, refusals have theirs, and a client signs in."""
    with start("-m", "tvDatafeed", "serve", "--accounts", *switches) as program:
        lines = [program.stdout.readline().removeprefix("export ").strip() for _ in range(6)]
        urls = dict(line.partition("=")[::2] for line in lines)
        url = f"{urls['TV_BASE_URL']}/accounts/signin/"
        assert post(url, username="alice", password="open sesame").keys() == keys
        assert post(url, username="alice", password="wrong")["code"] == "invalid_credentials"
        network = NetworkConfig(ws_url=urls["TV_WS_URL"], base_url=urls["TV_BASE_URL"])
        config = TvDatafeedConfig(network=network)
        for name, code in (("alice", {}), ("carol", {"totp_code": "024680"})):
            with TvDatafeed(name, "open sesame", token_cache=False, config=config, **code) as tv:
                assert len(tv.get_hist("NASDAQ:AAPL", n_bars=3)) == 3
        program.terminate()
        program.communicate()
    assert program.returncode == 0
