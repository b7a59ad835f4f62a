"""Alerts to the operator: they never raise into a feed or block it, and a person can read them."""

import atexit
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tvDatafeed.common.backoff import doubled_s
from tvDatafeed.common.deadline import Deadline
from tvDatafeed.common.facts import facts
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.common.numbers import count
from tvDatafeed.common.settings import checked
from tvDatafeed.config import NetworkConfig, TelegramConfig
from tvDatafeed.delivery.alertbook import Alert, AlertBook
from tvDatafeed.delivery.alertrules import (
    DestinationRules,
    alert_of_gap,
    alerts_of_error,
    alerts_of_state,
    line_of,
)
from tvDatafeed.exceptions import ConfigurationError, TvDatafeedError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AlertService", "send_owner_alert", "send_signal_delivery_error"]

logger: logging.Logger = logging.getLogger(__name__)

# Longer texts are cut by the sender; a queue of texts has a size.
_MAX_TEXT_LENGTH = 4096
# Twenty attempts take an hour: an outage of the network is often what the alert is about.
_MAX_ATTEMPTS = 20
# The first pause and the longest one; a pause that the server asks for may be longer.
_PAUSE_S, _MAX_PAUSE_S = 5.0, 300.0
_MAX_RETRY_AFTER_S = 3600.0
# What a program that ends waits for its last alerts.
_EXIT_S = 5.0

_services: "weakref.WeakSet[AlertService]" = weakref.WeakSet()


class AlertService:
    """Sends alerts to the operator, in a thread that runs while alerts wait.

    At most 100 alerts wait. The same text within `repeat_s` is counted: the next alert of that
    text says how often it came.

    Parameters
    ----------
    sender : callable, optional
        Called with each text, such as a `TelegramSender`. Without one no alert is sent.
    per_minute : int, default 20
        The maximum number of messages per minute.
    repeat_s : float, default 600.0
        For how many seconds the same text is counted instead of sent.
    clock : callable, optional
        Returns seconds that never go backwards. Default: `time.monotonic`.
    wait : callable, optional
        Waits for some seconds, in the service's thread. Default: as long, or until `close`.

    Raises
    ------
    ConfigurationError
        A parameter cannot be used.

    Examples
    --------
    >>> texts = []
    >>> with AlertService(texts.append) as alerts:
    ...     for _time in range(3):
    ...         accepted = alerts.send_owner_alert("the disk is full")
    >>> accepted, texts
    (True, ['the disk is full'])
    """

    def __init__(
        self,
        sender: Callable[[str], object] | None = None,
        *,
        per_minute: int = 20,
        repeat_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        if sender is not None and not callable(sender):
            raise ConfigurationError("sender", None, "must be a callable, or None")
        self._sender = sender
        self._clock = clock
        self._book = AlertBook(
            checked(count, per_minute, "per_minute"), checked(_seconds, repeat_s, "repeat_s")
        )
        self._wait = wait
        self._begin()
        call_in_forked_child(self._forget)

    def __repr__(self) -> str:
        return f"<AlertService {'without a sender' if self._sender is None else self._sender!r}>"

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @classmethod
    def from_env(cls) -> "AlertService":
        """Return a service whose sender is the Telegram bot that the environment names.

        Returns
        -------
        AlertService
            Without a sender where ``TV_TELEGRAM_TOKEN`` and ``TV_TELEGRAM_CHAT_ID`` are not set.

        Raises
        ------
        ConfigurationError
            A variable has a value that cannot be used, or one is set without the other.
        """
        return _service_of(TelegramConfig.from_env(), NetworkConfig.from_env())

    def send_owner_alert(self, text: str) -> bool:
        """Add an alert; it returns at once, and never raises.

        Parameters
        ----------
        text : str
            The alert, in plain text.

        Returns
        -------
        bool
            True if it waits, or is counted with an equal one; False when the queue is full, the
            service has no sender, or the text is empty.
        """
        if self._sender is None:
            return False
        try:
            return self._add(str(text).strip()[:_MAX_TEXT_LENGTH])
        except Exception as error:  # noqa: BLE001 - an alert changes nothing in what it reports
            logger.warning(
                "an alert was not accepted: %s", line_of(error), extra=facts(reason=line_of(error))
            )
            return False

    def send_signal_delivery_error(self, message_id: str, error: object) -> bool:
        """Add an alert about a message that was not delivered.

        Parameters
        ----------
        message_id : str
            The message's id.
        error : Exception or str
            What happened; shown in one line, of other libraries' errors the class alone.

        Returns
        -------
        bool
            As for `send_owner_alert`.
        """
        with suppress(Exception):
            return self.send_owner_alert(f"{message_id} was not delivered: {line_of(error)}")
        return False

    def attach(self, tvl: Any, webhook: Any = None) -> None:
        """Send alerts about a feed and a webhook.

        Of the feed: bars that cannot be fetched any more, a Seis that fails, a consumer that is too
        slow. Of the webhook: the fifth failure in a row, the recovery after it, a message that is
        given up, a full outbox. Hooks that are set are kept, and called as before; a consumer
        with an `on_error` of its own does not reach the feed's.

        Parameters
        ----------
        tvl : TvDatafeedLive or None
            The feed.
        webhook : Webhook, optional
            The webhook.
        """
        if tvl is not None:
            self._attach_feed(tvl)
        if webhook is not None:
            rules, lock = DestinationRules(_destination_of(webhook)), threading.Lock()

            def hear_result(result: Any) -> None:
                # Lanes are sent side by side.
                with lock:
                    texts = rules.alerts(result)
                self._send_all(lambda: texts)

            def hear_refusal(_error: object) -> None:
                with lock:
                    texts = rules.refused()
                self._send_all(lambda: texts)

            webhook.results(hear_result)
            webhook.refusals(hear_refusal)

    def _attach_feed(self, tvl: Any) -> None:
        on_gap, on_state, on_error = tvl.on_gap, tvl.on_state, tvl.on_error
        failed: set[str] = set()

        def hear_gap(seis: Any, start: Any, end: Any) -> None:
            self._send_all(lambda: [alert_of_gap(seis, start, end)])
            if on_gap is not None:
                on_gap(seis, start, end)

        def hear_state(seis: Any, state: str) -> None:
            self._send_all(lambda: alerts_of_state(seis, state, failed))
            if on_state is not None:
                on_state(seis, state)

        def hear_error(who: Any, error: BaseException) -> None:
            self._send_all(lambda: alerts_of_error(who, error, failed))
            if on_error is not None:
                on_error(who, error)

        tvl.on_gap, tvl.on_state, tvl.on_error = hear_gap, hear_state, hear_error

    def _send_all(self, compose: Callable[[], list[str]]) -> None:
        """Send the alerts that a rule makes of an event; the program's own hook follows."""
        try:
            for text in compose():
                self.send_owner_alert(text)
        except Exception as error:  # noqa: BLE001 - an alert changes nothing in what it reports
            logger.warning(
                "an event cannot be made an alert: %s",
                line_of(error),
                extra=facts(reason=line_of(error)),
            )

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until no alert waits.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: no limit.

        Returns
        -------
        bool
            False when alerts still wait.
        """
        return self._idle.wait(timeout)

    def close(self, timeout: float | None = 5.0) -> bool:
        """Send the alerts that wait, and end the thread; a later alert starts another one.

        Parameters
        ----------
        timeout : float, optional
            Seconds, after which alerts are dropped. None: no limit. Default: 5.0.

        Returns
        -------
        bool
            False when alerts were dropped.
        """
        deadline = Deadline(timeout)
        is_done = self._idle.wait(timeout)
        with self._lock:
            self._book.clear()
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(deadline.remaining() or 0.0, 0.1) if timeout is not None else None)
        return is_done

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None
        self._attempts = 0

    def _forget(self) -> None:
        # The alerts that waited are the parent's.
        self._book.clear()
        self._begin()

    def _add(self, text: str) -> bool:
        if not text:
            return False
        started = None
        with self._lock:
            if not self._book.add(text, self._clock()):
                return False
            self._idle.clear()
            if self._thread is None:
                self._wake.clear()
                self._thread = started = threading.Thread(
                    target=self._run, name="tvDatafeed-alerts", daemon=True
                )
        if started is not None:
            _services.add(self)
            try:
                started.start()
            except RuntimeError:
                with self._lock:
                    self._thread = None
                    self._idle.set()
                raise
        return True

    def _run(self) -> None:
        while True:
            with self._lock:
                due = self._book.take(self._clock())
                if due is None:
                    self._thread = None
                    self._idle.set()
                    return
            if isinstance(due, Alert):
                self._send(due)
            elif self._wait is not None:
                self._wait(due)
            elif self._wake.wait(due):
                # Closed: what still waits is dropped.
                with self._lock:
                    self._book.clear()

    def _send(self, alert: Alert) -> None:
        assert self._sender is not None  # noqa: S101 - nothing waits without one
        try:
            self._sender(alert.text)
        except BaseException as error:  # noqa: BLE001 - also sys.exit(): the next alert is sent
            self._failed(alert, error)
        else:
            self._attempts = 0

    def _failed(self, alert: Alert, error: BaseException) -> None:
        self._attempts += 1
        what = line_of(error)
        may_pass = isinstance(error, TvDatafeedError) and error.retryable
        if not may_pass or self._attempts >= _MAX_ATTEMPTS:
            logger.warning(
                "an alert was not sent: %s",
                what,
                extra=facts(reason=what, error_type=type(error).__name__, attempt=self._attempts),
            )
            self._attempts = 0
            with self._lock:
                self._book.give_up(alert)
            return
        pause_s = doubled_s(self._attempts - 1, _PAUSE_S, _MAX_PAUSE_S)
        asked_s = getattr(error, "retry_after", None)
        if asked_s is not None:
            pause_s = min(float(asked_s), _MAX_RETRY_AFTER_S)
        logger.info(
            "an alert is sent again in %.0f s: %s",
            pause_s,
            what,
            extra=facts(
                reason=what,
                error_type=type(error).__name__,
                seconds=pause_s,
                attempt=self._attempts,
            ),
        )
        with self._lock:
            self._book.put_back(alert, self._clock(), pause_s)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("must be a number of seconds, at least 0")
    return float(value)


def _destination_of(webhook: Any) -> str:
    from tvDatafeed.network.replies import host_of  # noqa: PLC0415 - with a webhook alone

    url = getattr(webhook, "url", None)
    return host_of(url) if isinstance(url, str) else "the webhook"


@atexit.register
def _send_last_alerts() -> None:
    """Wait a moment for the alerts of a program that ends: they often contain the reason."""
    deadline = Deadline(_EXIT_S)
    for service in list(_services):
        service.flush(deadline.remaining())
    # Weak references are not handled any more when modules are taken apart.
    _of_environment.clear()


def _service_of(config: TelegramConfig, network: NetworkConfig) -> AlertService:
    if config.token is None and config.chat_id is None:
        return AlertService()
    from tvDatafeed.delivery.telegram import TelegramSender  # noqa: PLC0415 - HTTP is slow to load

    return AlertService(
        TelegramSender(config.token, config.chat_id, base_url=config.url, network=network)
    )


# The service of the environment, while that stays as it is. Each access is one step.
_of_environment: dict[tuple[TelegramConfig, NetworkConfig], AlertService] = {}


def _environment_service() -> AlertService | None:
    try:
        key = TelegramConfig.from_env(), NetworkConfig.from_env()
        found = _of_environment.get(key)
        if found is None:
            found = _service_of(*key)
            if len(_of_environment) > 1:
                _of_environment.clear()
            found = _of_environment.setdefault(key, found)
    except TvDatafeedError as error:
        logger.warning("alerts cannot be sent: %s", error, extra=facts(error=error))
        return None
    return found


def send_owner_alert(text: str) -> bool:
    """Send an alert with the Telegram bot that the environment names; it never raises.

    Parameters
    ----------
    text : str
        The alert, in plain text.

    Returns
    -------
    bool
        As from `AlertService.send_owner_alert`; False when the environment names no bot.

    Examples
    --------
    >>> send_owner_alert("the disk is full")
    False
    """
    service = _environment_service()
    return service is not None and service.send_owner_alert(text)


def send_signal_delivery_error(signal_id: str, error: object) -> bool:
    """Send an alert about a signal that was not delivered, as `send_owner_alert` does.

    Parameters
    ----------
    signal_id : str
        The signal's id.
    error : Exception or str
        What happened.

    Returns
    -------
    bool
        As from `AlertService.send_owner_alert`.
    """
    service = _environment_service()
    return service is not None and service.send_signal_delivery_error(signal_id, error)
