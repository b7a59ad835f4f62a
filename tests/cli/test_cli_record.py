"""The record command, and the replay of what it wrote."""

import dataclasses
import re
import secrets
import signal

import pytest

from tests.cli.command import lines_of, needs_signals
from tests.loopback import NOW
from tests.programs import start, urls
from tests.scale import PATIENCE_S
from tvDatafeed import TvDatafeedConfig
from tvDatafeed.cli.app import main
from tvDatafeed.config import (
    AuthConfig,
    DeliveryConfig,
    NetworkConfig,
    StoreConfig,
    TelegramConfig,
)
from tvDatafeed.testing import Account, FakeTradingView, MarketClock

HIST = ["hist", "NASDAQ:AAPL", "--bars", "5", "--format", "csv"]
COMMANDS = {
    "hist": HIST,
    "hist of many": ["hist", "NASDAQ:AAPL", "NYSE:IBM", "NASDAQ:NONE", "--bars", "3", "--json"],
    "hist of dates": ["hist", "NASDAQ:AAPL", "--start", "2026-07-01", "--end", "2026-07-20"],
    "search": ["search", "apple", "--json"],
    "login": ["login"],
    "whoami": ["whoami"],
    "store warm": ["store", "warm", "NASDAQ:AAPL", "--bars", "30"],
}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "session.jsonl"


def outputs(arguments, capsys):
    """The exit code of a command, its stdout, and its stderr without what record adds."""
    code = main(arguments)
    out, err = capsys.readouterr()
    kept = [line for line in err.splitlines() if "tvdatafeed: recorded " not in line]
    return code, out, kept


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command(name, file, tmp_path, monkeypatch, capsys):
    """What a command printed when it was recorded, it prints again from the recording."""
    command = COMMANDS[name]
    monkeypatch.setenv("TV_TOKEN_CACHE", str(tmp_path / "cache.json"))
    if name in {"login", "whoami"}:
        monkeypatch.setenv("TV_USERNAME", "alice")
        monkeypatch.setenv("TV_PASSWORD", "open sesame")
    results = []
    for step in ("record", "replay"):
        monkeypatch.setenv("TV_STORE_URL", str(tmp_path / f"{step}.db"))
        (tmp_path / "cache.json").unlink(missing_ok=True)
        with FakeTradingView(
            clock=lambda: NOW, accounts=[Account("alice", "open sesame")]
        ) as server:
            for variable, url in urls(server).items():
                monkeypatch.setenv(variable, url)
            if step == "replay":
                server.replay(file)
            arguments = command if step == "replay" else ["record", str(file), "--", *command]
            code, out, err = outputs(arguments, capsys)
            texts = (text.replace("alice", "*****") for text in ("\n".join([out, *err]),))
            results.append((code, *(t.replace(f"{step}.db", "bars.db") for t in texts)))
            if step == "replay":
                assert server.differences == []
    # A masked token does not say when it expires, and no two commands take the same time.
    varying = r", token expires [^,]*|\b[\d.]+ s,"
    without = [re.sub(varying, "", text) for _, text in results]
    assert without[0] == without[1]
    assert results[0][0] == results[1][0]
    text = file.read_text()
    assert "open sesame" not in text
    assert "open+sesame" not in text
    assert '"alice' not in text


def test_live(file, monkeypatch, capsys):
    """Lines of a live feed come again from the recording."""
    monkeypatch.setenv("TV_TOKEN_CACHE", "off")
    follow = ["live", "BINANCE:BTCUSDT", "--count", "2", "--json"]
    clock = MarketClock(NOW, speed=60)
    with FakeTradingView(clock=clock, tick_interval_s=0.05) as server:
        for variable, url in urls(server).items():
            monkeypatch.setenv(variable, url)
        first = outputs(["record", str(file), "--", *follow], capsys)
    with FakeTradingView() as server:
        server.replay(file)
        for variable, url in urls(server).items():
            monkeypatch.setenv(variable, url)
        assert outputs(follow, capsys) == first
    assert len(first[1].splitlines()) == 2


SECRETS = sorted(
    variable
    for section in (AuthConfig, NetworkConfig, StoreConfig, DeliveryConfig, TelegramConfig)
    for field in dataclasses.fields(section)
    if not field.repr or "credential" in field.metadata
    for variable in field.metadata["variables"]
)
WAYS = {
    "token": {"TV_AUTH_TOKEN"},
    "cookies": {"TV_SESSIONID", "TV_SESSIONID_SIGN"},
    "password": {"TV_USERNAME", "TV_PASSWORD", "TV_TOTP_SECRET"},
    "code": {"TV_USERNAME", "TV_PASSWORD", "TV_2FA_CODE"},
}


@pytest.mark.parametrize("way", WAYS)
def test_canary_of_each_setting(way, file, tmp_path, monkeypatch, capsys):
    """Whatever secrets the environment has, a recorded command writes none of them."""
    assert {"TV_PASSWORD", "TV_PROXY", "TV_STORE_URL", "TV_WEBHOOK_SECRET"} <= set(SECRETS)
    canaries = {name: f"canary{secrets.token_hex(8)}" for name in SECRETS}
    values = {
        **canaries,
        "TV_AUTH_TOKEN": f"eyJ{canaries['TV_AUTH_TOKEN']}.eyJ{canaries['TV_AUTH_TOKEN']}.x",
        "TV_PROXY": f"http://{canaries['TV_PROXY']}:{canaries['TV_PROXY']}@127.0.0.1:9",
        "TV_STORE_URL": str(tmp_path / f"{canaries['TV_STORE_URL']}.db"),
        "TV_TELEGRAM_TOKEN": f"1:{canaries['TV_TELEGRAM_TOKEN']}",
        "TV_TOTP_SECRET": "JBSWY3DPEHPK3PXP",
        "TV_WEBHOOK_URL": f"https://127.0.0.1/{canaries['TV_WEBHOOK_URL']}",
    }
    unused = set().union(*WAYS.values()) - WAYS[way]
    account = Account(
        values["TV_USERNAME"],
        values["TV_PASSWORD"],
        second_factor="totp" if way == "password" else "sms",
    )
    monkeypatch.setenv("TV_TOKEN_CACHE", str(tmp_path / "cache.json"))
    with FakeTradingView(accounts=[account], clock=lambda: NOW) as server:
        if way == "cookies":
            cookies = server.issue_cookies(account.username)
            values["TV_SESSIONID"] = cookies.sessionid
            values["TV_SESSIONID_SIGN"] = cookies.sessionid_sign
        for name, value in {**values, **urls(server)}.items():
            if name not in unused:
                monkeypatch.setenv(name, value)
        main(["record", str(file), "--", *HIST])
        main(["record", f"{file}.2", "--", "search", "apple"])
    text = file.read_text() + file.with_name(f"{file.name}.2").read_text()
    assert "canary" not in text
    assert [name for name, value in values.items() if value in text] == []
    if way in {"cookies", "password"}:
        assert "series_completed" in text


def test_demo(file, capsys):
    """The made-up market of the demo is recorded as well."""
    assert main(["record", str(file), "--", "demo", "--bars", "10"]) == 0
    assert lines_of(capsys.readouterr().err)[-1].startswith("tvdatafeed: recorded ")
    assert '"create_series' in file.read_text().replace("\\", "")


def test_without_hyphens_and_debug(loopback, file, capsys):
    """The two hyphens may be left out, and --debug logs once, wherever it stands."""
    assert main(["record", str(file), *HIST, "--debug"]) == 0
    assert capsys.readouterr().err.count("create_series") == 1
    assert main(["record", "--debug", f"{file}.2", "--", *HIST]) == 0
    assert capsys.readouterr().err.count("create_series") == 1


def test_exit_code_of_a_failure(loopback, file, capsys):
    """A command that fails gives its exit code, and is recorded; each line comes once."""
    assert main(["record", str(file), "--", "hist", "NASDAQ:NONE"]) == 1
    lines = lines_of(capsys.readouterr().err)
    assert len(lines) == len(set(lines))
    assert lines[-1].startswith(f"tvdatafeed: recorded {file.stat().st_size} bytes in ")
    assert "symbol_error" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "say what to record"),
        (["--"], "say what to record"),
        (["--", "record", "other"], "say what to record"),
    ],
)
def test_nothing_to_record(file, capsys, arguments, what):
    """Without a command there is nothing to record."""
    assert main(["record", str(file), *arguments]) == 2
    assert what in capsys.readouterr().err


def test_existing_file_and_missing_folder(loopback, file, capsys):
    """An existing file is refused before anything is sent, and so is a missing folder."""
    file.write_text("precious")
    assert main(["record", str(file), "--", *HIST]) == 2
    assert "exists, and a recording is never mixed" in capsys.readouterr().err
    assert file.read_text() == "precious"
    assert main(["record", str(file.parent / "none" / "x"), "--", *HIST]) == 1
    assert "its folder does not exist" in capsys.readouterr().err
    assert loopback.accepted == 0


def test_a_command_that_sends_nothing(file, capsys):
    """A command that sends nothing leaves no file, and says so."""
    assert main(["record", str(file), "--", "serve", "--list-faults"]) == 0
    assert "nothing was recorded" in capsys.readouterr().err
    assert not file.exists()


@needs_signals
@pytest.mark.slow
def test_serve_replay(loopback, file, capsys):
    """Serve plays a recording for other programs, and names what was not recorded."""
    assert main(["record", str(file), "--", *HIST]) == 0
    before = capsys.readouterr().out
    with start("-m", "tvDatafeed", "serve", "--replay", str(file)) as program:
        exports = [program.stdout.readline().removeprefix("export ").strip() for _ in range(3)]
        found = dict(export.partition("=")[::2] for export in exports)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in found.items():
                patch.setenv(name, value)
            for _ in range(2):
                assert main(HIST) == 0
                assert capsys.readouterr().out == before
            assert main(["hist", "NYSE:IBM"]) == 1
            assert "not in the recording" in capsys.readouterr().err
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=PATIENCE_S)
    assert program.returncode == 0
    lines = lines_of(err)
    assert f"replaying {file}" in lines[0]
    assert "with any password" in lines[0]
    assert "the replay differs: " in lines[1]
    assert "NYSE:IBM" in lines[1]


def test_serve_of_other_files(tmp_path, capsys):
    """A file that cannot be replayed is one sentence and exit code 2."""
    other = tmp_path / "bars.csv"
    other.write_text("datetime,open\n")
    assert main(["serve", "--replay", str(other)]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert "bars.csv is not a recording" in line
    assert main(["serve", "--replay", str(tmp_path / "none")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_settings_of_the_environment(file, monkeypatch):
    """The variable of before the command is back after it."""
    monkeypatch.setenv("TV_RECORD", "/other")
    main(["record", str(file), "--", "serve", "--list-faults"])
    assert TvDatafeedConfig.from_env().network.record == "/other"
    assert NetworkConfig().record is None
