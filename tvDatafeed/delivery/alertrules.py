"""Which events the operator hears of, and in which words; without I/O."""

from typing import Any

from tvDatafeed.exceptions import OutboxFullError, SlowConsumerError, TvDatafeedError

# One failure is common, and the sender tries again; five in a row are an outage.
_FAILURES_OF_AN_EPISODE = 5
_GONE = 410
_MAX_REASON_LENGTH = 300


class DestinationRules:
    """The alerts about one destination of messages.

    An episode begins with the first attempt that fails, and ends with the first that succeeds.
    Within it each kind of alert comes once.

    Parameters
    ----------
    name
        What the destination is called: its host, since the path of a URL may be a secret.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = 0
        self._dead = 0
        # The kinds of alerts that were made in this episode.
        self._made: set[str] = set()

    def alerts(self, result: Any) -> list[str]:
        """Return the alerts for the result of an attempt.

        Parameters
        ----------
        result
            It has ``id``, ``state``, ``status`` and ``error``, as a `DeliveryResult`.
        """
        if result.state == "delivered":
            return self._recovered()
        self._failures += 1
        found = []
        if result.status == _GONE:
            text = f"{self._name} answers 410 Gone: it is disabled, and messages wait"
            found += self._once("gone", text)
        if result.state == "dead":
            self._dead += 1
            text = f"{self._name}: the message {result.id} was given up ({reason_of(result)})"
            found += self._once("dead", text)
        if self._failures >= _FAILURES_OF_AN_EPISODE:
            text = f"{self._name}: {self._failures} attempts in a row failed ({reason_of(result)})"
            found += self._once("failing", text)
        return found

    def refused(self) -> list[str]:
        """Return the alerts for a message that the full outbox has refused."""
        return self._once("full", f"The outbox of {self._name} is full")

    def _once(self, kind: str, text: str) -> list[str]:
        if kind in self._made:
            return []
        self._made.add(kind)
        return [text]

    def _recovered(self) -> list[str]:
        failures, dead, made = self._failures, self._dead, self._made
        self._failures, self._dead, self._made = 0, 0, set()
        if "failing" not in made and "gone" not in made:
            return []
        lost = f"; messages given up: {dead}" if dead else ""
        return [f"{self._name} is reached again after {failures} failed attempts{lost}"]


def reason_of(result: Any) -> str:
    """Return why an attempt failed, in a few words."""
    if result.status is not None:
        return f"HTTP {result.status}"
    return line_of(result.error) if result.error is not None else "no answer"


def line_of(error: object) -> str:
    """Return an error as one short line, without a traceback.

    The text of another library's error may hold a token: its class alone is shown.
    """
    if isinstance(error, BaseException) and not isinstance(error, TvDatafeedError):
        return type(error).__name__
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_REASON_LENGTH else f"{text[:_MAX_REASON_LENGTH]}..."


def alert_of_gap(seis: object, start: object, end: object) -> str:
    """Return the alert for bars that a feed has missed."""
    return f"{name_of(seis)}: bars from {start} to {end} were missed and cannot be fetched"


def alerts_of_state(seis: object, state: str, failed: set[str]) -> list[str]:
    """Return the alerts for a change of state, and record the name of a Seis that has failed."""
    name = name_of(seis)
    if state == "FAILED":
        failed.add(name)
        return [f"{name} has failed"]
    failed.discard(name)
    return []


def alerts_of_error(who: object, error: BaseException, failed: set[str]) -> list[str]:
    """Return the alerts for an error that a feed reports.

    Parameters
    ----------
    who
        The consumer or the Seis, as `TvDatafeedLive.on_error` is called with.
    error
        The error.
    failed
        The names of the Seises that have failed.
    """
    name = name_of(getattr(who, "seis", who))
    if isinstance(error, SlowConsumerError):
        return [f"{name}: a consumer is slower than the bars come, and bars are dropped"]
    # A consumer that ends with its first error reports that as the cause.
    if isinstance(error, OutboxFullError) or isinstance(error.__cause__, OutboxFullError):
        return [f"{name}: a message was not accepted, because the outbox is full"]
    if name in failed and not hasattr(who, "seis"):
        return [f"{name} has failed: {line_of(error)}"]
    return []


def name_of(seis: object) -> str:
    """Return how a Seis is called in an alert."""
    symbol, exchange = getattr(seis, "symbol", None), getattr(seis, "exchange", None)
    if symbol is None or exchange is None:
        return type(seis).__name__
    interval = getattr(seis, "interval", "")
    length = str(getattr(interval, "name", interval)).removeprefix("in_").replace("_", " ")
    return f"{exchange}:{symbol} {length}"
