"""The store commands fill a store, show, export, verify and empty it; hist uses it."""

import io
import json
import signal
import sys

import pandas as pd
import pytest

from tests.cli.command import lines_of, needs_signals, series_of, symbols_of
from tests.cli.test_cli_app import PROGRAM
from tests.loopback import expected
from tests.programs import start
from tvDatafeed import Interval
from tvDatafeed.cli.app import main
from tvDatafeed.exceptions import StoreError
from tvDatafeed.interval import as_interval
from tvDatafeed.store import BarStore
from tvDatafeed.store.archive import Archive

COMMANDS = [
    *("warm", "export", "import"),
    *("stats", "ls", "coverage", "read"),
    *("clear", "expire", "evict", "verify"),
]


@pytest.fixture(scope="module", autouse=True)
def _parquet_is_loaded():
    """What pyarrow opens at its first use, it keeps: no test has leaked that."""
    pd.DataFrame({"close": [1.0]}).to_parquet(io.BytesIO())


@pytest.fixture
def url(tmp_path, monkeypatch):
    """A store that the environment names."""
    place = f"sqlite:///{tmp_path / 'bars.db'}"
    monkeypatch.setenv("TV_STORE_URL", place)
    return place


@pytest.fixture
def filled(loopback, url, capsys):
    """That store with two symbols of 60 bars, and the server that has sent them."""
    assert main(["store", "warm", "NASDAQ:AAPL", "BINANCE:BTCUSDT", "--bars=60"]) == 0
    capsys.readouterr()
    return loopback


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys, monkeypatch):
    """Each command has --url and examples, and its help fits 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["store", command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "--url" in out
    assert f"  tvdatafeed store {command}" in out.partition("examples:\n")[2]
    assert max(map(len, out.splitlines())) <= 80


def test_lengths_without_a_member(loopback, url, capsys):
    """They are warmed, shown, read and removed by the text that people write."""
    interval = ["--interval", "2m"]
    assert main(["store", "warm", "BINANCE:BTCUSDT", "--bars=30", *interval]) == 0
    assert main(["store", "coverage", "BINANCE:BTCUSDT", *interval, "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["symbol"], line["interval"]) == ("BINANCE:BTCUSDT", "2")
    arguments = ["--bars=5", "--timezone=UTC", "--format=csv"]
    assert main(["store", "read", "BINANCE:BTCUSDT", *interval, *arguments]) == 0
    read = pd.read_csv(io.StringIO(capsys.readouterr().out), index_col="datetime", parse_dates=True)
    bars = expected(loopback, "BINANCE:BTCUSDT", as_interval("2m"), 6)[:-1]
    assert list(read.index) == list(bars.index)
    assert main(["store", "clear", "BTCUSDT", *interval]) == 0
    assert "removed 29 records" in capsys.readouterr().out


def test_group_help(capsys, monkeypatch):
    """The help of the group lists its commands."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["store", "--help"]) == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n    {name} " not in out] == []
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ([], 2, "arguments are required"),
        (["nonsense"], 2, "invalid choice"),
        (["warm"], 2, "SYMBOL"),
        (["warm", "AAPL"], 2, "write EXCHANGE:AAPL or add --exchange"),
        (["warm", "NASDAQ:AAPL", "--interval", "7m"], 2, "'7m' is not one of"),
        (["warm", "NASDAQ:AAPL", "--bars", "0"], 2, "at least 1"),
        (["warm", "@missing.txt"], 2, "cannot read missing.txt: No such file"),
        (["stats", "--every", "0"], 2, "'0' is not a number of seconds above 0"),
        (["coverage", "NASDAQ:AAPL"], 1, "nothing of NASDAQ:AAPL is in the store"),
        (["read", "NASDAQ:AAPL"], 1, "not in the store"),
        (["read", "NASDAQ:AAPL", "--output", "bars.xls"], 2, "add --format"),
        (["import", "missing.parquet"], 1, "cannot read missing.parquet: No such file"),
        (["expire", "--days", "-1"], 2, "not a number of days of at least 0"),
        (["evict"], 2, "--max-bars"),
        (["evict", "--max-bars", "-1"], 2, "not a whole number of at least 0"),
        (["ls", "--url", "mysql://host/bars"], 2, "must be sqlite:///path"),
    ],
)
@pytest.mark.usefixtures("url")
def test_failures(arguments, exit_code, words, capsys, tmp_path, monkeypatch):  # noqa: PLR0917
    """A failure is one sentence that says what is wrong, and an exit code."""
    monkeypatch.chdir(tmp_path)
    assert main(["store", *arguments]) == exit_code
    (line,) = lines_of(capsys.readouterr().err)
    assert words in line


def test_password_is_not_shown(capsys):
    """The password of a URL that cannot be used stays secret."""
    assert main(["store", "ls", "--url", "mysql://me:secret@host/bars"]) == 2
    out, err = capsys.readouterr()
    assert "secret" not in out + err


def test_a_store_that_cannot_be_opened(tmp_path, capsys):
    """Every command reports a store that cannot be opened in one line."""
    (tmp_path / "file").write_text("")
    place = str(tmp_path / "file" / "bars.db")
    for arguments in (
        ["warm", "NASDAQ:AAPL"],
        ["stats"],
        ["stats", "--watch"],
        ["ls"],
        ["coverage", "AAPL"],
        ["read", "NASDAQ:AAPL"],
        ["export", str(tmp_path)],
        ["clear"],
        ["expire"],
        ["evict", "--max-bars", "1"],
    ):
        assert main(["store", *arguments, "--url", place]) == 1
        (line,) = lines_of(capsys.readouterr().err)
        assert "cannot be used" in line


def test_warm(loopback, url, capsys):
    """Each interval of each symbol is fetched and stored, and the sum is shown."""
    question = ["AAPL", "MSFT", "--exchange", "NASDAQ", "--interval", "1d", "--interval", "1h"]
    assert main(["store", "warm", *question, "--bars", "40"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("warmed 2 of 2 symbols: 160 bars in ")
    assert out.endswith(f", in {url}\n")
    assert err == ""
    with BarStore(url) as store:
        held = [(info.names, info.interval, info.bars) for info in store.series()]
    assert sorted(held) == [
        (("NASDAQ:AAPL",), "1D", 40),
        (("NASDAQ:AAPL",), "1H", 40),
        (("NASDAQ:MSFT",), "1D", 40),
        (("NASDAQ:MSFT",), "1H", 40),
    ]


def test_warm_from_a_file(loopback, url, tmp_path, capsys):
    """A file has symbols and comments; those that fail are a table, and the exit code is 1."""
    path = tmp_path / "symbols.txt"
    path.write_text("# mine\nNASDAQ:AAPL SP:SPX\n\nNASDAQ:NOPE  # gone\n", encoding="utf-8-sig")
    assert main(["store", "warm", f"@{path}", "NASDAQ:AAPL", "--bars=5"]) == 1
    out, err = capsys.readouterr()
    summary, heads, failed = out.splitlines()
    assert summary.startswith("warmed 2 of 3 symbols: 10 bars in ")
    assert heads.split() == ["FAILED", "WHY"]
    assert failed.startswith("NASDAQ:NOPE  Symbol 'NOPE' not found on NASDAQ")
    assert err == ""
    assert sorted(symbols_of(loopback)) == ["NASDAQ:AAPL", "NASDAQ:NOPE", "SP:SPX"]


def test_warm_from_stdin(loopback, url, monkeypatch, capsys):
    """@- reads stdin; without a symbol in it nothing is asked."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("SP:SPX\n"))
    assert main(["store", "warm", "@-", "--bars=5"]) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("# nothing\n"))
    assert main(["store", "warm", "@-"]) == 2
    assert symbols_of(loopback) == ["SP:SPX"]
    assert "has no symbols" in capsys.readouterr().err


def test_warm_into_a_store_that_fails(loopback, url, monkeypatch, capsys):
    """A store that fails after it was opened is a warning, a last line, and exit code 1."""

    def fail(*_arguments, **_options):
        raise StoreError("the disk is full")

    monkeypatch.setattr(Archive, "absorb", fail)
    assert main(["store", "warm", "NASDAQ:AAPL", "--bars=5"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("warmed 1 of 1 symbols")
    warning, last = lines_of(err)
    assert "the disk is full" in warning
    assert last.startswith("tvdatafeed: not all of these bars were stored; sqlite:///")


def test_warm_with_progress(loopback, url, capsys):
    """A progress bar is on stderr."""
    assert main(["store", "warm", "NASDAQ:AAPL", "SP:SPX", "--bars=5", "--progress"]) == 0
    assert "2/2" in capsys.readouterr().err


def test_warm_again(filled, capsys):
    """What the store has is not asked for as a whole again."""
    assert main(["store", "warm", "NASDAQ:AAPL", "--bars=60"]) == 0
    assert max(params[5] for params in series_of(filled)[2:] if isinstance(params[5], int)) < 60
    assert "1 of 1 symbols" in capsys.readouterr().out


def test_url_wins(loopback, url, tmp_path, capsys):
    """--url is used, and TV_STORE_URL is left alone."""
    other = tmp_path / "other.db"
    assert main(["store", "warm", "SP:SPX", "--bars=5", "--url", str(other)]) == 0
    assert other.exists()
    assert not (tmp_path / "bars.db").exists()
    assert f"sqlite:///{other}" in capsys.readouterr().out


def test_default_file(loopback, tmp_path, monkeypatch, capsys):
    """Without --url and TV_STORE_URL the commands, and hist --store, share one file."""
    monkeypatch.delenv("TV_STORE_URL", raising=False)
    monkeypatch.setattr("platformdirs.user_data_dir", lambda _name: str(tmp_path / "data"))
    assert main(["store", "warm", "NASDAQ:AAPL", "--bars=5"]) == 0
    assert (tmp_path / "data" / "bars.db").exists()
    assert main(["store", "read", "NASDAQ:AAPL", "--bars=5", "--format=csv"]) == 0
    assert main(["hist", "NASDAQ:AAPL", "--bars=5", "--format=csv", "--store=only"]) == 0
    out = capsys.readouterr().out.partition("\n")[2]
    assert out[: len(out) // 2] == out[len(out) // 2 :]


def test_settings_apply(loopback, url, monkeypatch, capsys):
    """TV_STORE_MAX_BARS limits what a command stores."""
    monkeypatch.setenv("TV_STORE_MAX_BARS", "60")
    assert main(["store", "warm", "NASDAQ:AAPL", "NASDAQ:MSFT", "--bars=50"]) == 0
    with BarStore(url) as store:
        assert len(store.series()) == 1
    monkeypatch.setenv("TV_STORE_TIMEOUT", "soon")
    assert main(["store", "ls"]) == 2
    assert "TV_STORE_TIMEOUT" in capsys.readouterr().err


def test_stats(filled, url, capsys):
    """The records, the hit rate, the hot symbols and the size are shown, for people or as JSON."""
    assert main(["store", "read", "NASDAQ:AAPL"]) == 0
    capsys.readouterr()
    assert main(["store", "stats"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["store"] == url
    assert lines["records"] == "119: 2 series of 2 symbols, 0 documents"
    assert lines["hit"] == "rate     33.3% of 3 requests"
    assert lines["hot"] == "symbols  BATS:AAPL 1"
    assert main(["store", "stats", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    stats = json.loads(line)
    assert stats["total_records"] == 119
    assert stats["hot_symbols"] == [["BATS:AAPL", 1]]
    assert stats["size_bytes"] > 1000


@needs_signals
@pytest.mark.slow
def test_stats_watch(filled, url, tmp_path):
    """A watch shows its uptime until Ctrl-C, which is its proper end."""
    question = ["store", "stats", "--watch", "--every=0.05", "--json", "--url", url]
    with start("-c", PROGRAM, *question) as program:
        looks = [json.loads(program.stdout.readline()) for _look in range(3)]
        program.send_signal(signal.SIGINT)
        _out, err = program.communicate()
    assert (program.returncode, err) == (0, "")
    assert [look["total_records"] for look in looks] == [119] * 3
    assert 0.0 <= looks[0]["uptime_s"] < looks[1]["uptime_s"] < looks[2]["uptime_s"]


def test_stats_watch_as_text(filled, monkeypatch, capsys):
    """A look is a block of lines with the uptime; a failure between two is noted."""
    looks = []
    real = BarStore.stats

    def stats(store):
        looks.append(store)
        if len(looks) == 2:
            raise StoreError("the server is gone")
        if len(looks) == 4:
            raise KeyboardInterrupt
        return real(store)

    monkeypatch.setattr(BarStore, "stats", stats)
    assert main(["store", "stats", "--watch", "--every=0.01"]) == 0
    out, err = capsys.readouterr()
    assert out.count("uptime       0:00:00") == 2
    assert lines_of(err) == ["tvdatafeed: the server is gone"]
    assert "\x1b" not in out


def test_stats_watch_in_a_terminal(filled, monkeypatch, capsys):
    """In a terminal each look is written over the one before."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    looks, real = iter([True, True]), BarStore.stats

    def stats(store):
        if not next(looks, False):
            raise KeyboardInterrupt
        return real(store)

    monkeypatch.setattr(BarStore, "stats", stats)
    assert main(["store", "stats", "--watch", "--every=0.01"]) == 0
    first, second = capsys.readouterr().out.split("\x1b[6F\x1b[J")
    assert len(first.splitlines()) == len(second.splitlines()) == 6


def test_ls(filled, capsys):
    """Each series is a line, for people or as JSON."""
    assert main(["store", "ls"]) == 0
    heads, first, second = capsys.readouterr().out.splitlines()
    assert heads.split()[:5] == ["SYMBOL", "INTERVAL", "BARS", "FIRST", "LAST"]
    assert first.split()[:3] == ["BATS:AAPL", "1D", "60"]
    assert second.split()[:3] == ["BINANCE:BTCUSDT", "1D", "59"]
    assert main(["store", "ls", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["names"] for line in lines] == [["NASDAQ:AAPL"], ["BINANCE:BTCUSDT"]]
    assert lines[0]["last"] == "2026-08-14T13:30:00+00:00"


@pytest.mark.parametrize("name", ["NASDAQ:AAPL", "BATS:AAPL", "aapl"])
def test_coverage(name, filled, capsys):
    """A symbol is found by any name under which it was requested, and without its exchange."""
    assert main(["store", "coverage", name]) == 0
    heads, line = capsys.readouterr().out.splitlines()
    assert heads.split() == ["SYMBOL", "INTERVAL", "FROM", "TO", "KIND"]
    assert line.split()[:3] == ["BATS:AAPL", "1D", "2026-05-20"]
    assert main(["store", "coverage", name, "--json", "--interval=1d"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["to"] == "2026-08-14T13:30:00+00:00"
    assert main(["store", "coverage", name, "--interval=1h"]) == 1


def test_read(filled, capsys):
    """Stored bars are written in the formats of hist, and nothing is asked."""
    question, asked = ["NASDAQ:AAPL", "--bars=20", "--timezone=UTC"], len(filled.received)
    assert main(["store", "read", *question]) == 0
    out, err = capsys.readouterr()
    bars = expected(filled, "NASDAQ:AAPL", Interval.in_daily, 20)
    assert out == f"{bars.astype({'volume': int}).to_string()}\n"
    assert main(["store", "read", *question, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 20
    assert err == ""
    assert len(filled.received) == asked


def test_read_of_several(filled, tmp_path, capsys):
    """What is not stored is noted, the others are written, and the exit code is 1."""
    path = tmp_path / "bars.csv"
    symbols = ["NASDAQ:AAPL", "NASDAQ:MSFT", "BINANCE:BTCUSDT"]
    assert main(["store", "read", *symbols, "--bars=5", "--output", str(path)]) == 1
    missing, wrote = lines_of(capsys.readouterr().err)
    assert "MSFT" in missing
    assert "not in the store" in missing
    assert wrote == f"tvdatafeed: wrote 10 bars to {path}"


def test_read_of_more_than_there_are(filled, capsys):
    """Where the store has only a part, that is noted."""
    assert main(["store", "read", "NASDAQ:AAPL", "--bars=500", "--format=csv"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 61
    (line,) = lines_of(err)
    assert "60 of 500 bars" in line


def test_export_and_import(filled, tmp_path, capsys):
    """A store that is exported and imported into another one is the same there."""
    folder, other = tmp_path / "a" / "backup", str(tmp_path / "other.db")
    assert main(["store", "export", str(folder)]) == 0
    assert capsys.readouterr().out == f"wrote 2 series, 119 bars, into {folder}\n"
    assert main(["store", "import", str(folder), "--url", other]) == 0
    assert capsys.readouterr().out.startswith("read 2 series, 119 new bars, into sqlite:///")
    question = ["NASDAQ:AAPL", "--bars=60", "--format=csv"]
    assert main(["store", "read", *question]) == 0
    original = capsys.readouterr().out
    assert main(["store", "read", *question, "--url", other]) == 0
    assert capsys.readouterr().out == original


def test_export_of_symbols(filled, tmp_path, capsys):
    """Symbols can be chosen; one that is not stored is noted, and the exit code is 1."""
    folder = tmp_path / "backup"
    assert main(["store", "export", str(folder), "AAPL", "NASDAQ:MSFT"]) == 1
    out, err = capsys.readouterr()
    assert out == f"wrote 1 series, 60 bars, into {folder}\n"
    assert lines_of(err) == ["tvdatafeed: NASDAQ:MSFT: nothing is stored"]
    assert [path.name[:12] for path in folder.iterdir()] == ["BATS_AAPL_1D"]


def test_export_of_nothing(url, tmp_path, capsys):
    """An empty store has nothing to export, and DIR must be a folder."""
    assert main(["store", "export", str(tmp_path / "backup")]) == 1
    assert "nothing is stored" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["store", "export", str(tmp_path / "file")]) == 1
    assert "cannot make" in capsys.readouterr().err


def test_import_of_files_that_fail(filled, tmp_path, capsys):
    """A file that cannot be imported is noted, the others are imported, and the exit code is 1."""
    folder, other = tmp_path / "backup", str(tmp_path / "other.db")
    assert main(["store", "export", str(folder)]) == 0
    (folder / "A.parquet").write_text("no Parquet")
    capsys.readouterr()
    assert main(["store", "import", str(folder), "--url", other]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("read 2 series, 119 new bars")
    (line,) = lines_of(err)
    assert line.startswith("tvdatafeed: A.parquet: ")
    (tmp_path / "empty").mkdir()
    assert main(["store", "import", str(tmp_path / "empty"), "--url", other]) == 2
    assert "no file that ends in .parquet" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "import"])
def test_without_pyarrow(command, url, tmp_path, monkeypatch, capsys):
    """Without pyarrow the line that installs it is shown before the store is opened."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["store", command, str(tmp_path / "backup")]) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert line.endswith('pip install "tvdatafeed[parquet]"')
    assert not (tmp_path / "bars.db").exists()


def test_removing(filled, url, capsys):
    """Symbols, what was not used, and the series used least recently are removed, and counted."""

    def removed(*arguments):
        assert main(["store", *arguments]) == 0
        return capsys.readouterr().out

    assert removed("clear", "AAPL", "--interval=1h") == "removed 0 records\n"
    assert removed("clear", "AAPL", "--exchange=NYSE") == "removed 0 records\n"
    assert removed("expire", "--days=1") == "removed 0 records\n"
    assert removed("evict", "--max-bars=100") == "removed 60 records\n"
    assert removed("clear", "BTCUSDT") == "removed 59 records\n"
    with BarStore(url) as store:
        store.write_cache("X:A", "calendar", [])
    assert removed("clear") == "removed 1 records\n"


def test_expire(filled, capsys):
    """After 0 days everything is expired."""
    assert main(["store", "expire", "--days=0"]) == 0
    assert capsys.readouterr().out == "removed 119 records\n"


def test_verify(url, capsys):
    """Thirteen lines between a headline and a summary."""
    assert main(["store", "verify"]) == 0
    headline, *checks, summary = capsys.readouterr().out.splitlines()
    assert headline == url
    assert summary == "all 13 checks hold"
    assert len(checks) == 13
    assert all(line.startswith("ok    ") for line in checks)


def test_verify_that_fails(tmp_path, capsys):
    """A check that fails has a hint, and the exit code is 1."""
    (tmp_path / "file").write_text("")
    assert main(["store", "verify", "--url", str(tmp_path / "file" / "bars.db")]) == 1
    out, err = capsys.readouterr()
    _headline, *checks, summary = out.splitlines()
    assert summary == "12 of 13 checks failed"
    assert len(checks) == 13
    assert checks[1].startswith("FAIL  server reachable: the bar store ")
    assert "; check the folder" in checks[1]
    assert (
        checks[12] == "FAIL  clean-up: not checked: server reachable failed; see server reachable"
    )
    assert err == ""


def test_hist_uses_the_environment(filled, capsys):
    """With TV_STORE_URL hist asks for the newest bars alone, and prints the same."""
    question = ["hist", "NASDAQ:AAPL", "--bars=60", "--format=csv"]
    asked = []
    for option in ([], ["--store=off"], ["--store=refresh"]):
        before = len(series_of(filled))
        assert main([*question, *option]) == 0
        asked.append([params[5] for params in series_of(filled)[before:]])
    out = capsys.readouterr().out
    assert out == out[: len(out) // 3] * 3
    (tail,), *others = asked
    assert tail < 30
    assert others == [[60], [60]]


def test_hist_offline(filled, monkeypatch, capsys):
    """--store only asks nothing, not even where a symbol is not stored."""
    monkeypatch.setenv("TV_WS_URL", "wss://127.0.0.1:9/")
    assert main(["hist", "NASDAQ:AAPL", "--store=only", "--format=csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 11
    assert main(["hist", "NASDAQ:MSFT", "--store=only"]) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert "not in the store" in line


def test_hist_with_a_wrong_use(loopback, capsys):
    """Another word is refused."""
    assert main(["hist", "NASDAQ:AAPL", "--store=maybe"]) == 2
    assert "invalid choice: 'maybe'" in capsys.readouterr().err
