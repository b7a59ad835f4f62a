"""Series as Parquet files, one each, which other programs read and any store imports.

The columns are ``datetime``, ``epoch_s``, ``open``, ``high``, ``low``, ``close`` and ``volume``.
The key of the series and the ranges that TradingView has answered stand in the file's metadata.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np

from tvDatafeed.exceptions import DataValidationError, StoreError
from tvDatafeed.protocol.series import EARLIEST_BAR_S, LATEST_BAR_S
from tvDatafeed.store.copies import SeriesCopy, copy_of, put_copy
from tvDatafeed.store.key import FEEDS, SeriesKey
from tvDatafeed.store.records import SeriesInfo, SeriesNotes
from tvDatafeed.store.spans import Spans, added

if TYPE_CHECKING:
    from tvDatafeed.store.barstore import BarStore

_METADATA = b"tvdatafeed"
_FORMAT = 1
_NUMBERS = ("epoch_s", "open", "high", "low", "close", "volume")
_LONGEST_NAME = 80
_HASH_DIGITS = 8


class Imported(NamedTuple):
    """What was imported from a file: the series, and how many bars the store did not have."""

    symbol: str
    interval: str
    bars: int


def export_series(store: "BarStore", info: SeriesInfo, folder: "str | os.PathLike[str]") -> Path:
    """Write a series into a Parquet file; one of before is replaced.

    Parameters
    ----------
    store : BarStore
        The store.
    info : SeriesInfo
        The series, as from `BarStore.series`.
    folder : str or path
        Where the file is put; it must exist.

    Returns
    -------
    Path
        The file. Its name has the symbol, the interval and eight digits that depend on the rest
        of the key.

    Raises
    ------
    StoreError
        When the store cannot be read, the file cannot be written, or pyarrow is missing.
    DataNotFoundError
        When the series was removed meanwhile.
    """
    pa, pq = _pyarrow()
    key = SeriesKey(
        info.symbol,
        info.interval,
        info.session,
        info.adjustment,
        info.currency,
        info.backadjusted,
        info.feed,
    )
    copy = copy_of(store.archive, key)
    rows = np.frombuffer(copy.packed, dtype=np.float64).reshape(-1, len(_NUMBERS))
    times = np.rint(rows[:, 0] * 1e6).astype("int64").astype("datetime64[us]")
    columns = {"datetime": pa.array(times, type=pa.timestamp("us", tz="UTC"))}
    for place, name in enumerate(_NUMBERS):
        columns[name] = pa.array(np.ascontiguousarray(rows[:, place]), from_pandas=False)
    table = pa.table(columns).replace_schema_metadata({_METADATA: _metadata(copy)})
    path = Path(folder) / _file_name(key)
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def import_series(store: "BarStore", path: "str | os.PathLike[str]") -> Imported:
    """Add the series of a file that `export_series` has written to a store.

    Bars and answered ranges that the store has already stay as they are.

    Parameters
    ----------
    store : BarStore
        The store.
    path : str or path
        The file.

    Returns
    -------
    Imported
        The series, and how many bars the store did not have.

    Raises
    ------
    DataValidationError
        When the file is not such a file, or the store has other bars in a range that both have.
    StoreError
        When the file cannot be read, the store cannot be written, or pyarrow is missing.
    """
    copy = _read(Path(path))
    return Imported(copy.key.symbol, copy.key.interval, put_copy(store.archive, copy))


def _pyarrow() -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StoreError(
            "Parquet files need pyarrow", hint='pip install "tvdatafeed[parquet]"'
        ) from error
    return pa, pq


def _metadata(copy: SeriesCopy) -> str:
    return json.dumps(
        {
            "format": _FORMAT,
            "key": dataclasses.asdict(copy.key),
            "spans": copy.spans,
            "no_older": copy.no_older,
            "checked_s": copy.checked_s,
            "notes": dataclasses.asdict(copy.notes),
        }
    )


def _file_name(key: SeriesKey) -> str:
    symbol = re.sub(r"[^A-Za-z0-9!.]+", "_", key.symbol)[:_LONGEST_NAME].strip(".")
    # Names differ by more than case, which not every file system distinguishes.
    digits = hashlib.sha256(key.text.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{symbol}_{key.interval}_{digits}.parquet"


def _read(path: Path) -> SeriesCopy:
    pa, pq = _pyarrow()
    try:
        with path.open("rb") as file:
            table = pq.ParquetFile(file).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        if isinstance(error, pa.ArrowInvalid):
            raise DataValidationError("file", str(path), f"is not a Parquet file: {reason}") from (
                error
            )
        raise StoreError(f"cannot read {path}: {reason}") from error
    try:
        saved = json.loads((table.schema.metadata or {})[_METADATA])
        return _copy(saved, table)
    except KeyError as error:
        raise DataValidationError(
            "file", str(path), "must be one that `tvdatafeed store export` has written"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DataValidationError("file", str(path), f"is damaged: {error}") from error


def _copy(saved: dict[str, Any], table: Any) -> SeriesCopy:
    if saved["format"] != _FORMAT:
        raise ValueError(f"its format {saved['format']} is not known")
    columns = [table.column(name).to_numpy() for name in _NUMBERS]
    if any(column.dtype != np.float64 for column in columns):
        raise ValueError("a column is not of 64-bit numbers")
    rows = np.column_stack(columns)
    times = rows[:, 0]
    is_possible = (times >= EARLIEST_BAR_S) & (times <= LATEST_BAR_S)
    if not (is_possible.all() and (np.diff(times) > 0).all()):
        raise ValueError("its times do not ascend, or lie outside the years 1678 to 2261")
    key = SeriesKey(**saved["key"])
    if key.feed not in FEEDS:
        raise ValueError(f"its key has feed {key.feed!r}")
    for name, kind in get_type_hints(SeriesKey).items():
        if name != "feed" and not isinstance(getattr(key, name), kind):
            raise ValueError(f"its key has {name} {getattr(key, name)!r}")
    notes = SeriesNotes(**saved["notes"])
    if not all(isinstance(name, str) for name in notes.names):
        raise ValueError("its names are not texts")
    return SeriesCopy(
        key,
        np.ascontiguousarray(rows).tobytes(),
        _spans(saved["spans"]),
        bool(saved["no_older"]),
        float(saved["checked_s"]),
        notes,
    )


def _spans(saved: Any) -> Spans:
    spans: Spans = []
    for lo, hi in saved:
        if not float(lo) <= float(hi):
            raise ValueError(f"it has an answered range from {lo} to {hi}")
        spans = added(spans, (float(lo), float(hi)))
    return spans
