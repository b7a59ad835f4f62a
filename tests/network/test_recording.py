"""TV_RECORD: the messages of any program in a file, without its secrets."""

import contextlib
import dataclasses
import html
import json
import multiprocessing
import os
import re
import stat
import threading
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.loopback import impatient
from tests.network.clients import ask_in_threads, warnings_of
from tests.programs import run
from tvDatafeed import AuthenticationError, TvDatafeed, TvDatafeedError
from tvDatafeed.config import AuthConfig, StoreConfig
from tvDatafeed.network.masking import Masker
from tvDatafeed.protocol.framing import PacketDecoder, Violation
from tvDatafeed.testing import Account, FakeTradingView, UpgradeStatus

SYMBOLS = ["NASDAQ:AAPL", "NYSE:IBM", "BINANCE:BTCUSDT", "NASDAQ:MSFT"]
FIRST = "tvdatafeed recording 1"


def lines_of(file):
    """The lines of a recording, each of which is an object with a time."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    times = [line["t"] for line in lines]
    assert times == sorted(times)
    assert lines[0]["format"] == FIRST
    return lines


def texts_of(lines, sender):
    return [line["data"] for line in lines if line.get("from") == sender and "data" in line]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "session.jsonl"


def test_all_messages_are_recorded(server, file):
    """The handshake, each text of both sides with its connection, and its end."""
    with TvDatafeed(config=impatient(server, record=str(file))) as tv:
        tv.get_hist("NASDAQ:AAPL", n_bars=3)
        assert server.wait_until(lambda s: s.received[-1].method == "chart_delete_session")
    lines = lines_of(file)
    ours = [line for line in lines if line.get("connection") == 1]
    assert ours[0]["open"] == server.ws_url
    assert ours[1]["status"] == 101
    sent = [json.loads(p)["m"] for text in texts_of(lines, "client") for p in payloads(text)]
    assert sent == [message.method for message in server.received]
    received = [p for text in texts_of(lines, "server") for p in payloads(text)]
    assert any('"series_completed"' in payload for payload in received)
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def payloads(text):
    found = PacketDecoder().feed(text)
    assert not any(isinstance(one, Violation) for one in found)
    return found


def test_an_existing_file_is_left_alone(server, file, caplog):
    """A file that exists stays as it is: one WARNING, and the requests are answered."""
    file.write_text("precious")
    with TvDatafeed(config=impatient(server, record=str(file))) as tv:
        for _ in range(3):
            assert len(tv.get_hist("NASDAQ:AAPL", n_bars=3)) == 3
    assert file.read_text() == "precious"
    (warning,) = warnings_of(caplog, "tvDatafeed.network.recording")
    assert "exists, and a recording is never mixed with another one" in warning.getMessage()


def test_a_folder_that_does_not_exist(server, tmp_path, caplog):
    """A file that cannot be made disturbs no request."""
    file = tmp_path / "none" / "session.jsonl"
    with TvDatafeed(config=impatient(server, record=str(file))) as tv:
        assert len(tv.get_hist("NASDAQ:AAPL", n_bars=3)) == 3
    assert len(warnings_of(caplog, "tvDatafeed.network.recording")) == 1


def test_a_file_that_disappears(server, file, caplog):
    """A recording that someone removes is not begun again; requests continue."""
    with TvDatafeed(config=impatient(server, record=str(file))) as tv:
        tv.get_hist("NASDAQ:AAPL", n_bars=3)
        file.unlink()
        for _ in range(2):
            assert len(tv.get_hist("NASDAQ:AAPL", n_bars=3)) == 3
    assert not file.exists()
    assert len(warnings_of(caplog, "tvDatafeed.network.recording")) == 1


def test_the_size_is_limited(server, file, caplog):
    """The recording ends with a line that says so, below the limit; requests continue."""
    config = impatient(server, record=str(file), record_max_bytes=20_000)
    with TvDatafeed(config=config) as tv:
        for _ in range(4):
            assert len(tv.get_hist("NASDAQ:AAPL", n_bars=50)) == 50
    assert 10_000 < file.stat().st_size <= 20_000
    assert lines_of(file)[-1]["end"] == "size limit of 20000 bytes (TV_RECORD_MAX_BYTES)"
    (warning,) = warnings_of(caplog, "tvDatafeed.network.recording")
    assert "TV_RECORD_MAX_BYTES" in warning.getMessage()


def test_threads_and_several_connections(server, file):
    """Messages of several connections and threads are whole lines, each with its number."""
    config = impatient(server, record=str(file), max_sessions=1)
    with TvDatafeed(config=config) as tv:
        frames = ask_in_threads(tv, SYMBOLS, n_bars=5)
    assert [len(frame) for frame in frames] == [5] * len(SYMBOLS)
    lines = lines_of(file)
    opened = [line["connection"] for line in lines if "open" in line]
    assert opened == list(range(1, server.connections_opened + 1))
    for number in opened:
        own = [line for line in lines if line.get("connection") == number]
        sessions = {
            p["p"][0] for t in texts_of(own, "client") for p in map(json.loads, payloads(t))
        }
        answered = {s for s in sessions if any(f'"{s}"' in t for t in texts_of(own, "server"))}
        assert answered


def test_refused_handshake_and_unreachable_server(server, file):
    """A handshake's refusal and an attempt that fails are recorded too."""
    server.inject(UpgradeStatus(status=503, times=1))
    with TvDatafeed(config=impatient(server, record=str(file))) as tv:
        tv.get_hist("NASDAQ:AAPL", n_bars=3)
    server.stop()
    config = impatient(server, record=str(file), max_retries=0)
    with TvDatafeed(config=config) as tv, pytest.raises(TvDatafeedError):
        tv.get_hist("NASDAQ:AAPL", n_bars=3)
    lines = lines_of(file)
    assert [line["status"] for line in lines if "status" in line] == [503, 101]
    assert "refused" in lines[-1]["lost"] or lines[-1]["from"] == "server"


def canary(name):
    return f"canary-{name}-{os.urandom(6).hex()}"


def test_canary(file, tmp_path, monkeypatch):
    """No secret of any setting is in a recording, as it is or in another spelling."""
    totp = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    secrets = {
        "user": canary("user"),
        "password": canary("pass") + ' &"ü<',
        "code": "845071",
        "sms": canary("sms"),
        "other": canary("other"),
    }
    accounts = [
        Account(secrets["user"], secrets["password"], second_factor="totp", totp_secret=totp)
        if "totp_secret" in {f.name for f in dataclasses.fields(Account)}
        else Account(secrets["user"], secrets["password"], second_factor="totp"),
        Account(secrets["other"], secrets["password"]),
    ]
    hidden = [v for k, v in secrets.items() if k not in {"sms", "code"}]
    with FakeTradingView(accounts=accounts) as server:
        cookies = server.issue_cookies(secrets["other"])
        token = server.issue_token(secrets["other"])
        store = f"sqlite:///{tmp_path}/{canary('store')}.db"
        monkeypatch.setenv(
            "TV_PROXY", f"http://{canary('proxyuser')}:{canary('proxy')}@127.0.0.1:9"
        )
        config = impatient(server, record=str(file), proxy=os.environ["TV_PROXY"])
        config = dataclasses.replace(
            config,
            auth=AuthConfig(signin_headers={"Referer": "x", "Authorization": canary("header")}),
            store=StoreConfig(token=canary("storetoken")),
        )
        with TvDatafeed(
            secrets["other"], secrets["password"], token_cache=False, config=config, store=store
        ) as tv:
            tv.get_hist("NASDAQ:AAPL", n_bars=3)
            hidden.append(tv.token)
        with TvDatafeed(
            sessionid=cookies.sessionid,
            sessionid_sign=cookies.sessionid_sign,
            token_cache=False,
            config=config,
        ) as tv:
            tv.get_hist("NASDAQ:AAPL", n_bars=3)
            hidden.append(tv.token)
        with TvDatafeed(auth_token=token, config=config) as tv:
            tv.get_hist("NASDAQ:AAPL", n_bars=3)
            tv.search_symbol("apple")
        with contextlib.suppress(AuthenticationError):
            TvDatafeed(
                secrets["user"],
                secrets["password"],
                totp_code="845071",
                token_cache=False,
                config=config,
            )
        with contextlib.suppress(AuthenticationError):
            TvDatafeed(secrets["other"], canary("wrong"), token_cache=False, config=config)
        hidden += [token, cookies.sessionid, cookies.sessionid_sign, store]
    text = file.read_text()
    assert "canary" not in text
    assert [secret for secret in hidden if secret in text] == []
    forms = [line["request"]["body"] for line in lines_of(file) if "request" in line]
    assert all(re.fullmatch(r"(?:\w+=(?:\**|on)&?)*", form) for form in forms)
    assert any("code=******" in form for form in forms)
    # All declared lengths are still right.
    for line in lines_of(file):
        if "data" in line:
            payloads(line["data"])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("a hunter22 b", "a ******** b"),
        ("hunter2", "hunter2"),
        ("xhunter22x", "x********x"),
        ("eyJhbGciOi.eyJ1c2.sig", "*********************"),
        ("bobby says bobbysocks", "***** says bobbysocks"),
        ('{"v": 12345678, "s": "code 12345678"}', '{"v": 12345678, "s": "code ********"}'),
        ("p\\u00e4ss word", "**************"),
        ("p%C3%A4ss+word", "**************"),
    ],
)
def test_masking(text, masked):
    """Secrets go in all spellings, names as whole words, and numbers only in texts."""
    masker = Masker()
    masker.learn(["hunter22", "12345678", "päss word"])
    masker.learn(["bobby"], are_names=True)
    assert masker.text(text) == masked
    assert len(masked) == len(text)


NUMBER_CHARACTERS = set("+-.0123456789Ee")


@pytest.mark.parametrize("secret", ["000.", "0012", "5336", "3600", "0.25", "e+05", "-1.5"])
def test_masking_keeps_numbers(secret):
    """A secret that can be a part of a number is masked in strings; numbers stay as they are."""
    masker = Masker()
    masker.learn([secret])
    numbers = '{"v":[1785336000.25, 0012.5, -1.5, 1e+05]'
    assert masker.text(f'{numbers}, "s": "{secret}"}}') == f'{numbers}, "s": "{"*" * 4}"}}'


@pytest.mark.parametrize("secret", ["eeee", "1.2.", "+-+-", "12-3", "1e2e", "...."])
def test_masking_of_what_is_in_no_number(secret):
    """The characters of a number alone do not make one: such a secret is masked everywhere."""
    masker = Masker()
    masker.learn([secret])
    assert masker.text(f"a {secret} b") == "a **** b"


@given(
    secret=st.text(min_size=4).filter(lambda s: not set(s) <= set("*\\")),
    before=st.text(),
    after=st.text(),
    spell=st.sampled_from([str, json.dumps, quote, quote_plus, html.escape]),
)
def test_masking_keeps_the_length(secret, before, after, spell):
    """Whatever a secret is and however it is spelled, it is gone, and the length is the same."""
    masker = Masker()
    masker.learn([secret])
    spelled = _spelled(spell, secret)
    # Those are in the tests above, and " 123" is "+123" in a form.
    assume(not set(secret) <= NUMBER_CHARACTERS and not set(spelled) <= NUMBER_CHARACTERS)
    text = f"{before}{spelled}{after}"
    masked = masker.text(text)
    assert len(masked.encode("utf-16-le", "surrogatepass")) == len(
        text.encode("utf-16-le", "surrogatepass")
    )
    assert secret not in masked
    assert _spelled(spell, secret).strip('"') not in masked


def _spelled(spell, secret):
    try:
        return spell(secret)
    except UnicodeEncodeError:
        return secret


def test_masking_of_messages():
    """The token of a message is masked, whatever its form, and so is the server's address."""
    masker = Masker()
    sent = '~m~36~m~{"m":"set_auth_token","p":["a\\"b1"]}'
    assert masker.sent(sent) == '~m~36~m~{"m":"set_auth_token","p":["*****"]}'
    anonymous = '{"m":"set_auth_token","p":["unauthorized_user_token"]}'
    assert masker.sent(anonymous) == anonymous
    assert masker.received('{"via":"192.0.2.17:443","x":"a\\"b1"}') == (
        '{"via":"000.0.0.00:000","x":"*****"}'
    )


@pytest.mark.slow
def test_variable(server, file):
    """TV_RECORD records any program, and ends the recording when the program ends."""
    program = (
        "from tvDatafeed import TvDatafeed\n"
        "with TvDatafeed() as tv: print(len(tv.get_hist('NASDAQ:AAPL', n_bars=4)))"
    )
    done = run(
        "-c", f"import os; os.environ['TV_RECORD'] = {str(file)!r}\n{program}", server=server
    )
    assert (done.returncode, done.stdout.strip()) == (0, "4"), done.stderr
    assert lines_of(file)[-1]["end"] == "finished"


def _ask(config, queue):
    with TvDatafeed(config=config) as tv:
        queue.put(len(tv.get_hist("NASDAQ:AAPL", n_bars=4)))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child(server, file):
    """A forked child writes to a file of its own; that of its parent stays whole."""
    config = impatient(server, record=str(file))
    with TvDatafeed(config=config) as tv:
        tv.get_hist("NASDAQ:AAPL", n_bars=3)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=_ask, args=(config, queue))
        child.start()
        assert queue.get() == 4
        child.join()
        queue.close()
        tv.get_hist("NASDAQ:AAPL", n_bars=3)
    theirs = lines_of(file.with_name(f"{file.name}.{child.pid}"))
    assert [line["connection"] for line in theirs if "open" in line] == [1]
    ours = texts_of(lines_of(file), "client")
    assert sum("create_series" in text for text in ours) == 2


def test_two_clients_share_a_recording(server, file):
    """Two objects of one program write to one file, with connections of their own."""
    config = impatient(server, record=str(file))
    with TvDatafeed(config=config) as one, TvDatafeed(config=config) as other:
        threads = [
            threading.Thread(target=tv.get_hist, args=("NASDAQ:AAPL",)) for tv in (one, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(x["connection"] for x in lines_of(file) if "open" in x) == [1, 2]


@pytest.mark.slow
def test_nothing_sent_leaves_no_file(server, file):
    """A client that sends nothing makes no file, at its end and at that of the program."""
    program = "from tvDatafeed import TvDatafeed\nTvDatafeed().close()"
    start = f"import os; os.environ['TV_RECORD'] = {str(file)!r}\n"
    assert run("-c", f"{start}{program}", server=server).returncode == 0
    assert not file.exists()


@pytest.mark.slow
def test_without_it_nothing_is_loaded(server):
    """Without a recording its modules are not imported."""
    program = (
        "import sys\nfrom tvDatafeed import TvDatafeed\n"
        "with TvDatafeed() as tv: tv.get_hist('NASDAQ:AAPL', n_bars=4); tv.search_symbol('x')\n"
        "print([m for m in sys.modules if 'recording' in m or 'masking' in m])"
    )
    done = run("-c", program, server=server)
    assert done.stdout.strip() == "[]", done.stderr
