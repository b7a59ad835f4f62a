"""The warning of a repeated hour in an index in local time."""

import logging

from tvDatafeed.common.facts import facts

logger: logging.Logger = logging.getLogger(__name__)


class RepeatedHours:
    """Warn once, in any thread, that an index without a zone repeats an hour.

    Each client has one: its first frame or live bar with a repeated hour is logged, and later ones
    are not.
    """

    def __init__(self) -> None:
        # Popping from a list is atomic.
        self._warnings = [logger.warning]

    def warn(self, symbol: str, shown: object) -> None:
        """Warn of a bar whose naive open is not later than the open of the bar before."""
        try:
            warning = self._warnings.pop()
        except IndexError:
            return
        warning(
            "%s: local time was set back before the bar of %s, so the index shows an hour twice; "
            'timezone="UTC" (or TV_TIMEZONE=UTC) keeps its bars apart (logged once per client)',
            symbol,
            shown,
            extra=facts(symbol, bar=shown),
        )
