"""The store over HTTP: answers, refusals, secrets."""

import json
import logging
import re
import threading
from importlib import resources

import pytest

from tests.loopback import NOW, impatient
from tests.scale import PATIENCE_S
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.exceptions import ConfigurationError, StoreError
from tvDatafeed.store import BarStore
from tvDatafeed.testing import FakeTradingView, MarketClock

pytest.importorskip("fastapi", reason="the extra server is not installed")

from tests.store.webserver import serving
from tvDatafeed.store.web import create_app

TOKEN = "canary-8J2q"
PASSWORD = "canary-hunter2"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
READING = ["health", "stats", "series", "coverage", "documents", "bars?symbol=NASDAQ:AAPL"]
AAPL = {"symbol": "NASDAQ:AAPL", "interval": "1D"}


@pytest.fixture
def market():
    """A market that stands still."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as server:
        yield server


@pytest.fixture
def store(tmp_path, market):
    """A store with 50 daily and 20 hourly bars."""
    with BarStore(tmp_path / "bars.db") as one:
        with TvDatafeed(config=impatient(market), store=one) as tv:
            for _ in range(3):
                tv.get_hist("AAPL", "NASDAQ", n_bars=50)
            tv.get_hist("AAPL", "NASDAQ", Interval.in_1_hour, n_bars=20)
        one.write_cache("NASDAQ:AAPL", "quote", {"price": 1.5})
        yield one


@pytest.fixture
def client(store, market):
    """A client on this machine of a server that has a token and can warm."""

    def make_client():
        return TvDatafeed(config=impatient(market), store=False)

    app = create_app(store, make_client, token=TOKEN)
    with serving(app) as one:
        yield one


@pytest.fixture
def afar(store):
    """A client of a server that others can reach."""
    app = create_app(store, host="0.0.0.0", token=TOKEN)  # noqa: S104 - nothing listens
    with serving(app) as one:
        yield one


def test_stats_are_those_of_the_store(client, store):
    """The figures are those of `BarStore.stats`, and hot symbols have names."""
    answer = client.get("/api/cache/stats").json()
    stats = store.stats()
    assert answer["total_records"] == stats.total_records == 50 + 20 + 1
    assert (answer["hits"], answer["hit_rate"]) == (stats.hits, stats.hit_rate)
    assert answer["hot_symbols"][0]["hits"] == stats.hot_symbols[0][1]
    assert (answer["engine"], answer["documents"]) == ("sqlite", 1)
    assert answer["warming"]["state"] == "idle"


def test_health(client):
    """A store that answers is healthy, and says of which kind it is."""
    answer = client.get("/api/cache/health")
    assert answer.status_code == 200
    assert (answer.json()["ok"], answer.json()["engine"]) == (True, "sqlite")
    assert answer.json()["latency_ms"] > 0


def test_bars_equal_those_of_the_store(client, store):
    """Each number is the one that `read_bars` has, and each time is in UTC."""
    answer = client.get("/api/cache/bars", params=AAPL | {"n_bars": 30}).json()
    frame = store.read_bars("AAPL", "NASDAQ", n_bars=30, timezone="UTC")
    assert answer["count"] == len(answer["bars"]) == len(frame)
    assert [bar["close"] for bar in answer["bars"]] == frame["close"].tolist()
    times = [bar["time"] for bar in answer["bars"]]
    assert times == [time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in frame.index]


@pytest.mark.parametrize("interval", ["1H", "1h", "60m"])
def test_bars_of_a_range(client, interval):
    """A range and an interval as people write it are understood; the default is ten bars."""
    asked = AAPL | {"interval": interval}
    every = client.get("/api/cache/bars", params=asked).json()["bars"]
    assert len(every) == 10
    dates = {"start_date": every[2]["time"], "end_date": every[5]["time"]}
    found = client.get("/api/cache/bars", params=asked | dates).json()["bars"]
    assert found == every[2:6]


def test_series_and_coverage(client, store):
    """Both series are listed, with the ranges that `coverage` has."""
    series = client.get("/api/cache/series").json()
    assert [one["interval"] for one in series] == ["1D", "1H"]
    answer = client.get("/api/cache/coverage", params=AAPL).json()
    spans = [[lo.isoformat(), hi.isoformat()] for lo, hi in store.coverage("AAPL", "NASDAQ")]
    assert [[one.replace("Z", "+00:00") for one in span] for span in answer["spans"]] == spans
    newest = client.get("/api/cache/coverage", params={"limit": 1}).json()
    assert len(newest) == 1
    assert len(client.get("/api/cache/coverage").json()) == 2


def test_documents(client):
    """Names are listed without data; one is given whole; one that is not there is 404."""
    named = {"symbol": "NASDAQ:AAPL", "data_type": "quote"}
    listed = client.get("/api/cache/documents").json()
    assert [(one["symbol"], one["data_type"]) for one in listed] == [("NASDAQ:AAPL", "quote")]
    assert client.get("/api/cache/documents", params=named).json()["data"] == {"price": 1.5}
    missing = client.get("/api/cache/documents", params=named | {"data_type": "other"})
    assert missing.status_code == 404
    assert client.get("/api/cache/documents", params={"symbol": "NASDAQ:AAPL"}).status_code == 422


@pytest.mark.parametrize(
    ("question", "status", "word"),
    [
        pytest.param({"symbol": "NASDAQ:MSFT"}, 404, "MSFT", id="not stored"),
        pytest.param({}, 422, "symbol", id="no symbol"),
        pytest.param({"symbol": "AAPL"}, 422, "exchange", id="no exchange"),
        pytest.param(AAPL | {"interval": "7H"}, 422, "12M", id="interval"),
        pytest.param(AAPL | {"n_bars": "0"}, 422, "n_bars", id="no bars"),
        pytest.param(AAPL | {"n_bars": "ten"}, 422, "n_bars", id="not a number"),
        pytest.param(AAPL | {"n_bars": "100001"}, 422, "n_bars", id="too many"),
        pytest.param(AAPL | {"start_date": "yesterday"}, 422, "start_date", id="date"),
        pytest.param(AAPL | {"n_bars": "1", "days": "1"}, 422, "days", id="days and bars"),
        pytest.param(AAPL | {"adjustment": "some"}, 422, "adjustment", id="adjustment"),
        pytest.param(AAPL | {"n_bar": "1"}, 422, "n_bar", id="unknown parameter"),
        pytest.param(AAPL | {"days": "inf"}, 422, "days", id="infinite"),
        pytest.param(AAPL | {"days": "1e300"}, 422, "", id="before all time"),
        pytest.param(AAPL | {"days": "1e12"}, 422, "", id="before the calendar"),
        pytest.param(AAPL | {"start_date": "9999-12-31T23:59:59+00:00"}, 422, "", id="end of time"),
        pytest.param(AAPL | {"fut_contract": "9" * 4000}, 422, "fut", id="a long number"),
        pytest.param({"symbol": "NASDAQ:A\0"}, 422, "symbol", id="control character"),
        pytest.param({"symbol": "N:" + "A" * 5000}, 422, "symbol", id="a long name"),
        pytest.param({"symbol": "NASDAQ:AAPL; DROP TABLE bar"}, 422, "symbol", id="SQL"),
    ],
)
def test_bad_questions(client, question, status, word):
    """What is wrong is said in one sentence that names the argument."""
    answer = client.get("/api/cache/bars", params=question)
    assert answer.status_code == status
    assert word.lower() in answer.json()["detail"].lower()


@pytest.mark.parametrize("path", READING)
def test_store_that_fails(tmp_path, path):
    """The answer is 503 with the sentence of the error."""
    (tmp_path / "file").touch()
    with (
        BarStore(tmp_path / "file" / "bars.db") as broken,
        serving(create_app(broken)) as client,
    ):
        with pytest.raises(StoreError) as caught:
            broken.stats()
        answer = client.get(f"/api/cache/{path}")
        assert (answer.status_code, answer.json()["detail"]) == (503, str(caught.value))
        figures = client.get("/metrics")
    assert figures.status_code == 200
    assert "tvdatafeed_store_up 0.0" in figures.text
    assert "records" not in figures.text


def test_metrics(client, store):
    """Prometheus reads the figures of the store."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    figures = dict(re.findall(r"^(tvdatafeed_store_\w+) (\S+)$", answer.text, re.MULTILINE))
    stats = store.stats()
    assert float(figures["tvdatafeed_store_up"]) == 1
    assert float(figures["tvdatafeed_store_records"]) == stats.total_records
    assert float(figures["tvdatafeed_store_hits_total"]) == stats.hits
    assert float(figures["tvdatafeed_store_size_bytes"]) == stats.size_bytes


@pytest.mark.parametrize("path", READING)
def test_reading_here_needs_no_token(client, path):
    """On this machine reading is free; a wrong token is refused all the same."""
    assert client.get(f"/api/cache/{path}").status_code == 200
    wrong = client.get(f"/api/cache/{path}", headers={"Authorization": "Bearer x"})
    assert wrong.status_code == 401


@pytest.mark.parametrize(
    "path", [*(f"/api/cache/{p}" for p in READING), "/metrics", "/openapi.json"]
)
def test_reading_from_afar_needs_the_token(afar, path):
    """Where others can reach the server, each answer with data needs the token."""
    refused = afar.get(path)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "TV_STORE_TOKEN" in refused.json()["detail"]
    assert afar.get(path, headers=BEARER).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/page.css", "/page.js", "/docs.js"])
def test_the_pages_files_are_open(afar, path):
    """A browser can load the page, which has no data, and then asks for the token."""
    assert afar.get(path).status_code == 200


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host"]
)
def test_behind_a_proxy_the_token_is_needed(client, header):
    """A proxy on this machine passes on requests of others."""
    assert client.get("/api/cache/stats", headers={header: "192.0.2.1"}).status_code == 401
    sent = BEARER | {header: "192.0.2.1"}
    assert client.get("/api/cache/stats", headers=sent).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8800", "127.0.0.1.evil.example", "[", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/cache/stats"])
def test_dns_rebinding(client, host, path):
    """A web page whose name leads to 127.0.0.1 sends its own name, and is refused."""
    assert client.get(path, headers={"Host": host}).status_code == 403
    assert client.get(path, headers=BEARER | {"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8800", "[::1]:8800", "127.0.0.1"])
def test_names_of_this_machine(client, host):
    """Each name of this machine is accepted."""
    assert client.get("/api/cache/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["warm", "clear"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, id="another scheme"),
        pytest.param({"Authorization": TOKEN}, id="without scheme"),
        pytest.param({"Authorization": b"Bearer \xff\xfe"}, id="bytes"),
        pytest.param({"Authorization": "Bearer"}, id="empty"),
    ],
)
def test_changes_need_the_token(client, store, path, headers):
    """Without the right token nothing is changed, on this machine either."""
    before = store.stats().total_records
    answer = client.post(f"/api/cache/{path}", headers=headers, json={"symbols": ["NASDAQ:MSFT"]})
    assert answer.status_code == 401
    assert store.stats().total_records == before


def test_without_a_token_nothing_can_be_changed(store):
    """A server that has no token refuses each POST, whatever is sent."""
    with serving(create_app(store)) as client:
        assert client.post("/api/cache/clear").status_code == 401
        assert (
            client.post("/api/cache/clear", headers={"Authorization": "Bearer "}).status_code == 401
        )
        assert (
            client.post("/api/cache/clear", headers={"Authorization": "Bearer None"}).status_code
            == 401
        )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "bars.example", ""])  # noqa: S104
def test_afar_needs_a_token(store, host):
    """A server that others could reach does not start without a token."""
    with pytest.raises(ConfigurationError, match="TV_STORE_TOKEN"):
        create_app(store, host=host)


def test_clear(client, store):
    """A symbol, an interval or all is removed; the number of records is returned."""

    def clear(**order):
        return client.post("/api/cache/clear", headers=BEARER, **order)

    assert clear(json={"symbol": "NASDAQ:AAPL", "interval": "1H"}).json() == {"removed": 20}
    assert clear(params={"symbol": "NASDAQ:MSFT"}).json() == {"removed": 0}
    left = store.stats().total_records
    assert clear(json={"symbl": "NASDAQ:MSFT"}).status_code == 422
    assert clear(params={"symbl": "NASDAQ:MSFT"}).status_code == 422
    assert clear(json={"interval": "7H"}).status_code == 422
    assert store.stats().total_records == left > 0
    assert clear().json() == {"removed": left}
    assert store.stats().total_records == 0


def test_warm(client, store):
    """Bars are fetched in the background, and their progress is in the answers."""
    order = {"symbols": ["NASDAQ:MSFT", "NASDAQ:NOSUCH"], "intervals": ["1D", "1h"], "n_bars": 30}
    answer = client.post("/api/cache/warm", headers=BEARER, json=order)
    assert (answer.status_code, answer.json()["total"]) == (202, 4)
    _join("tvDatafeed-warming")
    warming = client.get("/api/cache/stats").json()["warming"]
    assert (warming["state"], warming["done"], warming["total"]) == ("done", 4, 4)
    assert (warming["failed"], next(iter(warming["results"]))) == (1, "NASDAQ:NOSUCH")
    assert warming["results"]["NASDAQ:MSFT"]["error"] is None
    assert "NOSUCH" in warming["results"]["NASDAQ:NOSUCH"]["error"]
    assert client.get("/api/cache/health").json()["warming"] == warming
    assert len(store.read_bars("MSFT", "NASDAQ", n_bars=20)) == 20
    found = client.get("/api/cache/bars", params={"symbol": "NASDAQ:MSFT", "interval": "1H"})
    assert found.json()["count"] == 10


def _join(name):
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    "order",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"symbols": []}, id="no symbol"),
        pytest.param({"symbols": ["AAPL"]}, id="no exchange"),
        pytest.param({"symbols": ["NASDAQ:AAPL"], "intervals": ["7H"]}, id="interval"),
        pytest.param({"symbols": ["NASDAQ:AAPL"], "n_bars": 0}, id="no bars"),
        pytest.param({"symbols": ["NASDAQ:AAPL"], "bars": 5}, id="unknown"),
    ],
)
def test_bad_orders(client, order):
    """An order that cannot be right is refused before anything is fetched."""
    assert client.post("/api/cache/warm", headers=BEARER, json=order).status_code == 422


def test_one_job_at_a_time(store, market):
    """A second job is refused with 409 while one runs; the end of the server stops it."""
    is_asked, may_go = threading.Event(), threading.Event()

    def make_client():
        is_asked.set()
        may_go.wait(PATIENCE_S)
        return TvDatafeed(config=impatient(market), store=False)

    order = {"symbols": ["NASDAQ:MSFT"], "n_bars": 10}
    with serving(create_app(store, make_client, token=TOKEN)) as client:
        assert client.post("/api/cache/warm", headers=BEARER, json=order).status_code == 202
        assert is_asked.wait(PATIENCE_S)
        assert client.get("/api/cache/stats").json()["warming"]["state"] == "running"
        assert client.post("/api/cache/warm", headers=BEARER, json=order).status_code == 409
        may_go.set()
    _join("tvDatafeed-warming")


def test_warm_without_client(store):
    """An application without a client says so."""
    with serving(create_app(store, token=TOKEN)) as client:
        order = {"symbols": ["NASDAQ:MSFT"]}
        answer = client.post("/api/cache/warm", headers=BEARER, json=order)
    assert (answer.status_code, "client" in answer.json()["detail"]) == (503, True)


@pytest.mark.parametrize("chunked", [False, True])
def test_long_bodies_are_refused(client, chunked):
    """A body that no order needs is not kept in memory."""
    body = b"[" + b" " * 300_000
    content = iter([body]) if chunked else body
    answer = client.post("/api/cache/warm", headers=BEARER, data=content)
    assert answer.status_code == 413


def test_headers(client):
    """No answer is kept, guessed at or framed, and pages run scripts of this server alone."""
    for path in ("/", "/docs", "/api/cache/stats", "/metrics", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in headers


def test_pages_load_nothing_from_elsewhere():
    """No file of the pages names another host, or has a script or style of its own inside."""
    folder = resources.files("tvDatafeed.store") / "pages"
    files = {file.name: file.read_text("utf-8") for file in folder.iterdir()}
    assert set(files) == {"index.html", "docs.html", "page.css", "page.js", "docs.js"}
    for text in files.values():
        assert "//" not in text.replace("// ", "")
        assert not re.search(r"<style|<script>|style=|\son\w+=\"|innerHTML|eval\(", text)


def test_openapi_lists_each_route(client):
    """The description has each route, and says which need a token."""
    paths = client.get("/openapi.json").json()["paths"]
    reading = ("health", "stats", "series", "coverage", "bars", "documents")
    changes = ("warm", "clear")
    assert set(paths) == {"/metrics", *(f"/api/cache/{name}" for name in (*reading, *changes))}
    for name in changes:
        assert paths[f"/api/cache/{name}"]["post"]["security"]


def test_no_secret_is_shown(tmp_path, caplog, monkeypatch):
    """Neither a password of a URL nor the token is in an answer, a log record or a repr."""
    caplog.set_level(logging.DEBUG)
    postgres = f"postgresql://ann:{PASSWORD}@127.0.0.1:1/bars"
    monkeypatch.setenv("TV_STORE_TOKEN", TOKEN)
    try:
        store = BarStore(postgres, timeout=1)
    except ModuleNotFoundError:
        store = BarStore(tmp_path / "bars.db")
    texts = [repr(store)]
    with store:
        app = create_app(store, token=TOKEN)
        texts.append(repr(app))
        with serving(app) as client:
            pages = ("/", "/docs", "/openapi.json", "/metrics")
            texts.extend(_shown(client.get(path)) for path in pages)
            for path in READING:
                texts.append(_shown(client.get(f"/api/cache/{path}")))
                texts.append(_shown(client.get(f"/api/cache/{path}", headers=BEARER)))
            for path in ("warm", "clear"):
                for body in ({"symbols": [TOKEN, 1]}, {"symbol": {"x": TOKEN}}):
                    answer = client.post(f"/api/cache/{path}", headers=BEARER, json=body)
                    texts.append(_shown(answer))
    texts += [record.getMessage() for record in caplog.records]
    texts += [str(record.__dict__) for record in caplog.records]
    assert [text for text in texts if TOKEN in text or PASSWORD in text] == []


def _shown(answer):
    return json.dumps([answer.text, *map(list, answer.headers.items())])
