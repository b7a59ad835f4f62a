"""The command line: what it prints, where, and how it ends."""

import contextlib
import importlib.metadata
import io
import json
import logging
import signal
import socket
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest

import tvDatafeed
from tests.loopback import NOW, expected
from tests.programs import start, urls
from tests.scale import PATIENCE_S
from tests.testing.client import Client
from tvDatafeed import CaptchaRequiredError, Interval, TvDatafeed, TvDatafeedConfig
from tvDatafeed.cli.app import main
from tvDatafeed.config import NetworkConfig
from tvDatafeed.testing import FAULTS, FakeTradingView, Market, NoCompletion, ReplaceBars

# A program that Ctrl-C reaches even where these tests run as a background job, which ignores it.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tvDatafeed.cli.app import main
sys.exit(main())
"""
needs_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process"
)


@pytest.fixture
def loopback(server, monkeypatch):
    """A loopback TradingView that the environment names; nobody is logged in."""
    monkeypatch.setenv("TV_TOKEN_CACHE", "off")
    for variable, url in urls(server).items():
        monkeypatch.setenv(variable, url)
    return server


@pytest.fixture(scope="module", autouse=True)
def _parquet_is_loaded():
    """What pyarrow opens at its first use, it keeps: no test has leaked that."""
    pd.DataFrame({"close": [1.0]}).to_parquet(io.BytesIO())


@pytest.fixture
def refused_port():
    """A port of this machine on which nobody listens, and nobody can."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def lines_of(text):
    """The lines of a text; each of our messages is one that says who speaks."""
    lines = text.splitlines()
    assert all(line.startswith("tvdatafeed: ") for line in lines), text
    return lines


def series_of(server):
    """The parameters of each create_series that a server received."""
    return [message.params for message in server.received if message.method == "create_series"]


def symbols_of(server):
    """The symbol of each resolve_symbol that a server received."""
    asked = [message.params[2] for message in server.received if message.method == "resolve_symbol"]
    return [json.loads(text.removeprefix("="))["symbol"] for text in asked]


def test_demo(capsys):
    """The demo shows 5000 bars from both ends, the time it took, and that they are made up."""
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    table = out.partition("\n\n")[0].splitlines()
    assert table[0].split() == ["symbol", "open", "high", "low", "close", "volume"]
    assert sum("NASDAQ:AAPL" in row for row in table) == 10
    assert "[5000 rows x 6 columns]" in out
    assert "5000 bars of NASDAQ:AAPL in 0." in out
    assert "This market is made up" in out
    assert err == ""


def test_demo_options(capsys):
    """The demo takes a symbol, a length and a number of bars."""
    assert (
        main(["demo", "--symbol", "SPX", "--exchange", "SP", "--bars", "7", "--interval=1M"]) == 0
    )
    assert "7 bars of SP:SPX" in capsys.readouterr().out


def test_demo_asks_nobody(loopback):
    """The demo has a server of its own, whatever the environment names."""
    assert main(["demo", "--bars", "5"]) == 0
    assert loopback.accepted == 0


def test_demo_real(loopback, capsys):
    """With --real the service that the environment names is asked, and no bar is called made up."""
    assert main(["demo", "--real", "--bars", "300"]) == 0
    out, _err = capsys.readouterr()
    assert "300 bars of NASDAQ:AAPL" in out
    assert "made up" not in out
    assert symbols_of(loopback) == ["NASDAQ:AAPL"]


def test_demo_real_without_network(monkeypatch, refused_port, capsys):
    """Without a network --real says so in one sentence and fails."""
    monkeypatch.setenv("TV_TOKEN_CACHE", "off")
    monkeypatch.setenv("TV_WS_URL", f"ws://127.0.0.1:{refused_port}/socket.io/websocket")
    assert main(["demo", "--real"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = lines_of(err)
    assert line.startswith("tvdatafeed: no bars from TradingView: connect failed")
    assert f"127.0.0.1:{refused_port}" in line


def test_hist_table(loopback, capsys):
    """A table of the last ten daily bars is what hist prints if nothing else is asked for."""
    assert main(["hist", "NASDAQ:AAPL", "--timezone", "UTC"]) == 0
    out, err = capsys.readouterr()
    bars = expected(loopback, "NASDAQ:AAPL", Interval.in_daily, 10)
    assert out == f"{bars.to_string()}\n"
    assert err == ""


def test_hist_csv(loopback, capsys):
    """CSV on stdout holds every bar to the last digit, and nothing else."""
    question = ["hist", "BTCUSDT", "--exchange", "BINANCE", "--interval", "15m", "--bars", "300"]
    assert main([*question, "--timezone", "UTC", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    bars = expected(loopback, "BINANCE:BTCUSDT", Interval.in_15_minute, 300)
    read = pd.read_csv(io.StringIO(out), index_col="datetime", parse_dates=True)
    pd.testing.assert_frame_equal(
        read, bars, check_dtype=False, check_index_type=False, check_exact=True
    )
    assert err == ""


@pytest.mark.parametrize("option", ["--format=json", "--json"])
def test_hist_json(loopback, capsys, option):
    """JSON on stdout is a list of objects, one a line, with every digit and times in ISO form."""
    assert main(["hist", "SP:SPX", "--bars=20", "--timezone=exchange", option]) == 0
    out, _err = capsys.readouterr()
    bars = expected(loopback, "SP:SPX", Interval.in_daily, 20, timezone="America/New_York")
    rows = json.loads(out)
    assert [row.pop("datetime") for row in rows] == [moment.isoformat() for moment in bars.index]
    assert rows == bars.to_dict("records")
    assert len(out.splitlines()) == 22


def test_hist_json_of_missing_values(loopback, monkeypatch, capsys):
    """What is missing is null in JSON, which has no NaN."""
    monkeypatch.setenv("TV_FILL_MISSING_VOLUME", "nan")
    assert main(["hist", "SP:SPX", "--bars=2", "--format=json"]) == 0
    assert [row["volume"] for row in json.loads(capsys.readouterr().out)] == [None, None]


@pytest.mark.parametrize("ending", ["csv", "json", "parquet", "pq", "txt"])
def test_hist_output(ending, loopback, tmp_path, capsys):
    """The ending of a file's name says what is written to it."""
    path = tmp_path / f"bars.{ending.upper()}"
    assert main(["hist", "NASDAQ:AAPL", "--timezone=UTC", "--output", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert lines_of(err) == [f"tvdatafeed: wrote 10 bars to {path}"]
    bars = expected(loopback, "NASDAQ:AAPL", Interval.in_daily, 10)
    if ending in {"parquet", "pq"}:
        read = pd.read_parquet(path).astype({"symbol": object})
        pd.testing.assert_frame_equal(read, bars)
        return
    text = path.read_text(encoding="utf-8")
    beginning = {"csv": "datetime,symbol,open,", "json": '[\n{"datetime": "', "txt": " "}[ending]
    assert text.startswith(beginning)
    assert text.count("NASDAQ:AAPL") == 10


def test_hist_format_wins(loopback, tmp_path):
    """An explicit format wins over the ending."""
    path = tmp_path / "bars.csv"
    assert main(["hist", "NASDAQ:AAPL", "--format", "json", "--output", str(path)]) == 0
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 10


def test_hist_parquet_to_a_pipe(loopback, capsysbinary):
    """Parquet goes through a pipe as the bytes it is."""
    assert main(["hist", "NASDAQ:AAPL", "--timezone=UTC", "--format=parquet"]) == 0
    read = pd.read_parquet(io.BytesIO(capsysbinary.readouterr().out))
    assert list(read["symbol"]) == ["NASDAQ:AAPL"] * 10


def test_hist_parquet_to_a_terminal(loopback, monkeypatch, capsys):
    """Parquet is kept from a terminal before anything is asked."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["hist", "NASDAQ:AAPL", "--format", "parquet"]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert line == "tvdatafeed: Parquet is not for a terminal: add --output FILE.parquet"
    assert loopback.accepted == 0


def test_hist_parquet_without_pyarrow(loopback, monkeypatch, capsys):
    """Without pyarrow the line that installs it is shown before anything is asked."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["hist", "NASDAQ:AAPL", "--output", "bars.parquet"]) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert line.endswith('pip install "tvdatafeed[parquet]"')
    assert loopback.accepted == 0


def test_hist_output_that_cannot_be_written(loopback, tmp_path, capsys):
    """A file that cannot be written is one sentence that names it."""
    path = tmp_path / "nowhere" / "bars.csv"
    assert main(["hist", "NASDAQ:AAPL", "--output", str(path)]) == 1
    (line,) = lines_of(capsys.readouterr().err)
    assert line.startswith(f"tvdatafeed: cannot write {path}: ")


@pytest.mark.parametrize(
    ("written", "interval"),
    [
        ("1s", Interval.in_1_second),
        ("45s", Interval.in_45_second),
        ("1m", Interval.in_1_minute),
        ("3m", Interval.in_3_minute),
        ("5m", Interval.in_5_minute),
        ("10m", Interval.in_10_minute),
        ("15m", Interval.in_15_minute),
        ("30m", Interval.in_30_minute),
        ("45m", Interval.in_45_minute),
        ("1h", Interval.in_1_hour),
        ("2h", Interval.in_2_hour),
        ("3h", Interval.in_3_hour),
        ("4h", Interval.in_4_hour),
        ("1d", Interval.in_daily),
        ("1w", Interval.in_weekly),
        ("1M", Interval.in_monthly),
        ("3M", Interval.in_3_monthly),
        ("6M", Interval.in_6_monthly),
        ("1y", Interval.in_yearly),
        *((interval.value, interval) for interval in Interval),
    ],
)
def test_hist_intervals(written, interval, loopback):
    """A bar's length is written as people do, or as TradingView does; m is not M."""
    is_paid_for = interval.value.endswith("S")
    status = main(["hist", "BINANCE:BTCUSDT", "--interval", written, "--bars", "2"])
    assert status == (1 if is_paid_for else 0)
    ((_session, _id, _turnaround, _symbol, asked, *_rest),) = series_of(loopback)
    assert asked == interval.value


@pytest.mark.parametrize(
    ("arguments", "symbol"),
    [
        (["nasdaq:aapl"], "NASDAQ:AAPL"),
        (["AAPL", "--exchange", "NASDAQ"], "NASDAQ:AAPL"),
        (["NASDAQ:AAPL", "--exchange", "nasdaq"], "NASDAQ:AAPL"),
        (["NIFTY", "--exchange", "NSE", "--fut-contract", "1"], "NSE:NIFTY1!"),
        (["NSE:NIFTY", "--fut-contract", "1"], "NSE:NIFTY1!"),
    ],
)
def test_hist_symbols(arguments, symbol, loopback):
    """A symbol names its exchange or --exchange does, and a contract's number is never lost."""
    assert main(["hist", *arguments]) == 0
    assert symbols_of(loopback) == [symbol]


def test_hist_spread(loopback, capsys):
    """A spread of two symbols is asked for as it is written."""
    assert main(["hist", "NASDAQ:AAPL/NASDAQ:MSFT"]) == 1
    assert symbols_of(loopback) == ["NASDAQ:AAPL/NASDAQ:MSFT"]


def test_hist_extended(loopback):
    """--extended asks for the bars outside the regular session."""
    assert main(["hist", "NASDAQ:AAPL", "--extended"]) == 0
    assert '"session":"extended"' in next(
        m.params[2] for m in loopback.received if m.method == "resolve_symbol"
    )


def test_hist_of_a_range(loopback, capsys):
    """--start and --end choose days, both included, and --trading-days names them."""
    arguments = ["--start", "2026-03-02", "--end", "2026-03-04", "--trading-days"]
    assert main(["hist", "NASDAQ:AAPL", *arguments, "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    days = [line.split(",")[0] for line in out.splitlines()[1:]]
    assert days == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert err == ""
    assert main(["hist", "NASDAQ:AAPL", "--end", "2026-03-04", "--bars", "2", *arguments[4:]]) == 0
    assert "2026-03-03" in capsys.readouterr().out.splitlines()[-2]


def test_hist_of_many_symbols(loopback, capsys):
    """Their bars follow each other; one that fails is told, and the exit code says so."""
    arguments = ["--exchange", "NASDAQ", "--bars", "2", "--format", "csv"]
    assert main(["hist", "AAPL", "NYSE:IBM", *arguments]) == 0
    out, err = capsys.readouterr()
    symbols = [line.split(",")[1] for line in out.splitlines()[1:]]
    assert symbols == ["NASDAQ:AAPL"] * 2 + ["NYSE:IBM"] * 2
    assert err == ""
    assert main(["hist", "AAPL", "NOPE", "MSFT", *arguments]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert "'NOPE' not found on NASDAQ" in err
    assert main(["hist", "NOPE", "NEVER", *arguments]) == 1
    assert capsys.readouterr().out == ""


def test_hist_of_many_zones_is_in_utc(loopback, capsys):
    """One column cannot have two zones, so times of several exchanges are in UTC."""
    arguments = ["--timezone", "exchange", "--bars", "1", "--format", "json"]
    assert main(["hist", "NASDAQ:AAPL", "NSE:RELIANCE", *arguments]) == 0
    stamps = [row["datetime"] for row in json.loads(capsys.readouterr().out)]
    assert all(stamp.endswith("+00:00") for stamp in stamps)


def test_hist_shows_progress_when_it_is_asked_to(loopback, capsys):
    """--progress draws a bar on stderr; in a pipe there is none by itself."""
    for option, is_drawn in ((["--progress"], True), (["--no-progress"], False), ([], False)):
        assert main(["hist", "NASDAQ:AAPL", "NYSE:IBM", "--bars", "1", *option]) == 0
        assert ("2/2" in capsys.readouterr().err) is is_drawn


def test_hist_passes_its_options_on(loopback):
    """What changes the bars reaches the wire."""
    options = ["--adjustment", "dividends", "--closed", "--bars", "3"]
    assert main(["hist", "NASDAQ:AAPL", *options]) == 0
    (spec,) = [r.params[2] for r in loopback.received if r.method == "resolve_symbol"]
    assert '"adjustment":"dividends"' in spec
    ((*_parts, count, _range),) = series_of(loopback)
    assert count == 4


def test_hist_tells_a_shortfall(loopback, capsys):
    """That fewer bars came than were asked for, or late ones, is told on stderr."""
    loopback.delay("SP:SPX", 900)
    assert main(["hist", "SP:SPX", "--interval", "1M", "--bars", "2000", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    rows = len(out.splitlines()) - 1
    assert lines_of(err) == [
        f"tvdatafeed: SP:SPX: {rows} of 2000 bars: no older bars exist",
        "tvdatafeed: SP:SPX: delayed by 900 s",
    ]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ([], 2, "arguments are required"),
        (["nonsense"], 2, "invalid choice"),
        (["hist"], 2, "SYMBOL"),
        (["hist", "AAPL"], 2, "write EXCHANGE:AAPL or add --exchange"),
        (["hist", "NASDAQ:AAPL", "--exchange", "NYSE"], 2, "not on NYSE"),
        (["hist", "A:B/C:D", "--fut-contract", "1"], 2, "--fut-contract is for one symbol"),
        (["hist", 'NASDAQ:"'], 2, "Data validation failed for symbol"),
        (["hist", "NASDAQ:AAPL", "--bars", "0"], 2, "at least 1"),
        (["hist", "NASDAQ:AAPL", "--bars", "9" * 30], 2, "Data validation failed for n_bars"),
        (["hist", "NASDAQ:AAPL", "--interval", "7m"], 2, "'7m' is none of 1s 5s"),
        (["hist", "NASDAQ:AAPL", "--interval", "15M"], 2, "'15M' is none of 1s 5s"),
        (["hist", "NASDAQ:AAPL", "--timezone", "Mars"], 2, "no such timezone"),
        (["hist", "NASDAQ:AAPL", "--output", "bars.xls"], 2, "add --format"),
        (["hist", "NASDAQ:AAPL", "--form", "csv"], 2, "unrecognized arguments"),
        (["hist", "NASDAQ:NOSUCH"], 1, "Symbol 'NOSUCH' not found on NASDAQ"),
        (["serve", "--heartbeat", "0"], 2, "'0' is not a number of seconds above 0"),
        (["serve", "--heartbeat", "soon"], 2, "'soon' is not a number of seconds"),
        (["serve", "--round-trip", "-1"], 2, "'-1' is not a number of seconds of at least 0"),
        (["serve", "--round-trip", "inf"], 2, "'inf' is not a number of seconds"),
        (["serve", "--speed", "-1"], 2, "'-1' is not a speed of at least 0"),
        (["serve", "--speed", "nan"], 2, "'nan' is not a speed of at least 0"),
        (["serve", "--start", "soon"], 2, "'soon' is no moment since 1900 in ISO 8601"),
        (["serve", "--start", ""], 2, "'' is no moment since 1900 in ISO 8601"),
        (["serve", "--start", "9999-12-31"], 2, "'9999-12-31' is no moment since 1900"),
        (["serve", "--bandwidth", "0"], 2, "'0' is not a number of bytes per second above 0"),
        (["serve", "--port", "65536"], 2, "no port between 0 and 65535"),
        (["serve", "--fault", "nonsense"], 2, "no fault is named 'nonsense'"),
        (["serve", "--fault", "drip:speed=1"], 2, "drip has no field 'speed'"),
        (["serve", "--fault", "drip:times=x"], 2, "--fault drip:times=x"),
    ],
)
def test_failures(arguments, exit_code, words, loopback, capsys):
    """A failure is one line that says who speaks and what is wrong, and an exit code."""
    assert main(arguments) == exit_code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = lines_of(err)
    assert words in line


def test_bad_setting(loopback, monkeypatch, capsys):
    """A variable that cannot be used is named, and counts as a mistake of the user."""
    monkeypatch.setenv("TV_WS_TIMEOUT", "soon")
    assert main(["hist", "NASDAQ:AAPL"]) == 2
    (line,) = lines_of(capsys.readouterr().err)
    assert "TV_WS_TIMEOUT" in line


def test_warnings(loopback, capsys):
    """What the library warns about is a line on stderr, and the data stay clean."""
    loopback.inject(ReplaceBars(rows=[[1786714200, 5.0, 4.0, 6.0, 5.0, 1.0]]))
    assert main(["hist", "NASDAQ:AAPL", "--bars", "1", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert any("1 whose high or low" in line for line in lines_of(err))


def test_debug(loopback, capsys):
    """--debug shows the log with all that is sent on stderr, and the data stay clean."""
    assert main(["hist", "NASDAQ:AAPL", "--format", "csv", "--debug"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 11
    assert "tvDatafeed.network.connection: sent " in err
    assert '"create_series"' in err


def test_logging_is_left_as_it_was(loopback):
    """A command's handler is gone when the command is."""
    library = logging.getLogger("tvDatafeed")
    before = (library.level, list(library.handlers))
    assert main(["hist", "NASDAQ:AAPL", "--debug"]) == 0
    assert (library.level, list(library.handlers)) == before


def test_version(capsys):
    """--version names the program and its version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tvdatafeed {tvDatafeed.__version__}\n"


@pytest.mark.parametrize(
    "command", ["", "demo", "hist", "search", "login", "logout", "whoami", "serve"]
)
def test_help(command, capsys):
    """Help has examples, and each example is a command line that would be understood."""
    assert main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    examples = out.partition("examples:\n")[2].partition("\n\n")[0]
    assert f"  tvdatafeed {command or 'hist'} " in examples


@pytest.mark.slow
def test_help_is_quick():
    """Help loads nothing that takes its time."""
    with start("-X", "importtime", "-m", "tvDatafeed", "--help") as program:
        _out, err = program.communicate()
    loaded = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "tvDatafeed.cli.app" in loaded
    assert loaded.isdisjoint({"pandas", "numpy", "ssl", "websocket", "tvDatafeed.testing"})


def test_console_script():
    """The installed command is the function these tests call."""
    scripts = importlib.metadata.entry_points(group="console_scripts", name="tvdatafeed")
    if not scripts:
        pytest.skip("the package is not installed here")
    assert all(script.value == "tvDatafeed.cli:main" for script in scripts)


@pytest.mark.slow
def test_closed_pipe(server):
    """A reader that has seen enough, as head has, ends the program without a word."""
    question = ["hist", "NASDAQ:AAPL", "--bars", "5000", "--format", "csv"]
    with start("-m", "tvDatafeed", *question, server=server) as program:
        assert program.stdout.readline() == "datetime,symbol,open,high,low,close,volume\n"
        program.stdout.close()
        assert program.stderr.read() == ""
    assert program.returncode == 141


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a disk that is always full")
@pytest.mark.slow
def test_full_disk(server):
    """A stdout that cannot be written to is one sentence and no traceback."""
    with (
        open("/dev/full", "w", encoding="utf-8") as full,  # noqa: PTH123 - no path to work with
        start("-m", "tvDatafeed", "hist", "NASDAQ:AAPL", server=server, stdout=full) as program,
    ):
        err = program.stderr.read()
    assert err == "tvdatafeed: cannot write to stdout: No space left on device\n"
    assert program.returncode == 1


@needs_signals
@pytest.mark.slow
def test_interrupt(server):
    """Ctrl-C ends a command that waits, at once and without a traceback."""
    server.inject(NoCompletion())
    with start("-c", PROGRAM, "hist", "NASDAQ:AAPL", server=server) as program:
        assert server.wait_until(series_of, PATIENCE_S)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
    assert (program.returncode, out, err) == (130, "", "")


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_serve(number):
    """Serve prints three lines to export, serves whoever uses them, and ends well when told to."""
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
    """Whoever has none of their own can sign in in each way that the README has."""
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
    """The clock of the market starts when it is told to, and stands still at no speed."""
    with serving("--start", moment, "--speed", "0") as network:
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv:
            bars = tv.get_hist("BTCUSDT", "BINANCE", Interval.in_1_minute, 3, timezone="UTC")
    last = Market().bars("BINANCE:BTCUSDT", "1", 1, NOW)[0]
    assert (bars.index[-1].timestamp(), bars["close"].iloc[-1]) == (last.time, last.close)


@needs_signals
@pytest.mark.slow
def test_serve_is_live():
    """Whoever leaves a series open is told of new bars, and a fast clock brings them soon."""
    with serving("--start", "2026-08-14T22:00Z", "--speed", "600") as network:
        client = Client(SimpleNamespace(ws_url=network.ws_url))
        with client.socket.sock:
            client.greet()
            client.history("BINANCE:BTCUSDT", "1", 10)
            while client.messages()[0]["m"] != "timescale_update":
                pass


@contextlib.contextmanager
def serving(*arguments):
    """Run a server, and give the network settings that it prints."""
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
