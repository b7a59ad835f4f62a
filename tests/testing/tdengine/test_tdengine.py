"""The loopback TDengine: what it answers, and what it refuses."""

import base64
import json
import urllib.error
import urllib.request

import pytest

from tests.scale import PATIENCE_S
from tvDatafeed.testing import FakeTDengine, TdengineFault
from tvDatafeed.testing.tdengine.errors import SqlError

NOW_S = 1_786_744_800.0
NOW_MS = int(NOW_S * 1000)
DAY_MS = 86_400_000


@pytest.fixture
def server():
    with FakeTDengine(clock=lambda: NOW_S) as server:
        server.run("CREATE DATABASE tv")
        server.run("CREATE STABLE tv.st (ts TIMESTAMP, v DOUBLE, s VARCHAR(5)) TAGS (g INT)")
        server.run("CREATE TABLE tv.a USING tv.st TAGS (1)")
        yield server


def post(server, sql, user="root", password="taosdata", path="/rest/sql"):
    """Send a statement; return the status and the body."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    address = server.url.rpartition("@")[2].partition("/")[0]
    request = urllib.request.Request(
        f"http://{address}{path}", sql.encode(), {"Authorization": f"Basic {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:  # noqa: S310
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else text


def code_of(server, sql):
    """Return the code that a statement is refused with."""
    status, body = post(server, sql)
    assert status == 200
    assert body.keys() == {"code", "desc"}
    return body["code"]


def test_answer_to_a_query(server):
    """Columns with type and length, rows, their number; a time as RFC 3339."""
    server.run("INSERT INTO tv.a VALUES (1656481855401, 2.5, 'x')")
    status, body = post(server, "SELECT ts, v, CAST(ts AS BIGINT), s FROM tv.st WHERE g = 1")
    assert status == 200
    assert body["code"] == 0
    assert body["column_meta"][:2] == [["ts", "TIMESTAMP", 8], ["v", "DOUBLE", 8]]
    assert body["data"] == [["2022-06-29T05:50:55.401Z", 2.5, 1656481855401, "x"]]
    assert body["rows"] == 1


def test_answer_to_an_insert(server):
    """The number of rows."""
    _status, body = post(
        server, f"INSERT INTO tv.a VALUES ({NOW_MS}, 1, 'x') ({NOW_MS - 1}, 2, '')"
    )
    assert body["column_meta"] == [["affected_rows", "INT", 4]]
    assert body["data"] == [[2]]


def test_same_time_replaces(server):
    """A row of the same time replaces the columns that the insert names."""
    server.run(f"INSERT INTO tv.a VALUES ({NOW_MS}, 1, 'x')")
    server.run(f"INSERT INTO tv.a (ts, v) VALUES ({NOW_MS}, NULL)")
    assert server.run("SELECT v, s FROM tv.a") == [[None, "x"]]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", 0x2600),
        ("SELECT v FROM tv.a WHERE v LIKE 'x'", 0x2600),
        ("SELECT MAX(v) FROM tv.a", 0x2600),
        ("SELECT v FROM tv.a GROUP BY v", 0x2600),
        ("UPDATE tv.a SET v = 1", 0x2600),
        ("INSERT INTO tv.a VALUES (1, 'unfinished)", 0x2600),
        ("CREATE TABLE tv.b (ts TIMESTAMP, value DOUBLE)", 0x2600),
        ("CREATE TABLE tv.range (ts TIMESTAMP, v DOUBLE)", 0x2600),
        ("CREATE DATABASE d BUFFER 10", 0x2600),
        ("SELECT nothing FROM tv.a", 0x2602),
        ("SELECT v FROM tv.nothing", 0x2603),
        ("INSERT INTO tv.nothing VALUES (1, 1, '')", 0x2603),
        ("DROP TABLE tv.nothing", 0x2603),
        (f"INSERT INTO tv.a VALUES ({NOW_MS}, 'text', 'x')", 0x2605),
        (f"INSERT INTO tv.a VALUES ({NOW_MS}, 1, 'toolong')", 0x2610),
        (f"INSERT INTO tv.a VALUES ({NOW_MS}, 1, 'ééé')", 0x2610),
        ("CREATE DATABASE d KEEP 365001", 0x2619),
        ("CREATE STABLE tv.w (ts TIMESTAMP, v VARCHAR(65530)) TAGS (g INT)", 0x263E),
        ("CREATE STABLE tv.w (v DOUBLE, ts TIMESTAMP) TAGS (g INT)", 0x2641),
        ("DELETE FROM tv.a WHERE v > 1", 0x2655),
        ("CREATE TABLE tv.a USING tv.st TAGS (1)", 0x0603),
        (f"INSERT INTO tv.a VALUES ({NOW_MS - 3651 * DAY_MS}, 1, 'x')", 0x060B),
        ("INSERT INTO tv.a VALUES (31556995200001, 1, 'x')", 0x060B),
        ("SELECT v FROM tv.a" + " " * 1_048_576, 0x0219),
        ("SELECT v FROM other.a", 0x0388),
        ("CREATE DATABASE tv", 0x0381),
    ],
)
def test_refusals(server, sql, code):
    """What a TDengine refuses is refused with its code, and HTTP status 200."""
    if sql.endswith(" "):
        sql = sql.strip() + " WHERE v > 0" + " AND v > 0" * 110_000
    assert code_of(server, sql) == code


def test_refused_insert_keeps_no_row(server):
    """An insert is checked as a whole before its first row is kept."""
    with pytest.raises(SqlError):
        server.run(f"INSERT INTO tv.a VALUES ({NOW_MS}, 1, 'x') (5, 1, 'x')")
    assert server.run("SELECT COUNT(*) FROM tv.a") == [[0]]


def test_reserved_words_may_be_quoted(server):
    """A reserved word is a name in backticks."""
    server.run("CREATE TABLE tv.`range` (ts TIMESTAMP, `value` DOUBLE)")
    server.run(f"INSERT INTO tv.`range` VALUES ({NOW_MS}, 1)")
    assert server.run("SELECT `value` FROM tv.`range`") == [[1.0]]


def test_wrong_credentials(server):
    """HTTP status 401 with the code of an authentication failure."""
    status, body = post(server, "SELECT SERVER_VERSION()", password="wrong")
    assert (status, body["code"]) == (401, 0x0357)


def test_other_paths(server):
    """Only /rest/sql exists."""
    assert post(server, "SELECT SERVER_VERSION()", path="/rest/sqlt")[0] == 404


def test_faults_by_count_and_text(server):
    """A fault waits for its statements, and ends after its number of times."""
    fault = TdengineFault("error", 0x0388, "made up", times=1, containing="COUNT", after=1)
    server.inject(fault)
    codes = [
        post(server, sql)[1]["code"]
        for sql in ("SELECT COUNT(*) FROM tv.a", "SELECT v FROM tv.a", "SELECT COUNT(*) FROM tv.a")
        for _ in range(1)
    ]
    assert codes == [0, 0, 0x0388]
    assert post(server, "SELECT COUNT(*) FROM tv.a")[1]["code"] == 0


def test_rows_stay_over_a_restart(server):
    """Connections are refused between `stop` and `start`; port and rows stay."""
    server.run(f"INSERT INTO tv.a VALUES ({NOW_MS}, 1, 'x')")
    url = server.url
    server.stop()
    with pytest.raises(urllib.error.URLError):
        post(server, "SELECT SERVER_VERSION()")
    server.start()
    assert server.url == url
    assert post(server, "SELECT v FROM tv.a")[1]["data"] == [[1]]


def test_stalled_request_ends_with_the_server(server):
    """`stop` waits for no stalled client."""
    server.inject(TdengineFault("stall"))
    with pytest.raises((urllib.error.URLError, ConnectionError, TimeoutError, OSError)):
        request = urllib.request.Request(
            f"http://{server.url.rpartition('@')[2].partition('/')[0]}/rest/sql", b"SELECT 1"
        )
        request.add_header("Authorization", f"Basic {base64.b64encode(b'root:taosdata').decode()}")
        urllib.request.urlopen(request, timeout=0.2)  # noqa: S310
    server.stop()
