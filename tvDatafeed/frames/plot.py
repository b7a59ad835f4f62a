"""Pictures of bars: candles and volume, drawn by mplfinance."""

import warnings
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tvDatafeed.exceptions import ConfigurationError, DataValidationError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Kind: TypeAlias = Literal["candle", "ohlc", "line"]

_COLUMNS = ("open", "high", "low", "close", "volume")
_KINDS = ("candle", "ohlc", "line")
# Twelve by seven inches fill a notebook, and a screen at 100 dots per inch.
_SIZE_IN = (12.0, 7.0)
_DOTS_PER_IN = 100


def plot(
    bars: "pd.DataFrame",
    *,
    path: "str | PathLike[str] | None" = None,
    title: str | None = None,
    kind: Kind = "candle",
    averages: Sequence[int] = (),
    **options: Any,
) -> "Figure":
    """Draw bars: candles, and their volume below them if they have any.

    Without `path`, on a machine with windows, this opens one and waits until it is closed. A
    notebook shows the returned figure.

    Parameters
    ----------
    bars : pandas.DataFrame
        Bars of one symbol, as from `TvDatafeed.get_hist`. Times are shown in the index's own zone.
    path : str or path, optional
        The file for the picture; its ending selects the format: ``.png``, ``.svg``, ``.pdf``.
    title : str, optional
        Default: the symbol.
    kind : {"candle", "ohlc", "line"}, default "candle"
        The style of a bar.
    averages : sequence of int, default ()
        Lengths of moving averages of the close, in bars, such as ``(20, 50)``.
    **options
        Further options of ``mplfinance.plot``, which take precedence.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ConfigurationError
        mplfinance is not installed.
    DataValidationError
        There is no bar, the bars are of several symbols, or an argument is invalid.

    Examples
    --------
    >>> from tvDatafeed import TvDatafeed, plot
    >>> from tvDatafeed.testing import FakeTradingView
    >>> with FakeTradingView() as server, TvDatafeed(config=server.config()) as tv:
    ...     bars = tv.get_hist("NASDAQ:AAPL", n_bars=60)
    >>> figure = plot(bars, averages=(10, 20))  # doctest: +SKIP
    """
    symbol = _symbol_of(bars)
    if kind not in _KINDS:
        raise DataValidationError("kind", kind, f"must be one of {', '.join(_KINDS)}")
    try:
        import mplfinance  # noqa: PLC0415 - an extra
        from matplotlib import pyplot as plt  # noqa: PLC0415 - it comes with it
    except ImportError as error:
        what = f'needs mplfinance: pip install "tvdatafeed[plot]" ({error})'
        raise ConfigurationError("plot", None, what) from error
    lengths = tuple(length for length in averages if length < len(bars))
    drawn = {
        "type": kind,
        "columns": _COLUMNS,
        "volume": bool((bars["volume"] > 0).any()),
        "style": "yahoo",
        "figsize": _SIZE_IN,
        "axtitle": symbol if title is None else title,
        "ylabel": "",
        "scale_padding": {"left": 0.3, "right": 0.8, "top": 0.5, "bottom": 0.8},
        "xrotation": 0,
        "warn_too_much_data": len(bars) + 1,
        **({"mav": lengths} if lengths else {}),
        **options,
    }
    with warnings.catch_warnings():
        # Users cannot do anything about the libraries' warnings about each other.
        warnings.simplefilter("ignore", (DeprecationWarning, FutureWarning))
        figure, axes = mplfinance.plot(_without_zone(bars), returnfig=True, **drawn)
    if lengths:
        names = [f"average of {length} bars" for length in lengths]
        axes[0].legend(axes[0].get_lines()[-len(names) :], names, loc="best")
    if path is not None:
        figure.savefig(path, dpi=_DOTS_PER_IN, bbox_inches="tight", pad_inches=0.2)
    elif _has_windows():
        plt.show()
    # The caller owns the figure; pyplot would keep it, and show it a second time in notebooks.
    plt.close(figure)
    return figure  # type: ignore[no-any-return]  # mplfinance has no types


def _symbol_of(bars: "pd.DataFrame") -> str:
    missing = [name for name in ("symbol", *_COLUMNS) if name not in getattr(bars, "columns", ())]
    if missing:
        lacks = f"must have the columns {', '.join(missing)}"
        raise DataValidationError("bars", type(bars).__name__, lacks)
    symbols = bars["symbol"].unique()
    if len(symbols) != 1:
        what = f"of {len(symbols)} symbols" if len(symbols) else "none"
        shown = f"{len(bars)} bars"
        raise DataValidationError("bars", shown, f"must be of one symbol, and they are {what}")
    return str(symbols[0])


def _without_zone(bars: "pd.DataFrame") -> "pd.DataFrame":
    """Return the bars with naive wall times, which are drawn unchanged."""
    index: Any = bars.index
    return bars if index.tz is None else bars.set_axis(index.tz_localize(None))


def _has_windows() -> bool:
    import matplotlib as mpl  # noqa: PLC0415 - with the extra

    backend = str(mpl.get_backend()).lower()
    drawing_only = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}
    return backend not in drawing_only and "inline" not in backend and "ipympl" not in backend
