"""Every table fits the terminal, with every option; no price is cut in two."""

import dataclasses
import re
import sys

import pytest

from tests.loopback import NOW
from tests.programs import urls
from tvDatafeed.cli.app import main
from tvDatafeed.cli.table import width_of
from tvDatafeed.delivery import Outbox, Webhook
from tvDatafeed.testing import LISTINGS, FakeTradingView, Market, MarketClock

APPLE = next(listing for listing in LISTINGS if listing.symbol == "NASDAQ:AAPL")
TOKYO = next(listing for listing in LISTINGS if listing.timezone == "Asia/Tokyo")
WIDE = dataclasses.replace(TOKYO, symbol="東証:株式会社日本", description="株式会社日本 " * 9)
LONG = dataclasses.replace(APPLE, symbol="NASDAQ:AVERYLONGNAMEOFASYMBOL241220C150")
MARKET = Market((*LISTINGS, WIDE, LONG))
PRICE = re.compile(r"\d+\.\d+")

HIST = [
    ["NASDAQ:AAPL"],
    ["NASDAQ:AAPL", "--timezone", "UTC", "--interval", "1m", "--extended"],
    ["NASDAQ:AAPL", "--timezone", "exchange", "--trading-days", "--adjustment", "dividends"],
    ["NASDAQ:AAPL", "--currency", "INR", "--closed", "--timezone", "America/New_York"],
    ["NSE:NIFTY", "--fut-contract", "1", "--backadjusted", "--timezone", "Asia/Kolkata"],
    ["NASDAQ:AAPL", "NSE:NIFTY", "BINANCE:BTCUSDT", "--timezone", "exchange"],
    ["NASDAQ:AAPL", WIDE.symbol, "--timezone", "UTC", "--format", "table"],
    [LONG.symbol, "NASDAQ:AAPL", "--period", "5d", "--timezone", "UTC"],
]


@pytest.fixture
def server(monkeypatch):
    """A loopback TradingView that the environment names, with symbols in Japanese."""
    monkeypatch.setenv("TV_TOKEN_CACHE", "off")
    with FakeTradingView(clock=MarketClock(NOW, speed=0), market=MARKET) as running:
        for variable, url in urls(running).items():
            monkeypatch.setenv(variable, url)
        yield running


@pytest.fixture
def shown(server, monkeypatch, capsys):
    """Returns what a command writes in a terminal of some columns: lines of stdout, and stderr."""

    def run(columns, *arguments, exit_code=0):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(list(arguments)) == exit_code
        out, err = capsys.readouterr()
        return [re.sub(r"\x1b\[\d*[A-Z]", "", line) for line in out.splitlines()], err

    return run


def too_wide(lines, columns):
    """Return the lines that take more columns than there are."""
    return [line for line in lines if width_of(line) > columns]


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("options", HIST, ids=" ".join)
def test_hist(shown, columns, options):
    """No line is wider; the close of each bar is whole, and a note says what is left out."""
    lines, err = shown(columns, "hist", *options)
    assert too_wide(lines, columns) == []
    assert lines[0].split()[-1] in {"close", "volume"}
    whole, _err = shown(1000, "hist", *options)
    place = whole[0].split().index("close") - len(whole[0].split())
    closes = [line.split()[place] for line in whole[2:]]
    place = lines[0].split().index("close") - len(lines[0].split())
    assert [line.split()[place] for line in lines[2:]] == closes
    left_out = set(whole[0].split()) - set(lines[0].split())
    for name in left_out:
        assert re.search(rf"without .*\b{name}\b.*; --format csv has everything", err)


def test_hist_in_a_pipe_has_all_columns(server, monkeypatch, capsys):
    """What another program reads is not cut, whatever COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["hist", "NASDAQ:AAPL", "--timezone", "UTC"]) == 0
    out, err = capsys.readouterr()
    heads = ["symbol", "open", "high", "low", "close", "volume"]
    assert out.splitlines()[0].split() == heads
    assert "+00:00" in out
    assert err == ""


def test_a_file_has_all_columns(shown, tmp_path):
    """A table that is written to a file is not cut either."""
    file = tmp_path / "bars.txt"
    lines, _err = shown(40, "hist", "NASDAQ:AAPL", "--output", str(file))
    assert lines == []
    assert "volume" in file.read_text(encoding="utf-8").splitlines()[0]


def test_wide_characters_are_counted_by_their_width(shown):
    """The columns of a table of bars stand below each other, whatever the script."""
    lines, _err = shown(200, "hist", "NASDAQ:AAPL", WIDE.symbol, "--bars", "2")
    assert any(WIDE.symbol in line for line in lines)
    assert len({width_of(line) for line in lines}) == 1


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize(
    "command",
    [
        ["search", "aapl"],
        ["search", "株式会社"],
        ["live", "NASDAQ:AAPL", WIDE.symbol, "--count", "2"],
        ["live", "NASDAQ:AAPL", "--count", "1", "--forming", "--timezone", "exchange"],
        ["demo", "--bars", "50"],
    ],
    ids=" ".join,
)
def test_tables_of_symbols(shown, columns, command):
    """Searching, following and the demo."""
    lines, _err = shown(columns, *command)
    assert lines
    assert too_wide(lines, columns) == []


def test_live_shows_the_price_in_a_narrow_terminal(shown):
    """The close is the last number to go."""
    lines, _err = shown(40, "live", "NASDAQ:AAPL", "--count", "1")
    row = next(line for line in lines if line.startswith("NASDAQ:AAPL"))
    assert PRICE.search(row)


@pytest.mark.parametrize("columns", [40, 80])
def test_doctor(shown, columns):
    """A message that is too long continues below, and nothing of it is lost."""
    lines, _err = shown(columns, "doctor", "--symbol", "NASDAQ:AAPL", exit_code=1)
    assert too_wide(lines, columns) == []
    text = " ".join(" ".join(lines).split())
    assert "OpenSSL" in text
    assert "next step: set the clock of this machine, by NTP for example" in text


@pytest.mark.parametrize("columns", [40, 80])
def test_store(shown, columns, tmp_path):
    """What a store holds: figures continue below, of series the name and the number stay."""
    store = str(tmp_path / "a folder with a name that is long" / "bars.db")
    symbols = ["NASDAQ:AAPL", "BINANCE:BTCUSDT", WIDE.symbol]
    shown(columns, "store", "warm", *symbols, "--bars", "1200", "--url", store)
    lines, _err = shown(columns, "store", "ls", "--url", store)
    assert too_wide(lines, columns) == []
    assert lines[0].split()[:3] == ["SYMBOL", "INTERVAL", "BARS"]
    assert {WIDE.symbol, "BINANCE:BTCUSDT"} <= {line.split()[0] for line in lines[1:]}
    lines, _err = shown(columns, "store", "stats", "--url", store)
    assert too_wide(lines, columns) == []
    assert "bars.db" in "".join(line.strip() for line in lines)


@pytest.mark.parametrize("columns", [40, 80])
def test_outbox(shown, columns, tmp_path):
    """What waits to be delivered: the id is whole, since the other commands need it."""
    path = tmp_path / "a folder with a name that is long" / "outbox.db"
    path.parent.mkdir()
    with Outbox(path) as outbox:
        with Webhook("http://127.0.0.1:9/", secret="whsec_" + "A" * 44, outbox=outbox) as hook:
            hook.send("signal.created", {"text": "株式会社"})
        (waiting,) = outbox.pending()
    lines, _err = shown(columns, "deliver", "ls", "--outbox", str(path))
    assert too_wide(lines, columns) == []
    assert lines[1].split()[0] == waiting.id
    lines, _err = shown(columns, "deliver", "status", "--outbox", str(path))
    assert too_wide(lines, columns) == []
    assert "outbox.db" in "".join(line.strip() for line in lines)
