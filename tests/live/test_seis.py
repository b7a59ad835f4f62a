"""Seis: an immutable key with shortcuts to its feed."""

import pandas as pd
import pytest

from tests.feed import BTC, LiveServer, live
from tvDatafeed import Consumer, Interval, Seis


@pytest.fixture
def seis():
    return Seis("A", "B", Interval.in_daily)


def test_equality_and_hash(seis):
    """By the three, case included, and with no other class."""
    same = Seis("A", "B", Interval.in_daily)
    others = [
        Seis("a", "B", Interval.in_daily),
        Seis("A", "C", Interval.in_daily),
        Seis("A", "B", Interval.in_weekly),
        ("A", "B", Interval.in_daily),
        None,
    ]
    assert seis == same
    assert not seis != same  # noqa: SIM202 - both operators are promised
    assert hash(seis) == hash(same)
    assert len({seis, same}) == 1
    assert all(seis != other for other in others)


def test_texts(seis):
    """As they always were."""
    assert repr(seis) == 'Seis("A","B",Interval.in_daily)'
    assert str(seis) == "symbol='A',exchange='B',interval='in_daily'"


@pytest.mark.parametrize("name", ["symbol", "exchange", "interval"])
def test_the_key_is_immutable(seis, name):
    """Its parts can be read and not set."""
    with pytest.raises(AttributeError):
        setattr(seis, name, "X")
    assert (seis.symbol, seis.exchange, seis.interval) == ("A", "B", Interval.in_daily)


def test_its_feed(seis):
    """It is set once, to a live feed alone, and can be taken away."""
    assert seis.tvdatafeed is None
    with pytest.raises(ValueError, match="Argument must be instance of TvDatafeed"):
        seis.tvdatafeed = object()
    with LiveServer() as server, live(server) as tvl:
        seis.tvdatafeed = tvl
        with pytest.raises(AttributeError, match="need to delete it first"):
            seis.tvdatafeed = tvl
        del seis.tvdatafeed
    assert seis.tvdatafeed is None


def test_shortcuts_without_a_feed(seis):
    """Each says what is missing, as ever."""
    consumer = Consumer(seis, print)
    for call in (
        lambda: seis.new_consumer(print),
        lambda: seis.del_consumer(consumer),
        seis.get_hist,
        seis.del_seis,
    ):
        with pytest.raises(NameError, match="TvDatafeed not provided"):
            call()


def test_consumers_are_listed_in_a_copy(seis):
    """What is done to the list is not done to the Seis."""
    one, other = Consumer(seis, print), Consumer(seis, repr)
    seis.add_consumer(one)
    seis.add_consumer(other)
    seis.get_consumers().clear()
    assert seis.get_consumers() == [one, other]
    seis.pop_consumer(one)
    assert seis.get_consumers() == [other]
    with pytest.raises(NameError, match="Consumer does not exist in the list"):
        seis.pop_consumer(one)


def test_is_new_data(seis):
    """True at first, and then for newer bars alone."""
    frames = [pd.DataFrame(index=pd.DatetimeIndex([f"2026-01-0{day}"])) for day in (2, 2, 1, 3, 3)]
    assert [seis.is_new_data(frame) for frame in frames] == [True, False, False, True, False]


def test_shortcuts_of_a_listed_seis():
    """They go to the feed."""
    with LiveServer() as server, live(server) as tvl:
        seis = tvl.new_seis(*BTC)
        assert len(seis.get_hist(n_bars=4)) == 4
        consumer = seis.new_consumer(lambda *_: None, replay_last=False)
        assert seis.del_consumer(consumer) is True
        assert seis.del_seis() is True
