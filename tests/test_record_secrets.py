"""No secret is in the text, the arguments or a field of any record of a whole session."""

import dataclasses
import logging
import traceback

import pytest

from tests.auth.accounts import PASSWORD, SECRET
from tests.delivery import telegram
from tests.delivery.receiver import SECRET as WEBHOOK_SECRET
from tests.delivery.receiver import Receiver
from tests.loopback import NOW
from tests.network.proxy import tunnel_to
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, TvDatafeed, TvDatafeedError, TvDatafeedLive
from tvDatafeed.config import AuthConfig
from tvDatafeed.delivery import AlertService, RetryPolicy, TelegramSender, Webhook
from tvDatafeed.store import BarStore
from tvDatafeed.testing import (
    Account,
    FakeTDengine,
    FakeTradingView,
    FinMidFrame,
    HttpStatus,
    MarketClock,
    TdengineFault,
)

MINUTE = ("BTCUSD", "BITSTAMP", Interval.in_1_minute)
PROXY_PASSWORD = "canary-proxy"


class Everything(logging.Handler):
    """Keeps every record with all its attributes, as texts."""

    def __init__(self):
        super().__init__()
        self.loggers = set()
        self.fields = set()
        self.texts = []

    def emit(self, record):
        self.loggers.add(record.name)
        self.fields |= set(vars(record)) - STANDARD
        self.texts += [record.getMessage(), *map(repr, vars(record).values())]
        self.texts += [str(value) for value in vars(record).values()]
        if record.exc_info:
            self.texts += traceback.format_exception(record.exc_info[1])


STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@pytest.fixture
def everything():
    """All records of the library, at DEBUG."""
    handler = Everything()
    library = logging.getLogger("tvDatafeed")
    level = library.level
    library.addHandler(handler)
    library.setLevel(logging.DEBUG)
    yield handler
    library.setLevel(level)
    library.removeHandler(handler)


def follow(tvl, hook, receiver):
    """Deliver a bar of a live feed, and one after an answer that has a secret in it."""
    receiver.faults += [500]
    consumer = tvl.subscribe(*MINUTE, hook)
    receiver.wait_for(2, PATIENCE_S)
    consumer.del_consumer()


@pytest.mark.slow
def test_no_secret_is_in_any_record(everything, tmp_path):
    """Signing in, a proxy, a store, delivery and alerts, each with a failure, at DEBUG."""
    account = Account("ann", PASSWORD, second_factor="totp", totp_secret=SECRET)
    market = FakeTradingView(clock=MarketClock(NOW, speed=0), accounts=[account])
    with (
        market as server,
        tunnel_to(server) as port,
        Receiver() as receiver,
        telegram.running() as bot,
    ):
        plain = server.config(base_retry_delay=0.02, max_retry_delay=0.1)
        # Behind a proxy the host is looked up there.
        network = dataclasses.replace(
            plain.network,
            ws_url=server.ws_url.replace("127.0.0.1", "tradingview.invalid"),
            base_url=server.base_url.replace("127.0.0.1", "tradingview.invalid"),
            proxy=f"http://ann:{PROXY_PASSWORD}@127.0.0.1:{port}",
            allow_insecure=True,
        )
        auth = AuthConfig(username="ann", password=PASSWORD, totp_secret=SECRET, token_cache=False)
        config = dataclasses.replace(plain, network=network, auth=auth, debug=True)
        with FakeTDengine() as tdengine:
            url = tdengine.url
            with BarStore(url) as store, TvDatafeed(config=config, store=store) as tv:
                server.inject(FinMidFrame(times=1))
                assert len(tv.get_hist("AAPL", "NASDAQ", n_bars=10)) == 10
                token = tv.token
                tdengine.inject(TdengineFault("error", times=9))
                tv.get_hist("AAPL", "NASDAQ", n_bars=12)
                server.inject(HttpStatus(path="*", status=500, body=token.encode(), times=9))
                tv.search_symbol("apple")
        server.clear_faults()
        policy, outbox = RetryPolicy(base_s=0.1), tmp_path / "outbox.db"
        signed_in = dataclasses.replace(config, auth=AuthConfig(auth_token=token))
        with Webhook(receiver.url, WEBHOOK_SECRET, outbox=outbox, policy=policy) as hook:
            with TvDatafeedLive(config=signed_in) as tvl:
                follow(tvl, hook, receiver)
        bot.refuse(401, "Unauthorized")
        sender = TelegramSender(telegram.TOKEN, telegram.CHAT_ID, base_url=bot.url)
        with AlertService(sender) as alerts:
            alerts.send_owner_alert("the disk is full")
        with pytest.raises(TvDatafeedError):
            TvDatafeed("ann", "canary-wrong", config=plain)
    secrets = [
        *(PASSWORD, SECRET, SECRET.replace(" ", ""), "canary", PROXY_PASSWORD, token),
        *(WEBHOOK_SECRET, WEBHOOK_SECRET.removeprefix("whsec_"), telegram.TOKEN_SECRET),
        "taosdata",
    ]
    found = [(secret, text) for text in everything.texts for secret in secrets if secret in text]
    assert found == []
    assert {"reason", "url", "symbol", "attempt", "host"} <= everything.fields
    parts = {name.split(".")[1] for name in everything.loggers}
    assert {"network", "main", "store", "delivery"} <= parts
