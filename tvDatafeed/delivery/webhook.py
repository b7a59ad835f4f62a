"""Webhook: a callback that posts closed bars and events, signed, until they are received."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from tvDatafeed.common.facts import facts
from tvDatafeed.common.settings import validated_headers
from tvDatafeed.config import DeliveryConfig, validate_timeout
from tvDatafeed.delivery.bars import Series, closed_bars, series_key
from tvDatafeed.delivery.canonical import CanonicalRequest
from tvDatafeed.delivery.courier import DeliveryResult
from tvDatafeed.delivery.messages import event_body, event_id, lane_name
from tvDatafeed.delivery.outbox import Outbox
from tvDatafeed.delivery.retry import RetryPolicy
from tvDatafeed.delivery.rows import NewMessage, Rows, message_of
from tvDatafeed.delivery.sender import Sender
from tvDatafeed.delivery.signing import sign
from tvDatafeed.exceptions import ConfigurationError, DeliveryError, OutboxFullError
from tvDatafeed.network.posting import request_target
from tvDatafeed.network.replies import host_of

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

__all__ = ["DeliveryResult", "Scheme", "Webhook"]

logger: logging.Logger = logging.getLogger(__name__)

_T = TypeVar("_T")
Scheme = Literal["standard", "canonical"]

_MAX_BATCH = 1000
_PROBE = b"{}"


class Webhook:
    """Posts closed bars and events to a URL, each until it is received.

    A call returns when the message is in the outbox, on disk; threads send it from there, also
    after a restart. A receiver that remembers the ids of messages handles each exactly once.

    Parameters
    ----------
    url : str, optional
        Where to post: ``https://``, or ``http://`` on this machine. Default: ``TV_WEBHOOK_URL``.
    secret : str or sequence of str, optional
        What signs messages; of several the first is the newest. Default: ``TV_WEBHOOK_SECRET``.
    outbox : Outbox or path, optional
        Where messages wait. Default: ``TV_OUTBOX``, else a file in the user's data folder.
    scheme : str, default "standard"
        "standard" is Standard Webhooks; "canonical" is for older receivers, and needs
        ``TV_WEBHOOK_PRODUCER_ID``.
    headers : mapping of str to str, optional
        Headers besides those of the scheme.
    batch : int, default 1
        How many waiting bars of a series are sent as one message at most.
    policy : RetryPolicy, optional
        When to try again. Default: after 5, 10, 20 s and so on up to 15 minutes, for three days.
    config : DeliveryConfig, optional
        Limits. Default: what the environment gives.

    Raises
    ------
    ConfigurationError
        A value cannot be used.
    OutboxError
        The outbox cannot be used.

    Examples
    --------
    ::

        # The feed is closed first; then the webhook sends what waits.
        with Webhook("https://example.org/bars", secret) as hook, TvDatafeedLive() as tvl:
            seis = tvl.new_seis("BTCUSDT", "BINANCE", Interval.in_1_minute)
            tvl.new_consumer(seis, hook)
    """

    def __init__(
        self,
        url: str | None = None,
        secret: str | Sequence[str] | None = None,
        *,
        outbox: "Outbox | str | os.PathLike[str] | None" = None,
        scheme: Scheme = "standard",
        headers: Mapping[str, str] | None = None,
        batch: int = 1,
        policy: RetryPolicy | None = None,
        config: DeliveryConfig | None = None,
    ) -> None:
        config = DeliveryConfig.from_env() if config is None else config
        self._url = _checked_url(config.url if url is None else url)
        secrets = config.secret if secret is None else secret
        self._secrets: tuple[str, ...] = ()
        if secrets is not None:
            self._secrets = (secrets,) if isinstance(secrets, str) else tuple(secrets)
        if not self._secrets:
            raise ConfigurationError("secret", None, "must be given (TV_WEBHOOK_SECRET)")
        if not isinstance(batch, int) or isinstance(batch, bool) or not 1 <= batch <= _MAX_BATCH:
            raise ConfigurationError("batch", batch, f"must be a whole number, 1 to {_MAX_BATCH}")
        if scheme not in {"standard", "canonical"}:
            raise ConfigurationError("scheme", scheme, 'must be "standard" or "canonical"')
        self._headers = validated_headers(headers or {})
        self._target = request_target(self._url)
        self._canonical: CanonicalRequest | None = None
        if scheme == "canonical":
            self._canonical = CanonicalRequest(config.producer_id or "", self._secrets[:1])
        # The secrets are checked, before there is something to sign.
        self._signed("evt_check", _PROBE, 1)
        self._config = config
        self._owns_outbox = not isinstance(outbox, Outbox)
        if isinstance(outbox, Outbox):
            self._outbox = outbox
        else:
            path = config.outbox if outbox is None else outbox
            self._outbox = Outbox(path, max_bytes=config.outbox_max_bytes)
        self._results: tuple[Callable[[DeliveryResult], object], ...] = ()
        self._refusals: tuple[Callable[[OutboxFullError], object], ...] = ()
        self._is_closed = False
        # When the last bar of each series opened; each is written by the thread of its consumer.
        self._last_s: dict[str, float] = {}
        self.__name__ = "Webhook"
        try:
            self._sender = Sender(
                self._outbox,
                self._url,
                headers=self._signed,
                policy=RetryPolicy(give_up_s=config.give_up_s) if policy is None else policy,
                batch=batch,
                config=config,
                on_result=self._report,
            )
        except BaseException:
            if self._owns_outbox:
                self._outbox.close()
            raise
        # The program may have closed an outbox of its own before.
        self._outbox.open()
        self._sender.start()

    def __repr__(self) -> str:
        return f"<Webhook to {host_of(self._url)}>"

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        self.close(None if kind is None else 0.0)

    @property
    def url(self) -> str:
        """Where messages are posted; it may hold a token."""
        return self._url

    @property
    def outbox(self) -> Outbox:
        """Where messages wait."""
        return self._outbox

    def __call__(self, seis: Series, data: "pd.DataFrame") -> None:
        """Enqueue the closed bars of a frame; for `new_consumer` and `subscribe`.

        Parameters
        ----------
        seis : Seis
            The series.
        data : pandas.DataFrame
            Bars; one that still forms is left out. A bar that was enqueued before is enqueued again
            only when its numbers differ.

        Raises
        ------
        OutboxFullError
            The outbox is full of messages that are not delivered; the feed reports it to
            ``on_error``.
        DeliveryError
            The bars cannot be enqueued.
        """
        self._check_open()
        lane = series_key(seis)
        bars = closed_bars(seis, data, self._last_s.get(lane, float("-inf")))
        if not bars:
            return
        created_s, number = time.time(), self._sender.destination
        messages = [(bar, message_of(bar, 0, created_s)) for bar in bars]

        def add(rows: Rows) -> None:
            for bar, message in messages:
                rows.add_bar(number, bar, message, created_s, self._outbox.max_bytes)

        self._enqueue(add)
        self._last_s[lane] = max(bars[-1].time_s, self._last_s.get(lane, float("-inf")))
        self._notify(lane)

    def send(
        self,
        type: str,  # noqa: A002 - as in the message
        data: Any,
        *,
        key: str | None = None,
        lane: str | None = None,
    ) -> str:
        """Enqueue an event.

        Parameters
        ----------
        type : str
            What happened: "signal.created".
        data : object
            What JSON can express.
        key : str, optional
            The event's own key: another call with the same one returns the same id, and nothing is
            sent again. Default: each call is an event.
        lane : str, optional
            Events of a lane keep their order, and wait for each other. Default: the type.

        Returns
        -------
        str
            The id of the message.

        Raises
        ------
        DeliveryError
            JSON cannot express the data, or they are too large.
        OutboxFullError
            The outbox is full of messages that are not delivered.
        """
        self._check_open()
        created_s = time.time()
        body = event_body(type, data, created_s)
        limit = self._config.max_body_bytes
        if len(body) > limit:
            raise DeliveryError(
                f"the message has {len(body)} bytes, and {limit} are allowed "
                "(TV_WEBHOOK_MAX_BODY_BYTES)"
            )
        message = NewMessage(lane_name(lane, type), event_id(key), type, body)
        number, max_bytes = self._sender.destination, self._outbox.max_bytes
        self._enqueue(lambda rows: rows.add(number, message, created_s, max_bytes))
        self._notify(message.lane)
        return message.id

    def results(self, callback: Callable[[DeliveryResult], object]) -> None:
        """Call a callback with the result of each attempt of this process.

        Parameters
        ----------
        callback : callable
            Called with a `DeliveryResult` in the thread that sends, so that it should be quick; its
            errors are logged.
        """
        if not callable(callback):
            raise ConfigurationError("callback", callback, "must be callable")
        self._results = (*self._results, callback)

    def refusals(self, callback: Callable[[OutboxFullError], object]) -> None:
        """Call a callback with the error of each message that a full outbox refuses.

        Parameters
        ----------
        callback : callable
            Called with an `OutboxFullError` in the thread that enqueues, before the error is
            raised there; its errors are logged.
        """
        if not callable(callback):
            raise ConfigurationError("callback", callback, "must be callable")
        self._refusals = (*self._refusals, callback)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the messages of now are delivered or dead.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: no limit.

        Returns
        -------
        bool
            Whether none of them waits any more.
        """
        return self._wait(_seconds(timeout, threading.TIMEOUT_MAX))

    def close(self, timeout: float | None = None) -> bool:
        """Send what waits, then stop.

        What is not delivered by then stays in the outbox, and is sent by another process, or when a
        `Webhook` for that URL is made again.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: as long as one attempt may take, and no longer than the destination
            answers.

        Returns
        -------
        bool
            Whether nothing waits any more.
        """
        if self._is_closed:
            return self._is_idle()
        seconds = _seconds(timeout, self._config.timeout)
        deadline = time.monotonic() + seconds
        self._is_closed = True
        try:
            self._wait(seconds, unless_failing=timeout is None)
        finally:
            self._sender.stop(max(deadline - time.monotonic(), 0.0))
            if self._owns_outbox:
                self._outbox.close()
        return self._is_idle()

    def stats(self) -> dict[str, Any]:
        """Return figures of this destination.

        Returns
        -------
        dict
            ``pending``, ``dead``, ``delivered``, ``retrying`` and ``oldest_s`` as in
            `Outbox.stats`; ``state``: "ok", "failing" or "disabled"; ``is_owner``: whether this
            process sends.
        """
        number = self._sender.destination
        stats = self._outbox.run(lambda rows: rows.stats_of(number, time.time()))
        return {**stats, "is_owner": self._sender.is_owner}

    def _wait(self, seconds: float, *, unless_failing: bool = False) -> bool:
        last = self._outbox.run(lambda rows: rows.last(self._sender.destination))
        return self._sender.wait(last, seconds, unless_failing=unless_failing)

    def _is_idle(self) -> bool:
        return not self._outbox.run(lambda rows: rows.last(self._sender.destination))

    def _notify(self, lane: str) -> None:
        # In a forked child it does not run yet.
        self._sender.start()
        self._outbox.notify(self._url, lane)

    def _check_open(self) -> None:
        if self._is_closed:
            raise DeliveryError(f"{self!r} is closed: make another one")

    def _signed(self, message_id: str, body: bytes, attempt: int) -> dict[str, str]:
        """Return the headers of an attempt."""
        version = sys.modules["tvDatafeed"].__version__
        fixed = {"Content-Type": "application/json", "User-Agent": f"tvDatafeed/{version}"}
        if self._canonical is not None:
            signed = self._canonical.headers(
                "POST",
                self._target,
                body,
                nonce=f"{message_id}.{attempt}",
                idempotency_key=message_id,
            )
        else:
            timestamp = int(time.time())
            signatures = [sign(one, message_id, timestamp, body) for one in self._secrets]
            signed = {
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": " ".join(signatures),
                "Idempotency-Key": message_id,
            }
        return {**self._headers, **fixed, **signed}

    def _enqueue(self, function: Callable[[Rows], None]) -> None:
        try:
            self._outbox.run(function)
        except OutboxFullError as error:
            _call_all(self._refusals, error, "refusals")
            raise

    def _report(self, result: DeliveryResult) -> None:
        _call_all(self._results, result, "results")


def _call_all(callbacks: Sequence[Callable[[_T], object]], value: _T, what: str) -> None:
    for callback in callbacks:
        try:
            callback(value)
        except Exception:
            logger.exception("the callback of %s failed", what, extra=facts(hook=what))


def _checked_url(url: str | None) -> str:
    if url is None:
        raise ConfigurationError("url", None, "must be given (TV_WEBHOOK_URL)")
    checked = DeliveryConfig(url=url).url
    assert checked is not None  # noqa: S101 - as given
    parts = urlsplit(checked)
    try:
        (parts.hostname or "").encode("idna")
    except UnicodeError:
        raise ConfigurationError("url", host_of(checked), "must have a valid host") from None
    # A fragment is not sent.
    return parts._replace(fragment="").geturl()


def _seconds(timeout: float | None, default: float) -> float:
    if timeout is None:
        return default
    seconds = 0.0 if timeout == 0 else validate_timeout(timeout)
    return threading.TIMEOUT_MAX if seconds < 0 else min(seconds, threading.TIMEOUT_MAX)
