"""The record of a series in TDengine: one row that defines which bars belong to the series."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field

from tvDatafeed.exceptions import StoreError
from tvDatafeed.store.key import SeriesKey
from tvDatafeed.store.records import SeriesNotes, StoredSeries
from tvDatafeed.store.spans import Spans
from tvDatafeed.store.tdengine_ranges import is_inside, union
from tvDatafeed.store.tdengine_rest import Refused, TdengineRest

MAX_RECORD_CHARS = 60_000
# Where the rows of records lie in time: a few servers take 0 for now.
FIRST_ROW_MS = 1_000_000_000_000


@dataclass
class Record:
    """What the row of a series says.

    Parameters
    ----------
    series
        The series.
    table
        The name of its table of bars.
    spans
        The ranges that were answered.
    vouched
        The ranges in which the bars of the table are those of the series.
    replaced
        Tables of earlier generations, and when they were replaced, epoch seconds UTC.
    """

    series: StoredSeries
    table: str
    spans: Spans = field(default_factory=list)
    vouched: Spans = field(default_factory=list)
    replaced: list[tuple[str, float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The record as JSON, in ASCII."""
        series = self.series
        outside = [span for span in self.vouched if not is_inside(span, self.spans)]
        return json.dumps(
            {
                "key": series.key.text,
                "generation": series.generation,
                "table": self.table,
                "spans": self.spans,
                "vouched": outside,
                "replaced": self.replaced,
                "first": series.first,
                "last": series.last,
                "bars": series.bars,
                "no_older": series.no_older,
                "checked": series.checked_s,
                "used": series.used_s,
                "hits": series.hits,
                "misses": series.misses,
                "info": dataclasses.asdict(series.info),
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str) -> "Record":
        """Return the record that `text` has written.

        Raises
        ------
        StoreError
            If the record is invalid.
        """
        try:
            values = json.loads(text)
            key = SeriesKey.from_text(values["key"])
            series = StoredSeries(
                series_id(key),
                key,
                values["generation"],
                values["first"],
                values["last"],
                values["bars"],
                values["no_older"],
                values["checked"],
                values["used"],
                values["hits"],
                values["misses"],
                SeriesNotes(**values["info"]),
            )
            spans = [(lo, hi) for lo, hi in values["spans"]]
            vouched = union(spans, [(lo, hi) for lo, hi in values["vouched"]])
            replaced = [(name, when_s) for name, when_s in values["replaced"]]
            return cls(series, values["table"], spans, vouched, replaced)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"a record of the bar store cannot be read: {type(error).__name__}",
                hint="clear the store, or name another database (TV_STORE_URL)",
            ) from error


def table_name(key: SeriesKey) -> str:
    """Return a name for a series that does not contain its symbol."""
    return name_of(key.text)


def name_of(*texts: str) -> str:
    """Return a name for some texts: letters and digits."""
    joined = json.dumps(texts).encode("ascii")
    return hashlib.sha256(joined).hexdigest()[:32]


def record_table(key: SeriesKey) -> str:
    """Return the name of the table of a series' record."""
    return f"s_{table_name(key)}"


def read_record(rest: TdengineRest, key: SeriesKey) -> Record | None:
    """Return the record of a series; the highest generation counts."""
    try:
        rows = rest.ask(
            f"SELECT `data` FROM {rest.table(record_table(key))} ORDER BY `ts` DESC LIMIT 1"
        )
    except Refused as error:
        if error.is_missing_table:
            return None
        raise
    return Record.from_text(rows[0][0]) if rows else None


def series_id(key: SeriesKey) -> int:
    """Return a number for a series."""
    return int(table_name(key)[:12], 16)
