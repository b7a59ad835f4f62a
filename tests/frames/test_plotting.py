"""Pictures of bars: what is drawn, saved and refused."""

import builtins
import io

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from tests.loopback import NOW
from tvDatafeed import ConfigurationError, DataValidationError, Interval, plot
from tvDatafeed.cli.app import main
from tvDatafeed.testing import FakeTradingView

pytestmark = pytest.mark.slow  # matplotlib takes seconds to begin


@pytest.fixture(scope="module", autouse=True)
def _no_windows():
    """Whatever this machine has; and the fonts, which stay open, are not a leak of a test."""
    mpl.use("agg")
    plt.figure().text(0, 0, "a $10^{6}$").figure.savefig(io.BytesIO())
    plt.close()


@pytest.fixture
def bars(tv):
    return tv.get_hist("NASDAQ:AAPL", n_bars=60)


def test_candles_and_volume(bars, tmp_path):
    """The picture has both, is saved to its path, and nothing else keeps it."""
    path = tmp_path / "aapl.png"
    figure = plot(bars, path=path, averages=(10, 20, 1000))
    assert path.read_bytes().startswith(b"\x89PNG")
    prices, volume = figure.axes[0], figure.axes[2]
    assert prices.get_title() == "NASDAQ:AAPL"
    assert [text.get_text() for text in prices.get_legend().get_texts()] == [
        "average of 10 bars",
        "average of 20 bars",
    ]
    assert [bar.get_height() for bar in volume.patches] == list(bars["volume"])
    assert plt.get_fignums() == []


@pytest.mark.parametrize("kind", ["candle", "ohlc", "line"])
def test_kinds(bars, tmp_path, kind):
    """Each in the file that its ending says, with the averages named after themselves."""
    path = tmp_path / "aapl.svg"
    figure = plot(bars, path=path, kind=kind, title="Apple", averages=[5])
    assert "</svg>" in path.read_text(encoding="utf-8")
    axes = figure.axes[0]
    assert axes.get_title() == "Apple"
    (line,) = axes.get_legend().get_lines()
    assert line.get_color() == axes.get_lines()[-1].get_color()


def test_bars_of_a_zone_are_drawn_at_their_wall_times(tv):
    """And an intraday series has no gaps where the market sleeps."""
    bars = tv.get_hist(
        "NASDAQ:AAPL", interval=Interval.in_1_hour, n_bars=30, timezone="America/New_York"
    )
    figure = plot(bars)
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[2].get_xticklabels()]
    shown = {f"{moment:%b %d, %H:%M}" for moment in bars.index}
    assert {label for label in labels if label} <= shown


def test_window(bars, monkeypatch, tmp_path):
    """It is opened where there are windows, and not for a file."""
    shown = []
    monkeypatch.setattr("tvDatafeed.frames.plot._has_windows", lambda: True)  # CI has none
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    plot(bars, path=tmp_path / "aapl.png")
    assert shown == []
    plot(bars)
    assert [len(figures) for figures in shown] == [1]


def test_bars_without_volume(bars):
    """An index has none, and no empty room for it."""
    assert len(plot(bars.assign(volume=0.0)).axes) == 2
    assert len(plot(bars.assign(volume=float("nan"))).axes) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda bars: bars[:0], "they are none"),
        (lambda bars: pd.concat([bars, bars.assign(symbol="X:Y")]), "of 2 symbols"),
        (lambda bars: bars[["open"]], "must have the columns symbol, high, low, close, volume"),
        (lambda _bars: None, "must have the columns"),
    ],
)
def test_what_cannot_be_drawn(bars, change, words):
    """Is said before anything is."""
    with pytest.raises(DataValidationError, match=words):
        plot(change(bars))


def test_a_kind_that_does_not_exist(bars):
    """Is named with those that do."""
    with pytest.raises(DataValidationError, match="candle, ohlc, line"):
        plot(bars, kind="renko")


def test_without_mplfinance(bars, monkeypatch):
    """The error has the line that installs it."""
    real = builtins.__import__

    def missing(name, *arguments):
        if name == "mplfinance":
            raise ImportError("No module named 'mplfinance'")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigurationError, match=r"pip install \"tvdatafeed\[plot\]\""):
        plot(bars)


class TestCommand:
    """``tvdatafeed hist --plot``."""

    @pytest.fixture
    def loopback(self, monkeypatch):
        with FakeTradingView(clock=lambda: NOW) as server:
            monkeypatch.setenv("TV_WS_URL", server.ws_url)
            monkeypatch.setenv("TV_TOKEN_CACHE", "off")
            yield server

    @pytest.mark.parametrize("options", [[], ["--format", "csv"]], ids=["alone", "with bars"])
    def test_draws(self, loopback, tmp_path, capsys, options):
        """The bars are printed too where that is requested."""
        path = tmp_path / "aapl.png"
        assert main(["hist", "NASDAQ:AAPL", "--bars", "30", "--plot", str(path), *options]) == 0
        out, err = capsys.readouterr()
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"drew 30 bars into {path}" in err
        assert out.count("\n") == (31 if options else 0)

    @pytest.mark.parametrize(
        ("arguments", "words", "code"),
        [
            (["A:B", "C:D", "--plot", "x.png"], "draws one symbol", 2),
            (["A:B", "--plot", "x.xyz"], "does not end in one of .png, .svg, .pdf, .jpg", 2),
            (["NASDAQ:AAPL", "--plot", "no/such/folder/x.png"], "cannot write", 1),
        ],
    )
    def test_mistakes(self, loopback, capsys, arguments, words, code):
        """Are one line, and no traceback."""
        assert main(["hist", *arguments]) == code
        out, err = capsys.readouterr()
        assert (out, words in err, "Traceback" in err) == ("", True, False)

    def test_without_mplfinance(self, loopback, capsys, monkeypatch):
        """The line that installs it."""
        monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
        assert main(["hist", "A:B", "--plot", "x.png"]) == 1
        assert 'pip install "tvdatafeed[plot]"' in capsys.readouterr().err
