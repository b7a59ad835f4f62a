"""One object for each thread: made once, and closed when no other thread uses it."""

import threading

from tvDatafeed.common.perthread import PerThread


class Thing:
    """What a thread has one of."""

    def __init__(self):
        self.closed_by = []

    def close(self):
        self.closed_by.append(threading.current_thread())


def in_thread(func):
    thread = threading.Thread(target=func)
    thread.start()
    thread.join()
    return thread


def test_each_thread_has_its_own():
    """A thread gets the same object each time, and another one than its neighbours."""
    things, seen = PerThread(Thing, Thing.close), []

    def use():
        for _ in range(2):
            with things.using() as thing:
                seen.append(thing)

    use()
    in_thread(use)
    assert seen[0] is seen[1]
    assert seen[2] is seen[3]
    assert seen[0] is not seen[2]


def test_an_ended_thread_leaves_nothing_behind():
    """When a thread comes for the first time, the objects of ended ones are closed."""
    things, seen = PerThread(Thing, Thing.close), []

    def use():
        with things.using() as thing:
            seen.append(thing)

    in_thread(use)
    in_thread(use)
    assert len(seen[0].closed_by) == 1
    assert seen[1].closed_by == []


def test_close_spares_what_is_used():
    """An object in use is closed by its own thread, once, when it is done."""
    things = PerThread(Thing, Thing.close)
    with things.using() as mine:
        closer = in_thread(things.close)
        assert mine.closed_by == []
        assert closer.is_alive() is False
    assert mine.closed_by == [threading.current_thread()]
    with things.using() as another:
        assert another is not mine
    things.close()
    things.close()
    assert len(another.closed_by) == 1


def test_use_inside_a_use_has_another_one():
    """A thread that asks again while it uses one gets a second one, which is not kept."""
    things = PerThread(Thing, Thing.close)
    with things.using() as outer, things.using() as inner:
        assert inner is not outer
    assert len(outer.closed_by) + len(inner.closed_by) == 1
    things.close()
    assert (len(outer.closed_by), len(inner.closed_by)) == (1, 1)
