"""Which alerts are sent, and when: a queue with a limit per minute, without threads or clock."""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass

_MINUTE_S = 60.0
# What an operator reads of a storm; the rest is counted.
_MAX_WAITING = 100
# Texts that are remembered to fold the next ones into them.
_MAX_REMEMBERED = 1000


@dataclass(frozen=True)
class Alert:
    """An alert that is sent.

    Parameters
    ----------
    key
        The text as it was added, by which equal alerts are recognised.
    text
        The text to send: with the number of those that were counted or dropped.
    """

    key: str
    text: str


@dataclass
class _Accepted:
    """A text that was accepted."""

    since: float
    repeated: int = 0


class AlertBook:
    """The alerts that wait, and those that were sent lately.

    The same text within ``repeat_s`` is counted instead of sent; the next alert of that text says
    how often. Moments are seconds that never go backwards.

    Parameters
    ----------
    per_minute
        How many alerts are sent within any 60 seconds.
    repeat_s
        For how many seconds a text is folded.
    """

    def __init__(self, per_minute: int, repeat_s: float) -> None:
        self._per_minute = per_minute
        self._repeat_s = repeat_s
        self._waiting: deque[Alert] = deque()
        self._accepted: OrderedDict[str, _Accepted] = OrderedDict()
        self._sent: deque[float] = deque(maxlen=per_minute)
        self._paused_until = 0.0
        self._dropped = 0

    def add(self, text: str, now: float) -> bool:
        """Add an alert, or count it; return False when the queue is full."""
        earlier = self._accepted.get(text)
        if earlier is not None and now - earlier.since < self._repeat_s:
            earlier.repeated += 1
            return True
        if len(self._waiting) >= _MAX_WAITING:
            self._dropped += 1
            return False
        self._accepted[text] = _Accepted(now)
        self._accepted.move_to_end(text)
        if len(self._accepted) > _MAX_REMEMBERED:
            self._accepted.popitem(last=False)
        if earlier is not None and earlier.repeated:
            more = f"{text} ({earlier.repeated} more like this since the last one)"
            self._waiting.append(Alert(text, more))
        else:
            self._waiting.append(Alert(text, text))
        return True

    def take(self, now: float) -> Alert | float | None:
        """Return the alert to send now, or the seconds until one may be sent, or None."""
        if not self._waiting:
            return None
        free_at = self._paused_until
        if len(self._sent) == self._per_minute:
            free_at = max(free_at, self._sent[0] + _MINUTE_S)
        if now < free_at:
            return free_at - now
        self._sent.append(now)
        alert = self._waiting.popleft()
        if self._dropped:
            text = f"{alert.text} ({self._dropped} other alerts were dropped)"
            alert, self._dropped = Alert(alert.key, text), 0
        return alert

    def put_back(self, alert: Alert, now: float, pause_s: float) -> None:
        """Put an alert that was not sent before all others, and pause for some seconds."""
        self._waiting.appendleft(alert)
        self._paused_until = now + pause_s

    def give_up(self, alert: Alert) -> None:
        """Record that an alert was not sent: the next equal one is not folded into it."""
        accepted = self._accepted.get(alert.key)
        if accepted is not None:
            accepted.since = -math.inf
            accepted.repeated += 1

    def clear(self) -> None:
        """Remove the alerts that wait."""
        self._waiting.clear()
