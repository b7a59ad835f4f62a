"""What a publisher knows of its streams: which bar is which entry, and what the server has lost."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tvDatafeed.common.facts import facts
from tvDatafeed.delivery.messages import ClosedBar
from tvDatafeed.delivery.redisentries import START, EntryId, fields_of, parse_id, read_entry
from tvDatafeed.delivery.redisserver import Command
from tvDatafeed.exceptions import DeliveryError

logger: logging.Logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Item:
    """A bar on its way; it keeps the id that it was given, however often it is sent."""

    key: str
    bar: ClosedBar
    delay_s: int
    id: EntryId | None = None
    previous: EntryId | None = None

    @property
    def entry_id(self) -> EntryId:
        """Its id, which it has once `Stream.assign` gave it one."""
        assert self.id is not None  # noqa: S101 - as assigned
        return self.id

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """Open, high, low, close and volume."""
        return self.bar.values

    def command(self, maxlen: int) -> Command:
        """Return the command that publishes it."""
        fields = fields_of(self.bar, self.entry_id.revision, self.previous, self.delay_s)
        return ("XADD", self.key, "MAXLEN", "~", maxlen, str(self.entry_id), *fields)


@dataclass(slots=True)
class Stream:
    """The stream of one series; of the publisher's thread alone.

    Parameters
    ----------
    name
        The key of the series, for the log.
    newest, numbers
        The newest entry that was given an id here or seen on the server, and its numbers.
    previous
        The entry of the bar before it.
    confirmed
        The newest entry that the server has confirmed.
    remembered
        The last bars that were given an id.
    hole
        The newest bar that was dropped while the server was away: its readers miss it.
    is_refused
        Whether the log says already that another program uses the key.
    """

    name: str
    newest: EntryId | None = None
    numbers: tuple[float | None, ...] | None = None
    previous: EntryId | None = None
    confirmed: EntryId | None = None
    remembered: "deque[Item]" = field(default_factory=deque)
    hole: EntryId | None = None
    is_refused: bool = False

    def assign(self, item: Item, limit: int) -> Literal["repeated", "late"] | None:
        """Assign an id to a bar, and remember it; return why it is not published, or None.

        Of all bars, `limit` of the last are remembered.
        """
        if item.id is not None:
            return None
        newest, time_ms = self.newest, item.bar.time_s * 1000
        revision, previous = 0, newest
        if newest is not None and time_ms <= newest.time_ms:
            if time_ms < newest.time_ms:
                return "repeated" if self._is_known(item) else "late"
            if item.numbers == self.numbers:
                return "repeated"
            # A reader that has not read the bar yet misses nothing by its older revision.
            revision, previous = newest.revision + 1, self.previous
        item.id = EntryId(time_ms, revision)
        item.previous = max((i for i in (previous, self.hole) if i is not None), default=None)
        self.previous, self.hole = item.previous, None
        self.newest, self.numbers = item.id, item.numbers
        self.remembered.append(item)
        while len(self.remembered) > limit:
            self.remembered.popleft()
        return None

    def _is_known(self, item: Item) -> bool:
        return any(
            old.bar.time_s == item.bar.time_s and old.numbers == item.numbers
            for old in self.remembered
        )

    def confirm(self, item: Item) -> None:
        """Note that the server has a bar."""
        self.confirmed = max(item.entry_id, self.confirmed or item.entry_id)

    def lost(self, newest: EntryId | None) -> list[Item]:
        """Return what the server has lost, as far as it is remembered; `newest` is its newest."""
        confirmed, newest = self.confirmed, newest or START
        if confirmed is None:
            return []
        return [item for item in self.remembered if newest < item.entry_id <= confirmed]

    def learn(self, entry_id: bytes, fields: Sequence[bytes]) -> None:
        """Record the newest entry of the server, if it is newer than the known one."""
        newest = parse_id(entry_id)
        if self.newest is not None and newest <= self.newest:
            return
        self.newest, self.numbers, self.previous = newest, None, None
        try:
            _id, self.numbers, self.previous, _delay_s = read_entry(newest, fields)
        except DeliveryError:
            # The next bar is another one in any case.
            logger.debug(
                "the newest entry of %s is not a bar", self.name, extra=facts(stream=self.name)
            )
