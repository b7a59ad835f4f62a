"""A callback that a test holds, and the log records about callbacks."""

import threading

from tests.scale import PATIENCE_S


def logged(caplog, level, name="tvDatafeed.consumer"):
    return [r for r in caplog.records if r.name == name and r.levelno == level]


class Gate:
    """A callback that waits until a test opens it."""

    def __init__(self):
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, _seis, _data):
        self.entered.set()
        self.open.wait(PATIENCE_S)
