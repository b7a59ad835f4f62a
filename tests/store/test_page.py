"""The page of a store, in a real browser."""

import os
from pathlib import Path

import pytest

from tests.loopback import NOW, impatient
from tests.store.browser import browser
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.store import BarStore
from tvDatafeed.testing import FakeTradingView, MarketClock

pytest.importorskip("fastapi", reason="the extra server is not installed")

from tests.store.webserver import serving
from tvDatafeed.store.web import create_app

TOKEN = "canary-8J2q"
EVIL = '<img src=x onerror="document.title=1">'
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tab():
    """One browser for all tests."""
    with browser() as one:
        yield one


@pytest.fixture
def store(tmp_path):
    """A store with some series, hits, and a document with an evil name."""
    with (
        FakeTradingView(clock=MarketClock(NOW, speed=0)) as market,
        BarStore(tmp_path / "bars.db") as one,
    ):
        with TvDatafeed(config=impatient(market), store=one) as tv:
            for symbol, exchange, count, times in [
                ("AAPL", "NASDAQ", 500, 4),
                ("MSFT", "NASDAQ", 300, 2),
                ("IBM", "NYSE", 100, 3),
                ("BTCUSDT", "BINANCE", 1000, 1),
            ]:
                for _ in range(times):
                    tv.get_hist(symbol, exchange, n_bars=count)
            tv.get_hist("AAPL", "NASDAQ", Interval.in_1_hour, n_bars=800)
        one.write_cache(EVIL, "note", {"text": EVIL})
        for _ in range(2):
            one.read_cache(EVIL, "note")
        yield one


def keep(tab, name):
    """Keep a picture where the environment names a folder for them."""
    folder = os.environ.get("TVDATAFEED_PICTURES")
    picture = tab.screenshot()
    assert picture.startswith(b"\x89PNG")
    if folder:
        Path(folder, f"{name}.png").write_bytes(picture)


def text(tab, id_):
    return tab.evaluate(f"document.getElementById('{id_}').textContent")


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_shows_the_store(tab, store, width, dark):
    """Records, hit rate, hot symbols and coverage are there, within the window, in both schemes."""
    tab.events.clear()
    with serving(create_app(store)) as client:
        tab.open(client.base_url, width=width, dark=dark)
        tab.wait_for("document.getElementById('state-text').textContent === 'up'")
        stats = store.stats()
        assert text(tab, "records") == f"{stats.total_records:,}"
        assert text(tab, "hit-rate") == f"{stats.hit_rate * 100:.1f} %"
        hot = tab.evaluate("[...document.querySelectorAll('#hot .pair')].map(x => x.innerText)")
        assert len(hot) == len(stats.hot_symbols)
        assert all(symbol in line for (symbol, _), line in zip(stats.hot_symbols, hot, strict=True))
        assert tab.evaluate("document.querySelectorAll('#coverage .fill').length") >= stats.series
        widest = tab.evaluate("document.documentElement.scrollWidth")
        assert widest <= width
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(16, 20, 25)") is dark
        keep(tab, f"page-{width}-{'dark' if dark else 'light'}")
        assert tab.complaints() == []
        assert all(url.startswith((client.base_url, "data:")) for url in tab.requested())


def test_names_are_text(tab, store):
    """A name that is HTML is shown as it is, and nothing of it runs."""
    with serving(create_app(store)) as client:
        tab.open(client.base_url)
        tab.wait_for("document.querySelector('#hot li') !== null")
        assert "<img" in text(tab, "hot")
        assert tab.evaluate("document.querySelectorAll('img').length") == 0
        assert tab.evaluate("document.title") == "Bar store"


def test_the_page_updates_by_itself(tab, store):
    """What is stored later appears without a reload; so does the end of the server."""
    with serving(create_app(store)) as client:
        tab.open(client.base_url)
        tab.wait_for("document.getElementById('state-text').textContent === 'up'")
        tab.evaluate("window.isSamePage = true")
        store.write_cache("NASDAQ:AAPL", "quote", {"price": 1})
        records = f"{store.stats().total_records:,}"
        tab.wait_for(f"document.getElementById('records').textContent === '{records}'")
        assert tab.evaluate("window.isSamePage") is True
    tab.wait_for("document.getElementById('state-text').textContent.includes('does not answer')")


def test_the_page_shows_warming(tab, store):
    """How far a job is, and how many of its symbols failed, is there while it is of interest."""
    ask = {"symbols": ["NASDAQ:MSFT", "NASDAQ:NOSUCH"], "n_bars": 10}
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as market:

        def make_client():
            return TvDatafeed(config=impatient(market), store=False)

        with serving(create_app(store, make_client, token=TOKEN)) as client:
            tab.open(client.base_url)
            tab.wait_for("document.getElementById('state-text').textContent === 'up'")
            assert tab.evaluate("document.getElementById('warming').hidden") is True
            client.post("/api/cache/warm", headers={"Authorization": f"Bearer {TOKEN}"}, json=ask)
            done = "done: 2 of 2, 1 symbol failed"
            tab.wait_for(f"document.getElementById('warming-text').textContent === '{done}'")


def test_the_page_asks_for_a_token(tab, store):
    """Where others reach the server, a wrong token is refused and the right one shows the store."""
    app = create_app(store, host="0.0.0.0", token=TOKEN)  # noqa: S104 - it listens on 127.0.0.1
    submit = (
        "document.getElementById('token').value = '{}';"
        "document.getElementById('sign-in').requestSubmit()"
    )
    with serving(app) as client:
        tab.open(client.base_url, width=400)
        tab.wait_for("!document.getElementById('sign-in').hidden")
        keep(tab, "token-400")
        tab.evaluate(submit.format("wrong"))
        tab.wait_for("document.getElementById('state-text').textContent.includes('wrong')")
        tab.evaluate(submit.format(TOKEN))
        tab.wait_for("document.getElementById('state-text').textContent === 'up'")
        assert tab.evaluate("document.getElementById('sign-in').hidden") is True
        shown = "document.documentElement.outerHTML + document.getElementById('token').value"
        kept = "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
        assert TOKEN not in tab.evaluate(f"{shown} + {kept}")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_api_is_documented_without_the_internet(tab, store, width):
    """``/docs`` lists each operation, and asks this server alone."""
    tab.events.clear()
    with serving(create_app(store)) as client:
        tab.open(f"{client.base_url}/docs", width=width)
        tab.wait_for("document.querySelectorAll('.operation').length === 9")
        assert "/api/cache/bars" in tab.evaluate("document.body.innerText")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        keep(tab, f"docs-{width}")
        assert tab.complaints() == []
        assert all(url.startswith((client.base_url, "data:")) for url in tab.requested())
