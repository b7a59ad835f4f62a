"""The hist command prints or writes bars in each format and passes its options on."""

import io
import json
import sys

import pandas as pd
import pytest

from tests.cli.command import lines_of, series_of, symbols_of
from tests.loopback import NOW, expected
from tests.programs import urls
from tvDatafeed import Interval
from tvDatafeed.cli.app import main
from tvDatafeed.interval import as_interval
from tvDatafeed.testing import Account, FakeTradingView


@pytest.fixture(scope="module", autouse=True)
def _parquet_is_loaded():
    """What pyarrow opens at its first use, it keeps: no test has leaked that."""
    pd.DataFrame({"close": [1.0]}).to_parquet(io.BytesIO())


def test_hist_table(loopback, capsys):
    """A table of the last ten daily bars is what hist prints if nothing else is requested."""
    assert main(["hist", "NASDAQ:AAPL", "--timezone", "UTC"]) == 0
    out, err = capsys.readouterr()
    bars = expected(loopback, "NASDAQ:AAPL", Interval.in_daily, 10)
    texts = bars.astype({"volume": int}).to_string()
    assert out == f"{texts}\n"
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
        ("daily", Interval.in_daily),
        ("1mo", Interval.in_monthly),
        ("60", Interval.in_1_hour),
        ("2m", as_interval("2m")),
        ("2D", as_interval("2D")),
        *((interval.value, interval) for interval in Interval),
    ],
)
@pytest.mark.slow
def test_hist_intervals(written, interval, loopback):
    """A bar's length is written as people do, or as TradingView does; m is not M."""
    is_paid_for = interval.value.endswith("S")
    status = main(["hist", "BINANCE:BTCUSDT", "--interval", written, "--bars", "2"])
    assert status == (1 if is_paid_for else 0)
    ((_session, _id, _turnaround, _symbol, asked, *_rest),) = series_of(loopback)
    assert asked == interval.value


def test_hist_of_a_length_without_a_member(monkeypatch, capsys):
    """Six hours are sent as TradingView has them; without a plan for them its reason is shown."""
    alice = Account("alice", "open sesame", plan="pro_premium")
    with FakeTradingView(clock=lambda: NOW, accounts=(alice,)) as running:
        for variable, url in (urls(running) | {"TV_TOKEN_CACHE": "off"}).items():
            monkeypatch.setenv(variable, url)
        arguments = ["hist", "BINANCE:BTCUSDT", "--interval", "6h", "--format", "csv"]
        assert main(arguments) == 1
        assert "custom_resolution" in capsys.readouterr().err
        monkeypatch.setenv("TV_AUTH_TOKEN", running.issue_token("alice"))
        assert main([*arguments, "--timezone", "UTC"]) == 0
        out = capsys.readouterr().out
        bars = expected(running, "BINANCE:BTCUSDT", as_interval("6h"), 10)
    read = pd.read_csv(io.StringIO(out), index_col="datetime", parse_dates=True)
    pd.testing.assert_frame_equal(
        read, bars, check_dtype=False, check_index_type=False, check_exact=True
    )


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
    """A spread of two symbols is requested as it is written."""
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
    """The bars of the symbols follow each other; a failure is reported and sets the exit code."""
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
    """--progress draws a bar on stderr; without it a pipe gets no bar."""
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
    """Missing bars and delayed data are reported on stderr."""
    loopback.delay("SP:SPX", 900)
    assert main(["hist", "SP:SPX", "--interval", "1M", "--bars", "2000", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    rows = len(out.splitlines()) - 1
    assert lines_of(err) == [
        f"tvdatafeed: SP:SPX: {rows} of 2000 bars: no older bars exist",
        "tvdatafeed: SP:SPX: delayed by 900 s",
    ]


@pytest.mark.parametrize("period", ["1mo", "1MO"])
def test_hist_of_a_period(loopback, capsys, period):
    """--period is a length of time up to now, or up to --end."""
    question = ["hist", "NASDAQ:AAPL", "--timezone=UTC", "--format=csv"]
    assert main([*question, "--period", period, "--end=2026-07-31"]) == 0
    out, _err = capsys.readouterr()
    times = pd.read_csv(io.StringIO(out))["datetime"]
    assert (times.iloc[0][:10], times.iloc[-1][:10]) == ("2026-06-30", "2026-07-31")
    for start in ("2026-06-30", "20260630", "1782777600", "1782777600.0"):
        assert main([*question, f"--start={start}", "--end=20260731"]) == 0
        assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--period=1y", "--bars=5"], "cannot go with n_bars"),
        (["--period=1y", "--start=2024-01-01"], "cannot go with start_date"),
        (["--period=7d"], "invalid choice"),
        (["--start=1782777600000"], "looks like milliseconds; pass epoch seconds, such as 17827"),
    ],
)
def test_hist_of_a_period_that_cannot_be_right(loopback, capsys, options, words):
    """Nothing is sent, and one line says why."""
    try:
        code = main(["hist", "NASDAQ:AAPL", *options])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert words in capsys.readouterr().err
    assert loopback.connections_opened == 0
