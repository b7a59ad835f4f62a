"""The warning of an hour that an index in local time shows twice."""

import logging

from tvDatafeed.common.facts import facts

logger: logging.Logger = logging.getLogger(__name__)


class RepeatedHours:
    """Warn once, in whichever thread, that an index without a zone shows an hour twice.

    A client has one of these: its first frame or live bar that shows an hour twice is logged, and
    later ones are not.
    """

    def __init__(self) -> None:
        # To pop from a list is atomic.
        self._warnings = [logger.warning]

    def warn(self, symbol: str, shown: object) -> None:
        """Warn of a bar that seems to open no later than the one before it."""
        try:
            warning = self._warnings.pop()
        except IndexError:
            return
        warning(
            "%s: local time was set back before the bar of %s, so the index shows an hour twice; "
            'timezone="UTC" (or TV_TIMEZONE=UTC) tells its bars apart (logged once per client)',
            symbol,
            shown,
            extra=facts(symbol, bar=shown),
        )
