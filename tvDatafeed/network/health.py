"""The health of an object's connections: faults, pauses between tries, and counters."""

import math
import time
from collections import Counter, deque
from typing import Any

from tvDatafeed.common.backoff import backoff_s
from tvDatafeed.config import NetworkConfig
from tvDatafeed.exceptions import (
    ProtocolError,
    RateLimitError,
    TvDatafeedError,
    WebSocketError,
)
from tvDatafeed.protocol.refusals import is_connections_limit
from tvDatafeed.ratelimit import CircuitBreaker

# A server that reports or commits three protocol violations in a row will do so again.
MAX_PROTOCOL_FAILURES = 3
# Percentiles cover the recent past, and memory is limited.
KEPT_LATENCIES = 1000

_POLICY_VIOLATION = 1008
# The pause is at most this share of the outage, so that nothing waits long after a short one.
_LONGEST_SHARE_OF_OUTAGE = 0.2
# If an account has too many connections, the wait grows to this many times the longest pause...
_CONNECTIONS_LIMIT_PAUSES = 10
# ...and is reset after this many times that without such a refusal. Two clients that close each
# other's connections are refused at least once per wait.
_CONNECTIONS_LIMIT_MEMORY = 4


class ConnectionHealth:
    """The knowledge of the server from the connections so far.

    It has no lock: the lock of its `WebSocketManager` guards it.

    Parameters
    ----------
    network
        The pauses between tries, and when to stop trying.

    Attributes
    ----------
    last_error : TvDatafeedError or None
        The last fault of a connection; None since a request was answered.
    no_try_before : float
        When the next connection may be opened for a single request, on the monotonic clock.
    no_patient_try_before : float
        The same for a live feed, which waits as long as an outage lasts, and connects soon after
        the server is back.
    """

    def __init__(self, network: NetworkConfig) -> None:
        self._network = network
        self._latencies_s: deque[float] = deque(maxlen=KEPT_LATENCIES)
        self._totals: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget the faults; the counters stay."""
        network = self._network
        self._breaker = CircuitBreaker(network.failure_threshold, network.recovery_timeout)
        self._failures = 0
        self._failing_since = -math.inf
        self._protocol_failures = 0
        # An answer does not reset this: each new connection closes another one of the account.
        self._connections_limits = 0
        self._connections_limit_at = self._connections_limit_until = -math.inf
        self._is_new_connections_limit = False
        self._is_new_episode = False
        self.no_try_before: float = -math.inf
        self.no_patient_try_before: float = -math.inf
        self.last_error: TvDatafeedError | None = None

    def __repr__(self) -> str:
        return f"failures={self._failures}"

    @property
    def has_given_up(self) -> bool:
        """Whether retrying is pointless after several violations in a row."""
        return self._protocol_failures >= MAX_PROTOCOL_FAILURES

    def check_breaker(self, url: str) -> None:
        """Raise a `WebSocketError` while the circuit breaker is open after too many failures."""
        try:
            self._breaker.before()
        except RateLimitError as error:
            # The cause is the last failure: the breaker's own error is about too many requests.
            reason = str(error.reason).removesuffix(f" (URL: {url})")
            raise WebSocketError(
                f"no connection is tried for another {math.ceil(error.retry_after or 0)} s, after "
                f"{reason}",
                url,
            ) from error.__cause__

    def record_opening(self) -> None:
        """Count a connection that is being opened."""
        self._totals["connections"] += 1
        self._totals["reconnects"] += self.last_error is not None

    def record_no_try(self) -> None:
        """Record that a connection which the breaker allowed was not tried, or had no result."""
        self._breaker.abandoned()

    def record_no_thread(self, error: TvDatafeedError) -> None:
        """Record that a connection could not be started."""
        self._breaker.failed(error)

    def record_end(self, counters: Counter[str]) -> None:
        """Add the counters of an ended connection."""
        self._totals += Counter(dict(counters))

    def record_connection_failure(self, error: TvDatafeedError, *, has_answered: bool) -> None:
        """Count a connection that was lost, and plan the next try."""
        if not has_answered:
            self._breaker.failed(error)
        if not self._failures:
            self._failing_since = time.monotonic()
        self._failures += 1
        code = error.close_code if isinstance(error, WebSocketError) else None
        is_of_protocol = isinstance(error, ProtocolError) or code == _POLICY_VIOLATION
        self._protocol_failures += is_of_protocol
        if is_connections_limit(error):
            self._count_connections_limit()
        self.last_error = error
        pause_s = self._pause_s(error)
        until, now = self._connections_limit_until, time.monotonic()
        self.no_try_before = max(now + pause_s, until)
        self.no_patient_try_before = max(now + self._patient_pause_s(error, pause_s), until)
        if self._failures == 1 and not is_connections_limit(error):
            self._is_new_episode = True

    def _count_connections_limit(self) -> None:
        now = time.monotonic()
        longest_s = self._network.max_retry_delay * _CONNECTIONS_LIMIT_PAUSES
        if now > self._connections_limit_at + longest_s * _CONNECTIONS_LIMIT_MEMORY:
            self._connections_limits = 0
        self._connections_limits += 1
        self._connections_limit_at = now
        if self._connections_limits == 1:
            self._is_new_connections_limit = True
        # Four times as long each time, since each try closes a connection of the account.
        doublings = 2 * (self._connections_limits - 1)
        pause_s = backoff_s(doublings + 1, self._network.base_retry_delay, longest_s)
        self._connections_limit_until = now + pause_s

    def record_same_fault(self, error: TvDatafeedError) -> None:
        """Record that another connection was lost to the fault that was counted last."""
        self.record_no_try()
        asked_s = error.retry_after if isinstance(error, RateLimitError) else None
        asked_until = time.monotonic() + (asked_s or 0.0)
        self.no_try_before = max(self.no_try_before, asked_until)
        self.no_patient_try_before = max(self.no_patient_try_before, asked_until)

    def _pause_s(self, error: TvDatafeedError) -> float:
        network = self._network
        pause_s = backoff_s(self._failures, network.base_retry_delay, network.max_retry_delay)
        asked_s = error.retry_after if isinstance(error, RateLimitError) else None
        return max(pause_s, asked_s or 0.0)

    def _patient_pause_s(self, error: TvDatafeedError, pause_s: float) -> float:
        """Shorten a pause to a share of the time since the first failure of the outage."""
        if isinstance(error, RateLimitError):
            # A server that refuses is running: each try adds to its load.
            return pause_s
        network = self._network
        outage_s = time.monotonic() - self._failing_since
        share_s = max(network.base_retry_delay, outage_s * _LONGEST_SHARE_OF_OUTAGE)
        return min(pause_s, backoff_s(self._failures, network.base_retry_delay, share_s))

    def record_error(self, error: TvDatafeedError) -> None:
        """Count the error of a request."""
        self._errors[type(error).__name__] += 1

    def record_success(self, seconds: float) -> None:
        """Count an answered request and the seconds it took."""
        self._latencies_s.append(seconds)
        self._totals["requests"] += 1
        self.record_answer()

    def record_answer(self) -> None:
        """Record that the server answers: earlier faults no longer count."""
        self._failures = self._protocol_failures = 0
        self.last_error = None
        self._breaker.succeeded()

    def begins_episode(self) -> bool:
        """Return whether this is the first call since connections began to fail."""
        is_new, self._is_new_episode = self._is_new_episode, False
        return is_new

    def begins_connections_limit(self) -> bool:
        """Return whether this is the first call since an account had too many connections.

        An answer does not reset this, since it does not end the wait.
        """
        is_new, self._is_new_connections_limit = self._is_new_connections_limit, False
        return is_new

    def counts(self, open_connections: list[Counter[str]]) -> dict[str, Any]:
        """Return the counters, by the names of `TvDatafeed.stats`.

        Parameters
        ----------
        open_connections
            The counters of the connections that have not ended.
        """
        totals = sum((Counter(dict(c)) for c in open_connections), Counter(self._totals))
        latencies_s = sorted(self._latencies_s)
        names = ("connections", "reconnects", "messages", "ignored", "violations", "heartbeats")
        return {
            **{name: totals[name] for name in (*names, "requests")},
            "latency_p50_s": _percentile(latencies_s, 0.50),
            "latency_p99_s": _percentile(latencies_s, 0.99),
            "errors": dict(self._errors),
        }


def _percentile(ascending: list[float], share: float) -> float | None:
    if not ascending:
        return None
    return ascending[min(int(len(ascending) * share), len(ascending) - 1)]
