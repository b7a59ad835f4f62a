"""Posting: one attempt to deliver a message, in one of several threads."""

import contextlib
import logging
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tvDatafeed.common.facts import facts
from tvDatafeed.config import DeliveryConfig, NetworkConfig
from tvDatafeed.delivery.schedule import Lane, judge
from tvDatafeed.exceptions import NetworkError
from tvDatafeed.network.posting import DroppedError, Poster

logger: logging.Logger = logging.getLogger(__name__)

# Proxies and servers close idle connections, often after 5 s.
_KEPT_CONNECTION_S = 4.0
_SHOWN_REPLY_CHARACTERS = 200


@dataclass(frozen=True)
class DeliveryResult:
    """What an attempt to deliver a message came to.

    Attributes
    ----------
    id, type, lane : str
        The message.
    state : str
        "delivered"; "retrying": it will be sent again; "dead": it will not, unless
        `Outbox.retry` is called.
    status : int or None
        The HTTP status code of the answer; None without one.
    attempts : int
        How many times it was sent, this attempt included.
    seconds : float
        How many seconds this attempt took.
    error : str or None
        What went wrong; None where it was delivered.
    """

    id: str
    type: str
    lane: str
    state: Literal["delivered", "retrying", "dead"]
    status: int | None
    attempts: int
    seconds: float
    error: str | None


@dataclass(frozen=True)
class Job:
    """A message to post: its rows, and its number of attempts so far."""

    id: str
    type: str
    body: bytes
    lane: Lane
    rows: tuple[int, ...]
    created_s: float
    attempts: int


@dataclass(frozen=True)
class Answer:
    """What an attempt came to: a status, or an error without one."""

    job: Job
    attempts: int
    status: int | None
    error: str | None
    retry_after_s: float | None
    seconds: float


class Courier:
    """Posts messages to one URL, in as many threads as call `work`.

    Parameters
    ----------
    url
        The destination.
    headers
        Returns the headers of an attempt, signed: called with the id, the body and the number of
        the attempt.
    config
        Limits, proxy and certificates.
    """

    def __init__(
        self,
        url: str,
        headers: Callable[[str, bytes, int], Mapping[str, str]],
        config: DeliveryConfig,
    ) -> None:
        self._url = url
        self._headers = headers
        self._timeout_s = config.timeout
        self._network = NetworkConfig(
            connect_timeout=config.timeout,
            recv_timeout=config.timeout,
            max_response_time=config.timeout,
            proxy=config.proxy,
            ca_file=config.ca_file,
        )

    def work(
        self, jobs: "queue.SimpleQueue[Job | None]", answer: Callable[[Answer], object]
    ) -> None:
        """Post what comes, until None does; each thread keeps a connection while it is used."""
        poster = Poster(self._url, self._network, settings="TV_WEBHOOK_URL")
        with contextlib.closing(poster):
            while True:
                try:
                    job = jobs.get(timeout=_KEPT_CONNECTION_S)
                except queue.Empty:
                    poster.close()
                    job = jobs.get()
                if job is None:
                    return
                answer(self._post(poster, job))

    def _post(self, poster: Poster, job: Job) -> Answer:
        started_s, attempts = time.monotonic(), job.attempts
        deadline = started_s + self._timeout_s
        status, error, retry_after_s = None, None, None
        while True:
            attempts += 1
            try:
                headers = self._headers(job.id, job.body, attempts)
                reply = poster.post(job.body, headers, deadline=deadline)
            except DroppedError:
                # Signed again: the receiver may have seen the nonce.
                continue
            except NetworkError as failure:
                error = str(failure)
            except Exception as failure:
                error = f"it cannot be sent: {type(failure).__name__}"
                logger.warning(
                    "message %s cannot be sent",
                    job.id,
                    exc_info=True,
                    extra=facts(message_id=job.id, attempt=attempts),
                )
            else:
                status, retry_after_s = reply.status, reply.retry_after
                if judge(status) != "delivered":
                    text = " ".join(reply.text.split())[:_SHOWN_REPLY_CHARACTERS]
                    shown = "".join(c if c.isprintable() else "?" for c in text)
                    error = f"status {status}: {shown}" if shown else f"status {status}"
            seconds = time.monotonic() - started_s
            return Answer(job, attempts, status, error, retry_after_s, seconds)
