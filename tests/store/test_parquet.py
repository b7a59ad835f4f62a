"""Series go into Parquet files and back, bit for bit, with the ranges that were answered."""

import dataclasses
import io
import json
import math
import struct
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.loopback import NOW
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.exceptions import DataNotFoundError, DataValidationError, StoreError
from tvDatafeed.protocol.series import EARLIEST_BAR_S
from tvDatafeed.store import BarStore
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.parquet import export_series, import_series
from tvDatafeed.store.records import SeriesNotes

ROW = struct.Struct("=6d")
DAY_S = 86400.0
KEY = SeriesKey("NASDAQ:AAPL", "1D")
OTHER_KEY = SeriesKey("NSE:NIFTY1!", "1M", "extended", "dividends", "EUR", True, "delayed")
AWKWARD = [
    (-3_124_224_000.0, 0.1 + 0.2, 1e300, -5e-324, -0.0, math.nan),
    (0.125, 1 / 3, 2 / 3, 1e-8, 123456789.123456789, 0.0),
    (1_700_000_000.001, 1.0, 1.0, 1.0, 1.0, 1e15 + 0.5),
]


@pytest.fixture(scope="module", autouse=True)
def _parquet_is_loaded():
    """What pyarrow opens at its first use, it keeps: no test has leaked that."""
    pd.DataFrame({"close": [1.0]}).to_parquet(io.BytesIO())


@pytest.fixture
def stores(tmp_path):
    """Two stores, empty."""
    with BarStore(tmp_path / "from.db") as one, BarStore(tmp_path / "to.db") as other:
        yield one, other


def bars(first, count, price=50.0):
    """Some daily bars, packed."""
    days = range(first, first + count)
    return b"".join(ROW.pack(day * DAY_S, price, price, price, price, 1.0) for day in days)


def put(store, key, packed, spans, **attributes):
    with store.archive.writing() as transaction:
        series = transaction.add(key)
        transaction.write(series, packed)
        transaction.set_spans(series, spans)
        for name, value in attributes.items():
            setattr(series, name, value)
        transaction.save(series)


def state_of(store, key):
    with store.archive.reading() as transaction:
        series = transaction.find(key)
        return series, transaction.read(series, -math.inf, math.inf), transaction.spans(series)


def test_round_trip(stores, tmp_path):
    """All numbers, the key, the ranges and what was heard beside them come back as they were."""
    one, other = stores
    spans = [(EARLIEST_BAR_S, 0.5), (1e9, 1_700_000_000.001)]
    notes = SeriesNotes({"description": "Ünïcode"}, "delayed", 5.0, 6.0, ["NSE:NIFTY"])
    packed = b"".join(ROW.pack(*row) for row in AWKWARD)
    put(one, OTHER_KEY, packed, spans, no_older=True, checked_s=12.5, info=notes)
    (info,) = one.series()
    path = export_series(one, info, tmp_path)
    assert import_series(other, path) == ("NSE:NIFTY1!", "1M", 3)
    before, after = state_of(one, OTHER_KEY), state_of(other, OTHER_KEY)
    assert after[1:] == before[1:] == (packed, spans)
    same = {"id": 0, "used_s": 0.0}
    assert dataclasses.replace(after[0], **same) == dataclasses.replace(before[0], **same)


def test_many_blocks(stores, tmp_path):
    """A series of many blocks is one file."""
    one, other = stores
    put(one, KEY, bars(0, 5000), [(0.0, 5000 * DAY_S)])
    assert import_series(other, export_series(one, one.series()[0], tmp_path)).bars == 5000
    assert state_of(other, KEY)[1] == bars(0, 5000)


def test_a_range_without_bars(stores, tmp_path):
    """What was answered with no bars stays answered."""
    one, other = stores
    put(one, KEY, b"", [(0.0, DAY_S)])
    assert import_series(other, export_series(one, one.series()[0], tmp_path)).bars == 0
    assert state_of(other, KEY)[2] == [(0.0, DAY_S)]


def test_pandas_reads_it(stores, tmp_path):
    """Other programs find times and prices under their names."""
    put(stores[0], KEY, bars(365, 2), [])
    frame = pd.read_parquet(export_series(stores[0], stores[0].series()[0], tmp_path))
    assert list(frame) == ["datetime", "epoch_s", "open", "high", "low", "close", "volume"]
    assert list(frame["datetime"]) == list(pd.to_datetime(["1971-01-01", "1971-01-02"], utc=True))


def test_nothing_is_asked_for_again(stores, server, tmp_path):
    """A client whose store was imported asks TradingView for nothing that the file has."""
    one, other = stores
    question = ("AAPL", "NASDAQ", Interval.in_daily)
    dates = {"start_date": "2026-02-01", "end_date": "2026-06-30", "timezone": "UTC"}
    with TvDatafeed(config=server.config(), store=one) as tv:
        expected = tv.get_hist(*question, **dates)
    for info in one.series():
        import_series(other, export_series(one, info, tmp_path))
    asked = len(server.received)
    with TvDatafeed(config=server.config(), store=other) as tv:
        frame = tv.get_hist(*question, **dates)
    pd.testing.assert_frame_equal(frame, expected)
    assert len(server.received) == asked
    offline = other.read_bars("AAPL", "NASDAQ", n_bars=5, timezone="UTC")
    assert offline.index[-1].timestamp() <= NOW
    assert len(offline) == 5


def test_what_is_there_stays(stores, tmp_path):
    """A file adds the bars that the store lacks; its own are compared and kept."""
    one, other = stores
    put(one, KEY, bars(0, 10), [(0.0, 9 * DAY_S)], checked_s=5.0)
    put(other, KEY, bars(5, 10), [(5 * DAY_S, 14 * DAY_S)], checked_s=9.0)
    path = export_series(one, one.series()[0], tmp_path)
    assert import_series(other, path).bars == 5
    series, packed, spans = state_of(other, KEY)
    assert (packed, spans) == (bars(0, 15), [(0.0, 14 * DAY_S)])
    assert series.checked_s == 5.0
    assert import_series(other, path).bars == 0


def test_ranges_apart_are_compared_later(stores, tmp_path):
    """Where nothing could be compared, the next request compares the oldest bars."""
    one, other = stores
    put(one, KEY, bars(0, 10), [(0.0, 9 * DAY_S)], checked_s=5.0)
    put(other, KEY, bars(50, 10), [(50 * DAY_S, 59 * DAY_S)], checked_s=9.0)
    assert import_series(other, export_series(one, one.series()[0], tmp_path)).bars == 10
    assert state_of(other, KEY)[0].checked_s == 0.0


def test_other_bars_are_refused(stores, tmp_path):
    """A file from before a split is refused, and nothing of it is stored."""
    one, other = stores
    put(one, KEY, bars(0, 10), [(0.0, 9 * DAY_S)])
    put(other, KEY, bars(5, 10, price=25.0), [(5 * DAY_S, 14 * DAY_S)])
    path = export_series(one, one.series()[0], tmp_path)
    with pytest.raises(DataValidationError, match="between 1970-01-06 and 1970-01-10"):
        import_series(other, path)
    assert state_of(other, KEY)[1:] == (bars(5, 10, price=25.0), [(5 * DAY_S, 14 * DAY_S)])


def test_limit_of_bars(stores, tmp_path):
    """An import keeps a store at its size: what was used least recently goes."""
    one, _other = stores
    put(one, KEY, bars(0, 10), [(0.0, 9 * DAY_S)])
    path = export_series(one, one.series()[0], tmp_path)
    with BarStore(tmp_path / "small.db", max_bars=12) as small:
        put(small, OTHER_KEY, bars(0, 5), [(0.0, 4 * DAY_S)])
        import_series(small, path)
        assert [info.symbol for info in small.series()] == ["NASDAQ:AAPL"]


def test_names_of_files(stores, tmp_path):
    """Keys that differ in case or in signs alone have files of their own; no name leaves DIR."""
    symbols = ["X:A/B", "X:A*B", "../../x:A", "X:CON", "X:" + "LONG" * 50]
    for symbol in symbols:
        for interval in ("1M", "1m"):
            put(stores[0], SeriesKey(symbol, interval), bars(0, 1), [])
    paths = {export_series(stores[0], info, tmp_path) for info in stores[0].series()}
    assert len({path.name.lower() for path in paths}) == 2 * len(symbols)
    assert {path.parent for path in paths} == {tmp_path}
    again = {export_series(stores[0], info, tmp_path) for info in stores[0].series()}
    assert again == paths


def test_a_folder_that_is_missing(stores, tmp_path):
    """A file that cannot be written is a StoreError with its name."""
    put(stores[0], KEY, bars(0, 1), [])
    with pytest.raises(StoreError, match=r"cannot write .*missing"):
        export_series(stores[0], stores[0].series()[0], tmp_path / "missing")


def test_a_series_that_was_removed(stores, tmp_path):
    """A series that is removed between the list and its export is not in the store."""
    put(stores[0], KEY, bars(0, 1), [])
    (info,) = stores[0].series()
    stores[0].clear()
    with pytest.raises(DataNotFoundError, match="removed"):
        export_series(stores[0], info, tmp_path)
    assert list(tmp_path.glob("*.p*")) == []


def changed(path, **metadata):
    """Write a file again with other metadata."""
    table = pq.ParquetFile(path).read()
    saved = json.loads(table.schema.metadata[b"tvdatafeed"]) | metadata
    pq.write_table(table.replace_schema_metadata({b"tvdatafeed": json.dumps(saved)}), path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"format": 2},
        {"key": {"symbol": "X:A"}},
        {"key": {"symbol": 7, "interval": "1D"}},
        {"key": {"symbol": "X:A", "interval": "1D", "feed": "mine"}},
        {"key": "X:A"},
        {"spans": [[2.0, 1.0]]},
        {"spans": [["a", "b"]]},
        {"spans": 7},
        {"notes": {"names": [7]}},
        {"notes": {"unknown": 1}},
        {"checked_s": "soon"},
    ],
)
def test_damaged_metadata(metadata, stores, tmp_path):
    """Metadata that cannot be right are refused, and nothing is stored."""
    put(stores[0], KEY, bars(0, 3), [])
    path = export_series(stores[0], stores[0].series()[0], tmp_path)
    changed(path, **metadata)
    with pytest.raises(DataValidationError, match=r"is damaged|must be one that"):
        import_series(stores[1], path)
    assert stores[1].series() == []


@pytest.mark.parametrize("times", [[0.0, 0.0], [1.0, 0.0], [0.0, math.nan], [0.0, 1e13]])
def test_damaged_times(times, stores, tmp_path):
    """Bars that do not ascend, or lie outside all calendars, are refused."""
    put(stores[0], KEY, bars(0, 2), [])
    path = export_series(stores[0], stores[0].series()[0], tmp_path)
    table = pq.ParquetFile(path).read()
    place = table.schema.get_field_index("epoch_s")
    pq.write_table(table.set_column(place, "epoch_s", pa.array(times)), path)
    with pytest.raises(DataValidationError, match="times do not ascend"):
        import_series(stores[1], path)


def test_other_files(stores, tmp_path):
    """A missing file, one that is not Parquet and one of another program have their own errors."""
    with pytest.raises(StoreError, match=r"cannot read .*missing\.parquet: No such file"):
        import_series(stores[1], tmp_path / "missing.parquet")
    path = tmp_path / "text.parquet"
    path.write_text("time,open\n")
    with pytest.raises(DataValidationError, match="is not a Parquet file"):
        import_series(stores[1], path)
    pd.DataFrame({"close": [1.0]}).to_parquet(path)
    with pytest.raises(DataValidationError, match="store export"):
        import_series(stores[1], path)


def test_without_pyarrow(stores, tmp_path, monkeypatch):
    """Without pyarrow the error has the line that installs it."""
    put(stores[0], KEY, bars(0, 1), [])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match=r'pip install "tvdatafeed\[parquet\]"'):
        export_series(stores[0], stores[0].series()[0], tmp_path)
    with pytest.raises(StoreError, match=r'pip install "tvdatafeed\[parquet\]"'):
        import_series(stores[0], tmp_path / "x.parquet")
