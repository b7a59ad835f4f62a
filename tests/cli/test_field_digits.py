"""Tables of the command line show no exponents, and prices that differ look different."""

import datetime as dt
import re
import sys

import pytest

from tests.feed import LiveServer
from tests.programs import urls
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.cli.app import main
from tvDatafeed.testing import LISTINGS, Listing, Market, ReplaceBars

HUGE, TINY, FINE, WHOLE = "X:HUGE", "X:TINY", "X:FINE", "X:WHOLE"
DAY = dt.date(2020, 1, 1)
MARKET = Market(
    (
        *LISTINGS,
        Listing(HUGE, "", 123_456_789.0, DAY, 15_492.0, pricescale=1),
        Listing(TINY, "", 0.0000234, DAY, 1e-7, pricescale=10**10, volume="fractional"),
        Listing(FINE, "", 64_123.5, DAY, pricescale=10**9, volatility=1e-10),
        Listing(WHOLE, "", 40.0, DAY, pricescale=1, volume=None),
    )
)
SYMBOLS = (HUGE, TINY, FINE, WHOLE, "NASDAQ:AAPL")
PRICES = ("open", "high", "low", "close")


@pytest.fixture
def server(monkeypatch):
    with LiveServer(market=MARKET) as running:
        monkeypatch.setenv("TV_TOKEN_CACHE", "off")
        for variable, url in urls(running).items():
            monkeypatch.setenv(variable, url)
        yield running


def rows_of(out):
    """The numbers of the rows of a table, as texts: four prices and the volume."""
    rows = [line.split() for line in out.partition("\n\n")[0].splitlines()]
    return [row[-5:] for row in rows if any(cell in SYMBOLS for cell in row)]


def assert_readable(shown, bar):
    """No exponent, whole numbers whole, and prices are alike only where they are the same."""
    numbers = [*(bar[name] for name in PRICES), bar["volume"]]
    for text, number in zip(shown, numbers, strict=True):
        assert re.fullmatch(r"\d+(\.\d+)?", text)
        assert float(text) == pytest.approx(number, rel=1e-9)
        assert (float(text) == 0) == (number == 0)
    assert len(set(shown[:4])) == len({bar[name] for name in PRICES})


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("interval", ["1m", "1d"])
def test_hist(server, capsys, symbol, interval):
    """Each bar of the table is what came."""
    assert main(["hist", symbol, "--interval", interval, "--bars", "200"]) == 0
    rows = rows_of(capsys.readouterr().out)
    with TvDatafeed(config=server.config()) as tv:
        length = {"1m": Interval.in_1_minute, "1d": Interval.in_daily}[interval]
        bars = tv.get_hist(symbol, interval=length, n_bars=200)
    for shown, (_opened, bar) in zip(rows, bars.iterrows(), strict=True):
        assert_readable(shown, bar)
        if symbol in {HUGE, WHOLE}:
            assert not any("." in text for text in shown)


def test_symbols_beside_each_other(server, capsys):
    """Each symbol has its own digits: those of one do not widen another."""
    assert main(["hist", *SYMBOLS, "--bars", "3"]) == 0
    both = capsys.readouterr().out
    rows = iter(rows_of(both))
    for symbol in SYMBOLS:
        assert main(["hist", symbol, "--bars", "3"]) == 0
        for alone in rows_of(capsys.readouterr().out):
            assert next(rows) == alone


@pytest.mark.parametrize("symbol", SYMBOLS[:4])
def test_live(server, capsys, monkeypatch, symbol):
    """The table in a terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["live", symbol, "--count", "1"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(symbol))
    shown = line.split()
    with TvDatafeed(config=server.config()) as tv:
        bars = tv.get_hist(symbol, interval=Interval.in_1_minute, n_bars=2)
    assert_readable(shown[3:8], bars.iloc[0])


@pytest.mark.parametrize("name", [TINY, HUGE])
def test_demo(capsys, monkeypatch, name):
    """The demo's table has the same digits."""
    monkeypatch.setattr("tvDatafeed.testing.server.Market", lambda: MARKET)
    assert main(["demo", "--symbol", name, "--bars", "50", "--interval", "1m"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 10
    assert max(len(set(row[:4])) for row in rows) > 2
    for row in rows:
        assert all(re.fullmatch(r"\d+(\.\d+)?", text) for text in row)


def test_digits_that_tell_nothing_apart_are_not_shown(server, capsys):
    """Ten digits, and more only between prices that differ beyond them; a missing one is NaN."""
    noisy = [183.07320472930133, 183.5, 0.1 + 0.2, None, 2.0]
    close = [64123.456789012, 64123.456789013, 64123.456789012, 64123.456789012, 1e22]
    for row, texts in (
        (noisy, ["183.0732047", "183.5000000", "0.3000000", "NaN", "2"]),
        (close, ["64123.456789012", "64123.456789013", *["64123.456789012"] * 2, f"{10**22}"]),
    ):
        server.inject(ReplaceBars(rows=lambda true, row=row: [[true[-1][0], *row]]))
        assert main(["hist", HUGE, "--bars", "1"]) == 0
        assert rows_of(capsys.readouterr().out) == [texts]
