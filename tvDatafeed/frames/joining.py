"""Join the frames of several symbols."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import pandas as pd

from tvDatafeed.exceptions import DataValidationError, TvDatafeedError
from tvDatafeed.frames.bars import html_table, in_one_zone

Layout: TypeAlias = Literal["long", "wide"]

_FIELDS = ["open", "high", "low", "close", "volume"]


def one_frame(frames: Mapping[str, pd.DataFrame], layout: Layout) -> pd.DataFrame:
    """Join frames of bars; see `Frames.to_frame`."""
    if layout not in {"long", "wide"}:
        raise DataValidationError("layout", layout, "must be 'long' or 'wide'")
    parts = {name: frame[_FIELDS] for name, frame in in_one_zone(frames).items()}
    parts = parts or {"": _no_bars()}
    if layout == "wide":
        wide = pd.concat(parts, axis=1, names=["symbol", "field"], sort=True).swaplevel(axis=1)
        columns = [(field, name) for field in _FIELDS for name in frames]
        names = ["field", "symbol"]
        return wide[columns] if columns else wide.reindex(columns=_no_columns(names))
    return pd.concat(parts, names=["symbol", "datetime"])


def _no_bars() -> pd.DataFrame:
    index = pd.DatetimeIndex([], name="datetime").as_unit("ns")
    return pd.DataFrame({name: pd.Series(dtype="float64") for name in _FIELDS}, index=index)


def _no_columns(names: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([[], []], names=names)


def overview(frames: Mapping[str, pd.DataFrame], errors: Mapping[str, TvDatafeedError]) -> str:
    """Return an overview of the frames and errors, for notebooks."""
    rows: list[dict[str, Any]] = [
        {
            "symbol": name,
            "bars": len(frame),
            "first": frame.index[0] if len(frame) else "",
            "last": frame.index[-1] if len(frame) else "",
            "close": frame["close"].iloc[-1] if len(frame) else "",
            "error": "",
        }
        for name, frame in frames.items()
    ]
    rows += [
        {"symbol": name, "bars": 0, "first": "", "last": "", "close": "", "error": str(error)}
        for name, error in errors.items()
    ]
    return html_table(rows)
