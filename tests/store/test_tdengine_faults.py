"""TDengine that refuses, stalls, goes away, or is left by a writer between two statements."""

import itertools

import pandas as pd
import pytest

from tests.loopback import NOW
from tests.scale import AT_ONCE_S, at_most
from tvDatafeed import Interval, TvDatafeed
from tvDatafeed.exceptions import DataNotFoundError, StoreError, StoreVersionError
from tvDatafeed.store import BarStore
from tvDatafeed.testing import FakeTDengine, FakeTradingView, MarketClock, TdengineFault

DAY_S = 86400.0
SYMBOL = ("AAPL", "NASDAQ")


@pytest.fixture
def tdengine():
    with FakeTDengine() as server:
        yield server


def failed(tdengine, **options):
    """Return the error of a store's first use."""
    with (
        at_most(AT_ONCE_S),
        BarStore(tdengine.url, **options) as store,
        pytest.raises(StoreError) as caught,
    ):
        store.stats()
    assert "taosdata" not in str(caught.value)
    return caught.value


def test_wrong_password(tdengine):
    """The error names the user and says what to correct; it does not show the password."""
    tdengine.password = "Another1!"
    tdengine_url = tdengine.url.replace("Another1!", "taosdata")
    with BarStore(tdengine_url) as store:
        with pytest.raises(StoreError, match="refuses the user 'root'") as caught:
            store.connect()
        assert not store.health_check().ok
    assert "taosdata" not in str(caught.value)


def test_nothing_listens(tdengine):
    """A server that is down is named, with the port of taosAdapter."""
    tdengine.stop()
    assert "6041" in failed(tdengine).hint


def test_database_is_made(tdengine):
    """A database that does not exist is made to keep bars for a thousand years."""
    with BarStore(tdengine.url) as store:
        store.initialize()
    assert "CREATE DATABASE IF NOT EXISTS `tv` PRECISION 'ms' KEEP 365000" in tdengine.statements


def test_database_cannot_be_made(tdengine):
    """Without the right to make it, the error has the statement for an administrator."""
    tdengine.can_create = False
    assert "CREATE DATABASE IF NOT EXISTS `tv`" in failed(tdengine).hint


def test_database_would_remove_bars(tdengine):
    """TDengine's default of ten years is refused before a bar disappears."""
    tdengine.run("CREATE DATABASE tv")
    assert failed(tdengine).hint == "let an administrator run: ALTER DATABASE tv KEEP 365000"
    tdengine.run("ALTER DATABASE tv KEEP 365000")
    with BarStore(tdengine.url) as store:
        assert store.stats().series == 0


def test_database_with_another_precision(tdengine):
    """Times in microseconds would be read as milliseconds: refused."""
    tdengine.run("CREATE DATABASE tv PRECISION 'us' KEEP 365000")
    assert "precision" in str(failed(tdengine))


def test_schema_of_a_later_version(tdengine):
    """A store of a later tvDatafeed is left alone."""
    with BarStore(tdengine.url) as store:
        store.initialize()
    tdengine.run("INSERT INTO tv.`meta` VALUES (1000000000001, 2)")
    assert type(failed(tdengine)) is StoreVersionError


def test_server_is_too_old(tdengine):
    """Rows of 60 KB need TDengine 3.0.5."""
    tdengine.version = "3.0.4.2"
    assert "3.0.5" in failed(tdengine).hint


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (TdengineFault("error", 0x060B, "Timestamp data out of range"), "KEEP 365000"),
        (TdengineFault("error", 0x2644, "Permission denied"), "GRANT"),
        (TdengineFault("error", 0x012B, "Out of disk space"), "disk space"),
        (TdengineFault("error", 0x0914, "Sync leader is restoring"), "0x0914: Sync leader"),
        (TdengineFault("status", 503), "503"),
        (TdengineFault("status", 404), "taosAdapter"),
        (TdengineFault("garbage"), "not one of TDengine's"),
        (TdengineFault("cut"), "ended its answer early"),
        (TdengineFault("drop"), "cannot be reached"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_error_says_what_to_do(tdengine, fault, words):
    """Each failure is a `StoreError` with one next step; the store works again after it."""
    with BarStore(tdengine.url) as store:
        store.connect()
        tdengine.inject(fault)
        with pytest.raises(StoreError) as caught:
            store.stats()
        assert words in str(caught.value)
        assert store.stats().series == 0


def test_errors_with_http_statuses(tdengine):
    """A taosAdapter with httpCodeServerError is understood as well."""
    tdengine.uses_statuses = True
    with BarStore(tdengine.url) as store:
        with pytest.raises(DataNotFoundError):
            store.read_bars(*SYMBOL)


def test_server_that_does_not_answer(tdengine):
    """A statement ends with the store's timeout."""
    with BarStore(tdengine.url, timeout=0.3) as store:
        store.connect()
        tdengine.inject(TdengineFault("stall"))
        with at_most(AT_ONCE_S), pytest.raises(StoreError, match="in time"):
            store.stats()


def test_database_that_was_dropped(tdengine):
    """The next use makes the database again."""
    with BarStore(tdengine.url) as store:
        store.write_cache("X", "y", 1)
        tdengine.run("DROP DATABASE tv")
        with pytest.raises(StoreError, match="Database not exist"):
            store.read_cache("X", "y")
        assert store.read_cache("X", "y") is None


def test_bars_come_from_tradingview_while_the_store_is_down(tdengine, caplog):
    """A store that cannot be reached costs a warning, not the bars."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as market:
        tdengine.stop()
        with TvDatafeed(config=market.config(), store=tdengine.url) as tv:
            assert len(tv.get_hist(*SYMBOL, n_bars=5)) == 5
            assert len(tv.get_hist(*SYMBOL, n_bars=5)) == 5
            tdengine.start()
            tv.get_hist(*SYMBOL, n_bars=5)
            assert len(tv.get_hist(*SYMBOL, n_bars=5, store="only")) == 5
    warnings = [r for r in caplog.records if r.levelname == "WARNING" and "store" in r.message]
    assert len(warnings) == 1


def test_missing_table_is_asked_for_again(tdengine):
    """A record whose bars are gone is damage: forgotten, and fetched again."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as market:
        with TvDatafeed(config=market.config(), store=tdengine.url) as tv:
            first = tv.get_hist(*SYMBOL, n_bars=30)
            for (table,) in tdengine.run("SELECT DISTINCT TBNAME FROM tv.bars"):
                tdengine.run(f"DROP TABLE tv.{table}")
            pd.testing.assert_frame_equal(tv.get_hist(*SYMBOL, n_bars=30), first)
            pd.testing.assert_frame_equal(
                tv.get_hist(*SYMBOL, n_bars=30, store="only"), first, check_freq=False
            )


def far_newer_bars(market, tv):
    market.step(100 * DAY_S)
    tv.get_hist(*SYMBOL, n_bars=10)


def bars_in_between(market, tv):
    market.step(100 * DAY_S)
    tv.get_hist(*SYMBOL, n_bars=90)


def correction(market, tv):
    market.correct("NASDAQ:AAPL", "1D", newest(market, 3), volume=777.0)
    market.correct("NASDAQ:AAPL", "1D", newest(market, 2), volume=778.0)
    tv.get_hist(*SYMBOL, n_bars=40)


def restatement(market, tv):
    for number in range(1, 41):
        market.correct("NASDAQ:AAPL", "1D", newest(market, number), volume=1000.0 + number)
    tv.get_hist(*SYMBOL, n_bars=40)


def removal(market, tv):
    try:
        tv.store.clear()
    except StoreError:
        return
    tv.get_hist(*SYMBOL, n_bars=15)


def newest(market, number):
    return market.market.bars("NASDAQ:AAPL", "1D", 50, NOW)[-number].time


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", ["drop", "cut"])
@pytest.mark.parametrize(
    "change", [far_newer_bars, bars_in_between, correction, restatement, removal]
)
def test_writer_stops_between_two_statements(change, stop_at):
    """Whatever statement was a writer's last one, the store is right after it.

    The bars of each range that counts as answered are those of the market, before the change or
    after it; and the next request brings the store up to date.
    """
    for count in itertools.count():
        with (
            FakeTradingView(clock=MarketClock(NOW, speed=0)) as market,
            FakeTDengine() as tdengine,
            TvDatafeed(config=market.config(), store=False) as plain,
        ):
            with TvDatafeed(config=market.config(), store=tdengine.url) as tv:
                tv.get_hist(*SYMBOL, n_bars=40)
                before = plain.get_hist(*SYMBOL, n_bars=150, timezone="UTC")
                tdengine.inject(TdengineFault(stop_at, after=count))
                tdengine.inject(TdengineFault("drop", after=count, times=None))
                begun = len(tdengine.statements)
                change(market, tv)
                has_stopped = len(tdengine.statements) - begun > count
                # Nothing of this writer is sent any more, not even at its end.
            tdengine.clear_faults()
            after = plain.get_hist(*SYMBOL, n_bars=150, timezone="UTC")
            with BarStore(tdengine.url) as store:
                assert_right(store, before, after)
            with TvDatafeed(config=market.config(), store=tdengine.url) as tv:
                pd.testing.assert_frame_equal(
                    tv.get_hist(*SYMBOL, n_bars=150, timezone="UTC"), after
                )
                pd.testing.assert_frame_equal(
                    tv.get_hist(*SYMBOL, n_bars=150, timezone="UTC"), after
                )
                assert_right(tv.store, after, after)
        if not has_stopped:
            assert count > 3
            return


def assert_right(store, before, after):
    """Check that each range that counts as answered has the bars of the market, old or new."""
    for lo, hi in store.coverage(*SYMBOL):
        stored = store.read_bars(*SYMBOL, start_date=lo, end_date=hi, timezone="UTC")
        stored = stored[(stored.index >= lo) & (stored.index <= hi)]
        truths = [truth[(truth.index >= lo) & (truth.index <= hi)] for truth in (before, after)]
        assert any(list(stored.index) == list(truth.index) for truth in truths)
        rows = [set(truth.itertuples()) for truth in truths]
        assert set(stored.itertuples()) <= rows[0] | rows[1]


def test_interval_with_one_bar(tdengine):
    """A series of one bar is written, read and covered."""
    with FakeTradingView(clock=MarketClock(NOW, speed=0)) as market:
        with TvDatafeed(config=market.config(), store=tdengine.url) as tv:
            one = tv.get_hist(*SYMBOL, Interval.in_monthly, n_bars=2)
            assert len(one) == 2
            assert tv.store.coverage(*SYMBOL, Interval.in_monthly)
