"""The sender of one destination: threads that post what waits in the outbox.

One thread decides and keeps the books: it alone uses the schedule. Up to `connections` others post.
Of all processes that have the destination one sends, the one that holds the lock of the file beside
the outbox; the others add messages, and look whether that lock is free.
"""

import contextlib
import hashlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from tvDatafeed.common.facts import facts
from tvDatafeed.common.filelock import file_lock, open_lock_file
from tvDatafeed.common.fork import call_in_forked_child
from tvDatafeed.config import DeliveryConfig
from tvDatafeed.delivery.courier import Answer, Courier, DeliveryResult, Job
from tvDatafeed.delivery.messages import BAR_CLOSED, BARS_CLOSED, joined
from tvDatafeed.delivery.outbox import Outbox
from tvDatafeed.delivery.retry import RetryPolicy
from tvDatafeed.delivery.rows import DEAD, DELIVERED, WAITING, Outcome, Row, Rows
from tvDatafeed.delivery.schedule import Lane, Schedule, judge
from tvDatafeed.exceptions import OutboxError, TvDatafeedError
from tvDatafeed.network.replies import host_of

logger: logging.Logger = logging.getLogger(__name__)

# How soon messages of other processes, and a lock that became free, are noticed.
_LOOK_S = 0.2
# After the file could not be used.
_FILE_PAUSE_S = 1.0
_LOCK_NAME_CHARACTERS = 16
# What a message of bars has besides those of its bodies.
_JOINED_BYTES = 256


class Sender:
    """Sends what waits in an outbox for one destination.

    Parameters
    ----------
    outbox
        Where messages wait.
    url
        The destination.
    headers
        Returns the headers of an attempt, signed: called with the id, the body and the number of
        the attempt, in the thread that posts.
    policy
        When to try again.
    batch
        How many bars of a lane make one message at most.
    config
        Limits, proxy and certificates.
    on_result
        Called with each result, in the sender's thread.
    """

    def __init__(
        self,
        outbox: Outbox,
        url: str,
        *,
        headers: Callable[[str, bytes, int], Mapping[str, str]],
        policy: RetryPolicy,
        batch: int,
        config: DeliveryConfig,
        on_result: Callable[[DeliveryResult], None],
    ) -> None:
        self._outbox = outbox
        self._url = url
        self._policy = policy
        self._batch = batch
        self._config = config
        self._on_result = on_result
        self._courier = Courier(url, headers, config)
        name = hashlib.sha256(url.encode()).hexdigest()[:_LOCK_NAME_CHARACTERS]
        self._lock_path = f"{outbox.path}.{name}.owner"
        self.destination: int = outbox.run(self._enabled)
        self._lock: int | None = None
        self._prepare()
        call_in_forked_child(self._forget)

    def _prepare(self) -> None:
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._events: queue.SimpleQueue[Answer | str | None] = queue.SimpleQueue()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._workers = 0
        self._is_stopping = False
        self._settled = threading.Event()
        self._unsettled: list[tuple[Outcome, DeliveryResult]] = []
        self._schedule = Schedule(self._policy, self._config.connections)
        self._state = "ok"
        self._is_blocked = False
        self.is_owner: bool = False

    def _enabled(self, rows: Rows) -> int:
        number, state = rows.destination(self._url)
        if state == "disabled":
            rows.set_state(number, "ok")
        return number

    def start(self) -> None:
        """Start the thread, where it does not run."""
        # Of threads that are started side by side one serves; see `_run`. So no lock is held while
        # a thread starts, and a start that Ctrl-C or the system ends leaves nothing behind.
        if self._thread is None and not self._is_stopping:
            threading.Thread(target=self._run, name="tvDatafeed-delivery", daemon=True).start()

    def stop(self, timeout_s: float) -> bool:
        """Stop sending, and wait for running attempts. Return whether they ended in time."""
        with self._start_lock:
            self._is_stopping = True
        self._events.put(None)
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    @property
    def is_failing(self) -> bool:
        """Whether this process sends, and the last attempt failed."""
        return self._state != "ok"

    def wait(self, until: int, timeout_s: float, *, unless_failing: bool = False) -> bool:
        """Wait until no message up to a number waits; return whether that is so."""
        deadline = time.monotonic() + timeout_s
        while True:
            settled = self._settled
            if not self._outbox.run(lambda rows: rows.is_waiting(self.destination, until)):
                return True
            left_s = deadline - time.monotonic()
            is_sender = threading.current_thread() is self._thread
            if left_s <= 0 or is_sender or (unless_failing and self.is_failing):
                return False
            # Another process may be the one that sends.
            settled.wait(min(left_s, _LOOK_S))

    def _note(self, lane: str | None) -> None:
        # The messages of a lane that is listed are looked at in any case; see `_dispatch`.
        if lane is None or lane not in self._schedule.lanes:
            self._events.put(lane)

    def _forget(self) -> None:
        # The lock is the parent's: it must not be given back here.
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
        self._prepare()

    def _run(self) -> None:
        with self._start_lock:
            if self._thread is not None or self._is_stopping:
                return
            self._thread = threading.current_thread()
        # What is added before that is found when the lanes are loaded.
        self._outbox.listen(self._url, self._note)
        try:
            self._send_all()
        finally:
            self._outbox.unlisten(self._url, self._note)

    def _send_all(self) -> None:
        """Send while this process owns the destination, until the sender is stopped."""
        while not self._is_stopping:
            try:
                with self._owning() as is_owner:
                    if is_owner:
                        self._serve()
                    else:
                        self._drain(_LOOK_S)
            except (TvDatafeedError, OSError) as error:
                self._note_failure(error)
                self._drain(_FILE_PAUSE_S)
        for _worker in range(self._workers):
            self._jobs.put(None)

    def _note_failure(self, error: Exception) -> None:
        """Log that the outbox or its lock does not work: one WARNING until it works again."""
        level = logging.DEBUG if self._is_blocked else logging.WARNING
        self._is_blocked = True
        extra = facts(error=error, host=self._host)
        logger.log(
            level, "messages to %s cannot be sent for now: %s", self._host, error, extra=extra
        )

    @property
    def _host(self) -> str:
        return host_of(self._url)

    @contextlib.contextmanager
    def _owning(self) -> Any:
        with contextlib.ExitStack() as held:
            if self._lock is None:
                self._lock = open_lock_file(self._lock_path)
            held.callback(self._close_lock)
            try:
                held.enter_context(file_lock(self._lock, 0.0))
                self.is_owner = True
            except TimeoutError:
                self.is_owner = False
            try:
                yield self.is_owner
            finally:
                self.is_owner = False

    def _close_lock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _drain(self, timeout_s: float) -> list[Answer | str | None]:
        """Return the events of now, or else those that come within a time."""
        events: list[Answer | str | None] = []
        with contextlib.suppress(queue.Empty):
            events.append(self._events.get(timeout=max(timeout_s, 0.0)))
            while True:
                events.append(self._events.get_nowait())
        return events

    def _serve(self) -> None:
        """Send, as the owner of the destination, until the sender is stopped."""
        self._settle()
        self._load()
        version, looked_s = self._outbox.data_version(), time.monotonic()
        while not self._is_stopping or self._schedule.in_flight:
            # The next attempt reads from the file how many there were: a failure is written first.
            if any(outcome.state == WAITING for outcome, _result in self._unsettled):
                self._settle()
            if not self._is_stopping:
                self._dispatch()
            self._settle()
            now_s = time.monotonic()
            wait_s = min(self._schedule.wait_s(now_s), looked_s + _LOOK_S - now_s)
            if self._is_stopping:
                wait_s = _LOOK_S
            is_stale = self._take_events(wait_s)
            if self._is_stopping:
                continue
            if time.monotonic() - looked_s >= _LOOK_S or is_stale:
                before, version = version, self._outbox.data_version()
                looked_s = time.monotonic()
                if version != before or is_stale:
                    self._settle()
                    self._load()
        self._settle()

    def _take_events(self, timeout_s: float) -> bool:
        """Handle what has happened; return whether all lanes should be looked at."""
        is_stale = False
        for event in self._drain(timeout_s):
            if isinstance(event, Answer):
                self._record(event)
            elif event is not None:
                self._schedule.add(event, time.monotonic())
            else:
                is_stale = True
        return is_stale

    def _load(self) -> None:
        """Load the content of the file: the state of the destination, and its lanes."""

        def read(rows: Rows) -> tuple[str, list[tuple[str, Row]]]:
            _number, state = rows.destination(self._url)
            lanes = rows.lanes(self.destination)
            heads = [(lane, rows.waiting(self.destination, lane, 0, 1)) for lane in lanes]
            return state, [(lane, found[0]) for lane, found in heads if found]

        state, heads = self._outbox.run(read)
        self._is_blocked = False
        self._schedule.is_disabled = state == "disabled"
        if state == "failing" and not self._schedule.is_failing:
            self._schedule.expect_failure()
        self._state = state
        now_s, wall_s = time.monotonic(), time.time()
        for name, head in heads:
            # A wall clock that was set back must not make a message wait for days.
            wait_s = min(max(head.due_s - wall_s, 0.0), self._longest_wait_s)
            lane = self._schedule.add(name, now_s + wait_s)
            if lane.is_in_flight:
                lane.is_stale = True
            else:
                lane.after = 0
                lane.due_s = min(lane.due_s, now_s + wait_s)

    @property
    def _longest_wait_s(self) -> float:
        return max(self._policy.max_delay_s, 3600.0)

    def _dispatch(self) -> None:
        now_s = time.monotonic()
        lanes: list[Lane] = []
        while (lane := self._schedule.next(now_s)) is not None:
            lanes.append(lane)
        if not lanes:
            return
        # Not listed while the file is read: what is added meanwhile is noted.
        for lane in lanes:
            self._schedule.remove(lane)
        try:
            found = self._outbox.run(lambda rows: [self._job(rows, lane) for lane in lanes])
        except OutboxError:
            for lane in lanes:
                self._schedule.restore(lane)
                self._schedule.put_back(lane, now_s + _FILE_PAUSE_S)
            raise
        for lane, job in zip(lanes, found, strict=True):
            if job is None:
                self._schedule.put_back(lane, now_s)
                if lane.is_stale:
                    self._schedule.restore(lane)
                continue
            self._schedule.restore(lane)
            if self._workers < self._schedule.in_flight:
                self._workers += 1
                name = f"tvDatafeed-delivery-{self._workers}"
                work = (self._jobs, self._events.put)
                threading.Thread(
                    target=self._courier.work, args=work, name=name, daemon=True
                ).start()
            self._jobs.put(job)

    def _job(self, rows: Rows, lane: Lane) -> Job | None:
        """Return the first message of a lane; bars that go together are frozen."""
        found = rows.waiting(self.destination, lane.name, lane.after, self._batch)
        if not found:
            return None
        head = found[0]
        if head.batch is not None:
            found = rows.frozen(self.destination, lane.name, head.batch)
        elif self._batch > 1 and head.type == BAR_CLOSED and not head.attempts:
            found = list(self._joinable(found))
            rows.freeze(found)
        else:
            return self._job_of(lane, head.id, head.type, head.body, [head])
        message_id, body = joined([row.id for row in found], [row.body for row in found])
        return self._job_of(lane, message_id, BARS_CLOSED, body, found)

    def _joinable(self, found: Sequence[Row]) -> list[Row]:
        size_bytes = _JOINED_BYTES
        rows: list[Row] = []
        for row in found:
            size_bytes += len(row.body)
            if row.type != BAR_CLOSED or (rows and size_bytes > self._config.max_body_bytes):
                break
            rows.append(row)
        return rows

    @staticmethod
    def _job_of(lane: Lane, message_id: str, kind: str, body: bytes, rows: Sequence[Row]) -> Job:
        numbers = tuple(row.seq for row in rows)
        return Job(message_id, kind, body, lane, numbers, rows[0].created_s, rows[0].attempts)

    def _record(self, answer: Answer) -> None:
        """Add the outcome of an attempt to the schedule, and to the results to write."""
        job, lane, now_s = answer.job, answer.job.lane, time.monotonic()
        outcome = Outcome(job.rows, DELIVERED, answer.attempts, answer.status)
        verdict = judge(answer.status)
        state: Literal["delivered", "retrying", "dead"] = "delivered"
        if verdict == "delivered":
            self._schedule.delivered(lane, now_s)
        elif verdict == "refused":
            self._schedule.put_back(lane, now_s)
            state = "dead"
        elif verdict == "gone":
            self._schedule.gone(lane, now_s)
            state = "retrying"
            outcome = replace(outcome, state=WAITING, error=answer.error)
        else:
            delay_s = self._schedule.failed(lane, now_s, answer.attempts, answer.retry_after_s)
            left_s = job.created_s + self._policy.give_up_s - time.time()
            limit = self._policy.attempts
            state = "retrying"
            if left_s <= 0 or (limit is not None and answer.attempts >= limit):
                lane.due_s = now_s
                state = "dead"
            elif left_s < delay_s:
                # One last attempt at the end of its time.
                lane.due_s, delay_s = now_s + left_s, left_s
            due_s = time.time() + delay_s
            outcome = replace(outcome, state=WAITING, error=answer.error, due_s=due_s)
        if state == "dead":
            outcome = replace(outcome, state=DEAD, error=answer.error)
        if state != "retrying":
            lane.after = job.rows[-1]
        result = DeliveryResult(
            id=job.id,
            type=job.type,
            lane=lane.name,
            state=state,
            status=answer.status,
            attempts=answer.attempts,
            seconds=answer.seconds,
            error=answer.error,
        )
        self._unsettled.append((outcome, result))

    def _settle(self) -> None:
        """Write down what became of messages, then report it."""
        if self._unsettled:
            self._write_outcomes()
        for lane in self._schedule.lanes.values():
            if lane.is_stale and not lane.is_in_flight:
                lane.after, lane.is_stale = 0, False

    def _write_outcomes(self) -> None:
        settled = list(self._unsettled)
        state = "ok"
        if self._schedule.is_disabled:
            state = "disabled"
        elif self._schedule.is_failing:
            state = "failing"

        def write(rows: Rows) -> None:
            for outcome, _result in settled:
                rows.settle(outcome)
            if state != self._state:
                rows.set_state(self.destination, state)

        self._outbox.run(write)
        del self._unsettled[: len(settled)]
        if state != self._state:
            level = logging.INFO if state == "ok" else logging.WARNING
            logger.log(
                level,
                "%s is %s",
                self._host,
                _STATES[state],
                extra=facts(host=self._host, state=state),
            )
        self._state = state
        waiters, self._settled = self._settled, threading.Event()
        waiters.set()
        for _outcome, result in settled:
            if result.state == "dead":
                logger.warning(
                    "message %s to %s is dead after %d attempts: %s",
                    result.id,
                    self._host,
                    result.attempts,
                    result.error,
                    extra=facts(
                        message_id=result.id,
                        host=self._host,
                        attempt=result.attempts,
                        status=result.status,
                        reason=result.error,
                    ),
                )
            self._on_result(result)


_STATES = {
    "ok": "reached again",
    "failing": "failing: messages wait in the outbox, and one at a time is tried",
    "disabled": "disabled, since it answered 410 (gone): messages wait in the outbox until "
    "`tvdatafeed deliver retry`, or until a new Webhook is made",
}
