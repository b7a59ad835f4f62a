"""A recorded session is replayed: the same requests get the same answers."""

import dataclasses
import json
import re
import time

import pandas as pd
import pytest

from tests.loopback import NOW, impatient
from tests.network.clients import ask_in_threads
from tests.testing.client import Client, command
from tvDatafeed import (
    AuthenticationError,
    Interval,
    RateLimitError,
    SymbolNotFoundError,
    TvDatafeed,
    TvDatafeedError,
    TvDatafeedLive,
)
from tvDatafeed.protocol.framing import encode
from tvDatafeed.testing import (
    Account,
    CloseCode,
    CriticalErrorReply,
    FakeTradingView,
    HttpReset,
    HttpStatus,
    LengthUnit,
    MarketClock,
    ProtocolErrorReply,
    UpgradeStatus,
    load_packets,
)

SYMBOLS = ["NASDAQ:AAPL", "NYSE:IBM", "BINANCE:BTCUSDT"]


def history(tv):
    """One symbol."""
    return tv.get_hist("NASDAQ:AAPL", n_bars=20, timezone="UTC")


def pages(tv):
    """More bars than one answer has."""
    return tv.get_hist("NASDAQ:AAPL", interval=Interval.in_1_minute, n_bars=250, timezone="UTC")


def many(tv):
    """Several symbols at a time, one of which does not exist."""
    frames = tv.get_hist_multi(
        [*SYMBOLS, "NASDAQ:NONE"], n_bars=5, timezone="UTC", on_error="collect"
    )
    frame = pd.concat(frames.values())
    frame.attrs = {name: str(error) for name, error in frames.errors.items()}
    return frame


def search(tv):
    """The symbol search."""
    return pd.DataFrame(tv.search_symbol("apple", raise_on_error=True))


def info(tv):
    """What a symbol is."""
    return pd.DataFrame({"info": [str(tv.get_symbol_info("NASDAQ:AAPL"))]})


def quotes(tv):
    """Quotes of several symbols."""
    return tv.get_quotes(SYMBOLS)


REQUESTS = [history, pages, many, search, info, quotes]


def recorded(tmp_path, *requests, faults=(), **settings):
    """Send requests to the made-up market, record them, and return the file and what came."""
    file = tmp_path / "session.jsonl"
    with FakeTradingView(clock=MarketClock(NOW, speed=0), faults=faults) as server:
        config = impatient(server, record=str(file), **settings)
        with TvDatafeed(config=_paged(config)) as tv:
            answers = [outcome(request, tv) for request in requests]
    return file, answers


def _paged(config):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, max_bars=100))


def outcome(request, tv):
    """What a request gives: a frame, or the text of its error without ids and addresses."""
    try:
        return request(tv)
    except TvDatafeedError as error:
        return type(error).__name__ + re.sub(r"127.0.0.1:\d+|cs_\w+", "...", str(error))


def replayed(file, *requests, **settings):
    """Send requests to a recording, and return what came and the differences."""
    with FakeTradingView() as server:
        server.replay(file)
        with TvDatafeed(config=_paged(impatient(server, **settings))) as tv:
            answers = [outcome(request, tv) for request in requests]
        return answers, server.differences


def assert_same(answers, before):
    """Each answer is that of before, attributes included."""
    assert len(answers) == len(before)
    for answer, one in zip(answers, before, strict=True):
        if isinstance(one, str):
            assert answer == one
        else:
            pd.testing.assert_frame_equal(answer, one)
            assert answer.attrs == one.attrs


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda call: call.__name__)
def test_each_request(tmp_path, request_):
    """A recording of each kind of request replays to an equal frame."""
    file, before = recorded(tmp_path, request_)
    assert not isinstance(before[0], str)
    answers, differences = replayed(file, request_)
    assert_same(answers, before)
    assert differences == []


def test_all_requests_in_another_order(tmp_path):
    """Requests are matched by what they ask for, in any order and more than once."""
    file, before = recorded(tmp_path, *REQUESTS)
    answers, differences = replayed(file, *reversed(REQUESTS), *REQUESTS)
    assert_same(answers, [*reversed(before), *before])
    assert differences == []


@pytest.mark.parametrize(
    "fault",
    [
        CriticalErrorReply(times=1),
        ProtocolErrorReply(times=1),
        CloseCode(times=1),
        UpgradeStatus(status=503, times=1),
        UpgradeStatus(status=403, times=1),
        LengthUnit(times=1),
    ],
    ids=lambda fault: repr(fault)[:50],
)
def test_errors_of_the_server(tmp_path, fault):
    """A refusal, a close or a broken message is replayed, and so is what the client made of it."""
    file, before = recorded(tmp_path, history, faults=[fault])
    answers, differences = replayed(file, history)
    assert_same(answers, before)
    assert differences == []


def test_close_code_is_replayed(tmp_path):
    """The code of a close frame reaches the client again."""
    file, before = recorded(tmp_path, history, faults=[CloseCode(code=1013)], max_retries=0)
    assert "1013" in before[0]
    answers, _ = replayed(file, history, max_retries=0)
    assert_same(answers, before)


def test_rate_limit_of_the_handshake(tmp_path):
    """A handshake that was refused with 429 is refused again."""
    fault = UpgradeStatus(status=429)
    file, before = recorded(tmp_path, history, faults=[fault], max_retries=0)
    assert before[0].startswith(RateLimitError.__name__)
    answers, _ = replayed(file, history, max_retries=0)
    assert answers[0].startswith(RateLimitError.__name__)


def test_unexpected_request(tmp_path):
    """A request that was not recorded is refused at once, and the first difference is named."""
    file, _ = recorded(tmp_path, history)

    def other(tv):
        return tv.get_hist("NASDAQ:AAPL", n_bars=21)

    answers, differences = replayed(file, other, max_retries=0)
    assert "not in the recording" in answers[0]
    (difference,) = differences
    assert 'create_series "1D" 21' in difference
    # Messages that are received meanwhile move the line.
    number = int(re.search(r'line (\d+) has create_series "1D" 20', difference)[1])
    assert '"create_series' in file.read_text().splitlines()[number - 1].replace("\\", "")


def test_unexpected_symbol_and_search(tmp_path):
    """Another symbol and a search that was not made are named too."""
    file, _ = recorded(tmp_path, history)
    answers, differences = replayed(
        file, lambda tv: tv.get_hist("NYSE:IBM", n_bars=20), search, max_retries=0
    )
    assert all(isinstance(answer, str) for answer in answers)
    assert "NYSE:IBM" in differences[0]
    assert "NASDAQ:AAPL" in differences[0]
    assert "which has no HTTP" in differences[-1]


def test_live_bars(tmp_path):
    """A live feed gets the bars that were recorded, in order; its outage is replayed."""
    file = tmp_path / "live.jsonl"

    def follow(server, config, *, step):
        bars = []
        with TvDatafeedLive(config=config) as tvl:
            seis = tvl.new_seis("BTCUSDT", "BINANCE", Interval.in_1_minute)
            coming = tvl.stream(seis, bars="closed", replay_last=True)
            for count in range(4):
                _, frame = next(coming)
                bars.append(frame)
                if count == 1 and step:
                    server.drop_connections(1001)
                    server.wait_until(lambda s: s.connections_opened == 2 and s.open_sessions)
                if step:
                    server.step(60)
        return pd.concat(bars)

    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as server:
        before = follow(server, impatient(server, record=str(file)), step=True)
    # The program may take longer to listen than when it was recorded.
    delay_after(file, "series_completed", 1.0)
    with FakeTradingView() as server:
        server.replay(file, speed=1.0)
        after = follow(server, impatient(server), step=False)
        assert server.differences == []
    pd.testing.assert_frame_equal(after, before)


def delay_after(file, word, seconds):
    """Move all lines after the first one with a word."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    first = next(n for n, line in enumerate(lines) if word in line.get("data", ""))
    for line in lines[first + 1 :]:
        line["t"] += seconds
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_recorded_pace(tmp_path):
    """With a speed, an answer takes as long as it did, divided by that."""
    file, before = recorded(tmp_path, history)
    delay_after(file, "create_series", 100.0)
    with FakeTradingView() as server:
        server.replay(file, speed=1000.0)
        with TvDatafeed(config=impatient(server)) as tv:
            started = time.monotonic()
            assert_same([history(tv)], before)
            assert time.monotonic() - started >= 0.1
        with pytest.raises(ValueError, match="speed"):
            server.replay(file, speed=0)


@pytest.mark.parametrize("factor", [None, "totp"])
def test_sign_in_with_any_password(tmp_path, factor):
    """A recorded sign-in, second factor included, is replayed for any password."""
    file = tmp_path / "login.jsonl"
    ways = {"username": "alice", "password": "open sesame", "token_cache": False}
    more = {"totp_secret": "JBSWY3DPEHPK3PXP"} if factor else {}
    account = Account("alice", "open sesame", second_factor=factor)
    with FakeTradingView(accounts=[account], clock=lambda: NOW) as server:
        config = impatient(server, record=str(file))
        with TvDatafeed(**ways, **more, config=config) as tv:
            before = history(tv)
    with FakeTradingView() as server:
        server.replay(file)
        ways["password"] = "another one"
        with TvDatafeed(**ways, **more, config=impatient(server)) as tv:
            assert_same([history(tv)], [before])
        assert server.differences == []


def test_refused_password(tmp_path):
    """A refused password is refused again, in the same words."""
    file = tmp_path / "login.jsonl"
    texts = []
    with FakeTradingView(accounts=[Account("alice", "open sesame")]) as server:
        with pytest.raises(AuthenticationError) as refused:
            TvDatafeed("alice", "wrong", token_cache=False, config=server.config(record=str(file)))
        texts.append(str(refused.value))
    with FakeTradingView() as server:
        server.replay(file)
        with pytest.raises(AuthenticationError) as refused:
            TvDatafeed("alice", "wrong", token_cache=False, config=server.config())
        texts.append(str(refused.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty: nothing was recorded"),
        ("\n \n", "is empty: nothing was recorded"),
        ("datetime,open\n2024,1\n", "is not a recording: it does not begin with"),
        ('{"a": 1}\n', "is not a recording"),
        ('{"format": "har 1.2"}\n', "its format is 'har 1.2'"),
        ("[1, 2]", "a JSON list must hold objects"),
        ("[", "a JSON list must hold objects"),
        (
            '{"t": 0, "format": "tvdatafeed recording 1"}\n{"t": 1, "end": "finished"}\n',
            "no message",
        ),
        ('{"t": 0, "format": "tvdatafeed recording 1"}\n{"connection": 1, "fro', "line 2 is cut"),
        ('{"t": 0, "format": "tvdatafeed recording 1"}\nx\n{}\n', "line 2 is not a JSON object"),
        (
            '{"t": 0, "format": "tvdatafeed recording 1"}\n{"connection": "x"}\n',
            "line 2 is not a line",
        ),
        ('{"t": 0, "format": "tvdatafeed recording 1"}\n{"exchange": 7}\n', "line 2 is not a line"),
    ],
)
def test_other_files(tmp_path, content, what):
    """A file that is empty, cut or something else is refused in one sentence with its name."""
    file = tmp_path / "some.jsonl"
    file.write_text(content)
    with pytest.raises(ValueError, match=re.escape(what)) as refused:
        FakeTradingView().replay(file)
    assert str(refused.value).startswith("some.jsonl")
    file.write_bytes(b"\xff\xfe\x00PAR1")
    with pytest.raises(ValueError, match="it is not text"):
        FakeTradingView().replay(file)


def test_cut_recording_replays_without_its_last_line(tmp_path):
    """A recording that was cut can be replayed after its last line is deleted."""
    file, before = recorded(tmp_path, history)
    lines = file.read_text().splitlines(keepends=True)
    # Heartbeats and the end of the connection may follow the answer.
    complete = max(i for i, line in enumerate(lines) if "series_completed" in line) + 1
    file.write_text("".join(lines[:complete]) + lines[complete - 1][:30])
    with pytest.raises(ValueError, match="delete this line"):
        FakeTradingView().replay(file)
    file.write_text("".join(lines[:complete]))
    answers, _ = replayed(file, history)
    assert_same(answers, before)


def test_capture_of_a_browser(captures):
    """A real recording in the form of a list plays: bars are those that it has."""
    file = captures / "2025-12-prodata-older-page.json"
    messages = json.loads(file.read_text())
    theirs, ours = "cs_1EScFq71Fjjf", "cs_minesofmine1"
    said = [m["data"] for m in messages if m["from"] == "server"]
    bars = bars_in([payload for text in said for payload in load_packets(text)], theirs)
    assert len(bars) > 500
    with FakeTradingView() as server:
        server.replay(file)
        client = Client(server)
        with client.socket.sock:
            for message in messages:
                if message["from"] == "client" and "~h~" not in message["data"]:
                    client.socket.send(message["data"].replace(theirs, ours))
            got = {}
            while len(got) < len(bars):
                got |= bars_in(client.payloads(), ours)
        assert server.differences == []
    assert got == bars


def bars_in(payloads, session):
    """The bars of a session by their times."""
    found = [json.loads(payload) for payload in payloads if "timescale_update" in payload]
    updates = [u for m in found for u in m["p"][1].values() if m["p"][0] == session]
    return {item["v"][0]: item["v"] for update in updates for item in update.get("s", [])}


def test_threads_and_several_connections(tmp_path):
    """Sessions on several connections are found whatever connection asks for them again."""
    file = tmp_path / "session.jsonl"
    symbols = ["NASDAQ:AAPL", "NYSE:IBM", "BINANCE:BTCUSDT", "NASDAQ:MSFT", "TVC:DXY"]
    results = []
    for step in ("record", "replay"):
        with FakeTradingView(clock=lambda: NOW) as server:
            settings = {"record": str(file)} if step == "record" else {}
            if step == "replay":
                server.replay(file)
                symbols.reverse()
            with TvDatafeed(config=impatient(server, max_sessions=1, **settings)) as tv:
                frames = ask_in_threads(tv, symbols, n_bars=5)
            assert server.differences == []
            results.append(dict(zip(symbols, frames, strict=True)))
    for symbol in symbols:
        assert_same([_frame_or_text(results[1][symbol])], [_frame_or_text(results[0][symbol])])


def _frame_or_text(result):
    return str(result) if isinstance(result, Exception) else result


@pytest.mark.parametrize(
    "fault",
    [
        HttpStatus(status=503, path="*"),
        HttpStatus(status=429, retry_after=7, path="*"),
        HttpReset(path="*"),
    ],
)
def test_http_errors(tmp_path, fault):
    """A search that was refused or broken off is replayed as such."""
    file, before = recorded(tmp_path, search, faults=[fault])
    answers, differences = replayed(file, search)
    assert differences == []
    assert isinstance(before[0], str)
    if not isinstance(fault, HttpReset):  # it is replayed as the end of the connection
        assert answers == before
    assert isinstance(answers[0], str)


def test_other_clients_ids(tmp_path):
    """A client with ids of its own for symbol and series plays what this library recorded."""
    file, (before,) = recorded(tmp_path, history)
    with FakeTradingView() as server:
        server.replay(file)
        client = Client(server)
        with client.socket.sock:
            client.greet("cs_another_one")
            options = '={"session":"regular","symbol":"NASDAQ:AAPL","adjustment":"splits"}'
            client.say("resolve_symbol", "cs_another_one", "mine", options)
            client.say("create_series", "cs_another_one", "bars", "turn", "mine", "1D", 20, "")
            messages = client.messages()
        assert server.differences == []
    update = next(m for m in messages if m["m"] == "timescale_update")
    assert update["p"][0] == "cs_another_one"
    assert [item["v"][4] for item in update["p"][1]["bars"]["s"]] == list(before["close"])
    completed = next(m for m in messages if m["m"] == "series_completed")
    assert completed["p"][:2] == ["cs_another_one", "bars"]
    assert completed["p"][3] == "turn"


def test_faults_of_the_replaying_server(tmp_path):
    """Faults can be injected into a replay: what would have happened then?"""
    file, before = recorded(tmp_path, history)
    with FakeTradingView(faults=[CloseCode(code=1001, times=1)]) as server:
        server.replay(file)
        with TvDatafeed(config=impatient(server)) as tv:
            assert_same([history(tv)], before)
        assert server.connections_opened == 2


@pytest.mark.parametrize("name", ["2026-08-history-ok.json", "2026-08-history-error.json"])
def test_capture_of_another_client(captures, tmp_path, name):
    """What TradingView said to another client, after the commands of this one, is its frame."""
    messages = json.loads((captures / name).read_text())
    payloads = [payload for text in messages for payload in load_packets(text)]
    found = [json.loads(payload) for payload in payloads]
    session = next(m["p"][0] for m in found if "p" in m)
    symbol_id = next(m["p"][1] for m in found if m.get("m") in {"symbol_resolved", "symbol_error"})
    symbol = '={"symbol":"NASDAQ:AAPL","adjustment":"splits","session":"regular"}'
    sent = [
        ("set_auth_token", "unauthorized_user_token"),
        ("chart_create_session", session, ""),
        ("resolve_symbol", session, symbol_id, symbol),
        ("create_series", session, "sds_1", "s1", symbol_id, "1D", 5, ""),
    ]
    said = [{"t": 0.0, "from": "server", "data": messages[0]}]
    said += [{"t": 0.1, "from": "client", "data": encode(command(*words))} for words in sent]
    said += [{"t": 0.2, "from": "server", "data": text} for text in messages[1:]]
    file = tmp_path / "converted.json"
    file.write_text(json.dumps(said))
    with FakeTradingView() as server:
        server.replay(file)
        with TvDatafeed(config=impatient(server)) as tv:
            if name.endswith("error.json"):
                with pytest.raises(SymbolNotFoundError):
                    tv.get_hist("NASDAQ:AAPL", n_bars=5)
                return
            frame = tv.get_hist("NASDAQ:AAPL", n_bars=5, timezone="UTC")
    bars = list(bars_in(payloads, session).values())
    assert [moment.timestamp() for moment in frame.index] == [bar[0] for bar in bars]
    values = frame[["open", "high", "low", "close", "volume"]].to_numpy().tolist()
    assert values == [bar[1:] for bar in bars]
