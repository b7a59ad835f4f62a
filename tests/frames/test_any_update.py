"""Any update that a server can write becomes the frame of a plain reading of its JSON."""

import json
import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tvDatafeed.exceptions import DataNotFoundError
from tvDatafeed.frames.bars import NO_VALUE
from tvDatafeed.frames.history import history_to_frame
from tvDatafeed.protocol.events import Answered, RequestFailed, SeriesRequest
from tvDatafeed.protocol.framing import encode
from tvDatafeed.protocol.literals import ANONYMOUS_TOKEN
from tvDatafeed.protocol.machine import Machine
from tvDatafeed.protocol.series import EARLIEST_BAR_S, LATEST_BAR_S
from tvDatafeed.query.view import View

SESSION = "cs_abcdefghijkl"
OPENED_S = 1_785_336_000
COUNT = 5000

# Numbers in every form of JSON, as text.
NUMBERS = (
    st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.integers(-(2**70), 2**70).map(str)
    | st.sampled_from(["0", "-0", "-0.0", "1e100", "1E+100", "9.9e99", "1e-320", "2E3", "1.50e1"])
    | st.sampled_from(["9007199254740993", "18446744073709551615", "0.1", "123456.789e-3"])
)
CELLS = st.floats(0.01, 1e6).map(lambda number: repr(round(number, 2))) | NUMBERS
ODD_CELLS = st.sampled_from(["null", '"x"', '"1.5"', '""', "true", "[]", "{}"])
TIMES = (
    st.integers(OPENED_S, OPENED_S + 20).map(lambda time: f"{time}.0")
    | st.integers(OPENED_S, OPENED_S + 10**6).map(str)
    | st.sampled_from(["1785336000.25", "1.7853360001e9", "-1.5", "0", "-9214560000", "1e10"])
)
KEYS = st.sampled_from(['"x"', '"iv"', '"v2"', '"2"', '"\\u0076x"', '"i "', '"1i"'])
VALUES = st.sampled_from(["1", "null", '"v"', '{"v":[1,2]}', "[1,[2]]", '"]}, {"'])
SPACES = st.sampled_from(["", " ", "\n", "\t "])


@st.composite
def items(draw, cells, lengths):
    """Write one item: its keys in any order, others between them, with or without spaces."""
    row = [draw(TIMES), *(draw(cells) for _ in range(draw(lengths) - 1))]
    space = draw(SPACES)
    fields = [('"i"', draw(NUMBERS)), ('"v"', "[" + f",{space}".join(row) + "]")]
    fields += draw(st.lists(st.tuples(KEYS, VALUES), max_size=2))
    fields = draw(st.permutations(fields))
    return "{" + f"{space},".join(f"{key}{space}:{value}" for key, value in fields) + "}"


REGULAR = st.tuples(TIMES, *[CELLS] * 5).map(
    lambda row: '{"i":' + str(len(row[1])) + ',"v":[' + ",".join(row) + "]}"
)
UPDATES = st.lists(
    st.lists(REGULAR, max_size=12)
    | st.lists(items(CELLS, st.sampled_from([5, 6, 6, 6, 7])), max_size=8)
    | st.lists(items(CELLS | ODD_CELLS, st.integers(1, 8)), max_size=5),
    min_size=1,
    max_size=3,
)


def text_of(updates):
    """Write an answer: each update as one message, and the completion."""
    texts = []
    for items_ in updates:
        update = '{"node":"n","s":[' + ",".join(items_) + '],"ns":{"d":"","indexes":[]},"t":"s1"}'
        timeline = '{"index":0,"changes":[1785336000.0],"marks":[]}'
        parameters = f'["{SESSION}",{{"sds_1":{update}}},{timeline}]'
        texts.append(encode(f'{{"m":"timescale_update","p":{parameters}}}'))
    completed = [
        "series_completed",
        [SESSION, "sds_1", "streaming", "s1", {"data_completed": "end"}],
    ]
    return "".join([*texts, encode(json.dumps(dict(zip("mp", completed, strict=True))))])


def outcome_of(text):
    """Return the arrays of the frame; None if the request failed or has no bars."""
    machine = Machine(ANONYMOUS_TOKEN)
    request = SeriesRequest("NASDAQ:AAPL", "1", COUNT)
    machine.open(SESSION, request, now=0.0, deadline=60.0)
    machine.receive(text, 1.0)
    (event, *_) = [e for e in machine.events() if isinstance(e, Answered | RequestFailed)]
    if isinstance(event, RequestFailed):
        return None
    view = View(count=COUNT, timezone="UTC", validation="off", fill_missing_volume="nan")
    try:
        frame = history_to_frame(event.answer, view)
    except DataNotFoundError:
        return None
    assert (frame["symbol"] == "NASDAQ:AAPL").all()
    return frame.index.asi8.tolist(), frame.iloc[:, 1:].to_numpy(dtype=np.float64)


def expected_of(updates):
    """Read the same by the standard library, one number after the other."""
    rows = {}
    for items_ in updates:
        read = [json.loads(item) for item in items_]
        if not all(is_item(item) for item in read):
            return None
        newer = [cells_of(item["v"]) for item in read]
        if any(not EARLIEST_BAR_S <= row[0] <= LATEST_BAR_S for row in newer):
            # The whole update is ignored, and the request fails with it.
            return None
        merge(rows, {row[0]: row for row in newer})
    if not rows:
        return None
    ascending = [rows[time] for time in sorted(rows)]
    times = [nanoseconds(row[0]) for row in ascending]
    return times, np.array([row[1:] for row in ascending])


def merge(rows, newer):
    """Add bars; a page that begins before the known ones and overlaps them is older than they."""
    is_older = rows and newer and min(newer) < min(rows) <= max(newer)
    rows.update({time: row for time, row in newer.items() if not is_older or time not in rows})


def is_item(item):
    """Return whether an item is a bar: a time, and at least four cells that can be numbers."""
    row = item.get("v")
    if not isinstance(row, list) or len(row) < 5:
        return False
    return is_number(row[0]) and all(
        cell is None or isinstance(cell, str) or is_number(cell) for cell in row[:6]
    )


def is_number(cell):
    return not isinstance(cell, bool) and isinstance(cell, int | float) and math.isfinite(cell)


def cells_of(row):
    cells = [float(c) if is_number(c) else math.nan for c in row[:6]]
    cells += [math.nan] * (6 - len(cells))
    return [cells[0], *(math.nan if c >= NO_VALUE else c for c in cells[1:])]


def nanoseconds(time_s):
    whole = math.floor(time_s)
    return whole * 10**9 + round((time_s - whole) * 10**6) * 1000


@given(UPDATES)
@example([['{"i":0,"v":[60,1,2,3,4,5]}', '{"i":1,"v":[60,1,2,3,4]}']])
@example([['{"2i":0,"v":[60,1,2,3,4,5]}'], ['{"i":0,"v2":[1],"v":[120,1,2,3,4,5]}']])
def test_the_frame_is_that_of_a_plain_reading(updates):
    """Times ascend without duplicates, the newest values stay, and each number is exact."""
    got, expected = outcome_of(text_of(updates)), expected_of(updates)
    assert (got is None) == (expected is None)
    if got is not None and expected is not None:
        assert got[0] == expected[0]
        np.testing.assert_array_equal(got[1], expected[1])
