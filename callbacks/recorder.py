"""Makes callbacks durable: in the ledger, or in the spool while the ledger cannot take them.

Callbacks that arrive while one batch commits share the next commit; when the recorder is idle, a callback is written at once. Each
callback is answered after the commit, or the sync, that holds it. A row that the ledger refuses for its content is kept aside and
makes no other row fail.

Two threads: the *writer* writes to the ledger and may hang there; the *guard* never touches the ledger. When callbacks have waited
for a second, the guard opens the circuit breaker and writes them into the spool; while the breaker is open, all callbacks go there
at once. The writer then tries every half second to record what is spooled, and closes the breaker when the ledger takes it. If a
hanging writer commits after all, the same callbacks are recognised when they come out of the spool. A writer that goes on hanging
is replaced by another one, for it may hang forever on a connection whose other end is gone.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from adapters.clock import monotonic_s
from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError
from adapters.ledger.inbox import Arrival, record, recorded_key
from adapters.ledger.write_probe import prove_writable
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.spool import Spool, SpoolUnavailableError
from adapters.supervision import Health, SupervisedThread
from callbacks.circuit_breaker import CircuitBreaker
from callbacks.pending_callbacks import NotRecordedError, PendingCallback, PendingCallbacks, Result, oldest_arrival_s, pop_batch

#: Interval of the guard's checks, s.
_GUARD_INTERVAL_S = 0.1
#: Interval at which the writer tries whether the ledger is back, s.
_PROBE_INTERVAL_S = 0.5
#: Interval at which the writer looks for spool files of processes that died, s.
_ADOPT_INTERVAL_S = 5.0
#: If the spool cannot take a callback either, the ledger has this time after its arrival, s: vendors give up after 5.
_LAST_CHANCE_S = 4.0
#: Interval at which the event loop looks for callbacks that have waited for too long, s.
_TICK_INTERVAL_S = 0.5
#: Interval at which the guard tries whether the spool takes callbacks, while the ledger is away, s.
_SPOOL_PROBE_INTERVAL_S = 1.0
#: Least size of a probe of the ledger, bytes: about as many pages as a callback takes in the ledger with its indexes.
_PROBE_BYTES = 64 * 1024
#: Least size of a probe of the spool, bytes.
_SPOOL_PROBE_BYTES = 4 * 1024
#: An event loop that makes no progress for this time hangs, s; so does a guard: it only writes to the spool.
_LOOP_PATIENCE_S, _GUARD_PATIENCE_S = 3.0, 5.0

#: Detail of the fault that `Health` then reports.
_NOTHING_WRITABLE = "neither the ledger nor the spool takes callbacks"
#: Time that the ledger has for a callback while the process ends, s: the door shuts only after it.
_SHORT_TIMEOUT_S = 0.25

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderLimits:
    """Limits of time and memory."""

    #: Time that the ledger has for a callback before the spool takes it, s.
    ledger_timeout_s: float = 1.0
    #: A callback that has waited for this time is rejected, whatever hangs, s: vendors give up after 5.
    answer_timeout_s: float = 4.5
    #: Memory of callbacks that wait for the ledger, bytes; those beyond it go to the spool. As much again may wait for the spool.
    queue_bytes: int = 32 * 1024 * 1024
    #: A writer that hangs for this time is replaced, s; the next one after twice as long, and so on.
    replace_writer_s: float = 5.0
    #: Writers at most, those that hang included.
    max_writers: int = 8


@dataclass(slots=True, eq=False)
class _Writer:
    """The state of one writer thread, for the guard to see."""

    thread: SupervisedThread | None = None
    #: The callbacks that it writes; empty once they are answered or the guard has claimed them.
    batch: Sequence[PendingCallback] = ()
    #: When its current call to the ledger began, s; None: it is not in one.
    ledger_since_s: float | None = None


class Recorder:
    """Records callbacks. `start` must be called in the event loop that awaits the answers."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        metrics: Metrics,
        *,
        on_recorded: Callable[[], None],
        limits: RecorderLimits,
        health: Health | None = None,
    ) -> None:
        """Starts nothing. on_recorded: called in a thread after callbacks were recorded. health: its parts register there."""
        self._ledger = ledger
        self._spool = spool
        self._metrics = metrics
        self._on_recorded = on_recorded
        self._limits = limits
        self._ledger_timeout_s = limits.ledger_timeout_s
        self._ledger_queue: deque[PendingCallback] = deque()
        self._spool_queue: deque[PendingCallback] = deque()
        self._pending = PendingCallbacks(2 * limits.queue_bytes, limits.answer_timeout_s)
        self._breaker = CircuitBreaker(metrics)
        #: Guards `_Writer.batch` and the count of writers.
        self._lock = threading.Lock()
        self._writer = _Writer()
        self._writer_count = 0
        #: When the writer may next drain the spool, and next look for files of processes that died, s.
        self._next_drain_s = self._next_adopt_s = 0.0
        self._writer_wakeup = threading.Event()
        self._guard_wakeup = threading.Event()
        self._wakeup_scheduled = self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Size of the last batch that the ledger did not take, bytes: a smaller probe would prove nothing.
        self._failed_bytes = 0
        self._next_spool_probe_s = 0.0
        self._threads_end = threading.Event()
        self._health = health = health or Health()
        self._callbacks_part = health.part("callbacks", needs_ledger=False)
        self._loop_part = health.part("event-loop", patience_s=_LOOP_PATIENCE_S, needs_ledger=False)
        self._writer_part = health.part("recorder-writer")
        self._guard_part = health.part("recorder-guard", patience_s=_GUARD_PATIENCE_S, needs_ledger=False)
        self._guard = SupervisedThread(health, self._guard_part, self._run_guard, self._threads_end)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pending.start()
        self._start_writer()
        self._guard.start()
        self._check_pending()

    def shorten_ledger_wait(self) -> None:
        """Sends to the spool, for the next process, what the ledger does not take almost at once: this process is about to end."""
        self._ledger_timeout_s = min(self._ledger_timeout_s, _SHORT_TIMEOUT_S)

    def stop(self) -> None:
        """Writes the waiting callbacks, then ends; those that the ledger does not take in time go to the spool."""
        self._stopping = True
        self._loop_part.rest()  # the loop makes no progress during this call
        self._threads_end.set()
        self._writer_wakeup.set()
        self._guard_wakeup.set()
        self._guard.join(timeout=10)
        if self._writer.thread is not None and self._writer.ledger_since_s is None:
            self._writer.thread.join(timeout=5)

    def record(self, arrival: Arrival) -> "asyncio.Future[bool]":
        """Returns a future that is done when the callback is durable: whether it was new, as far as is known.

        The future raises NotRecordedError if neither the ledger nor the spool takes the callback.
        """
        assert self._loop is not None, "start() first"
        callback = self._pending.add(arrival)
        if callback.future.done():  # rejected: too many wait
            return callback.future
        if self._breaker.is_open or self._pending.size_bytes > self._limits.queue_bytes:
            self._queue_for_spool([callback])
        else:
            self._ledger_queue.append(callback)
            if not self._wakeup_scheduled:
                self._wakeup_scheduled = True  # once, after all callbacks of this turn of the loop: so they share a commit
                self._loop.call_soon(self._wake_writer)
        return callback.future

    def _wake_writer(self) -> None:
        self._wakeup_scheduled = False
        self._writer_wakeup.set()

    def _check_pending(self) -> None:
        """Rejects callbacks that have waited for too long, and shows that the event loop runs."""
        assert self._loop is not None
        if self._stopping:
            return
        self._loop_part.beat()
        self._pending.reject_overdue()
        self._loop.call_later(_TICK_INTERVAL_S, self._check_pending)

    # The writer's thread.

    def _start_writer(self) -> None:
        with self._lock:
            self._writer_count += 1
            self._writer = writer = _Writer()
        writer.thread = SupervisedThread(
            self._health,
            self._writer_part,
            lambda: self._run_writer(writer),
            self._threads_end,
            is_over=lambda: writer is not self._writer,
            on_failure=lambda: self._queue_for_spool(self._claim_batch(writer)),
        )
        writer.thread.start()

    def _run_writer(self, writer: _Writer) -> None:
        while writer is self._writer:
            self._writer_part.beat()
            stopping = self._stopping  # read before the queue: a callback may come in between
            batch = [] if self._breaker.is_open else pop_batch(self._ledger_queue)
            if batch:
                self._write_batch(writer, batch)
            drained = not stopping and self._try_drain(writer)
            if batch or drained:
                continue
            if not self._spool.has_rows:
                self._writer_part.worked()
            if stopping:
                break
            self._writer_wakeup.wait(_PROBE_INTERVAL_S)
            self._writer_wakeup.clear()
        with self._lock:
            self._writer_count -= 1

    def _write_batch(self, writer: _Writer, batch: Sequence[PendingCallback]) -> None:
        writer.batch, writer.ledger_since_s = batch, monotonic_s()
        try:
            new, refused = self._record_batch([callback.arrival for callback in batch])
            failed = self._keep_refused(refused)
            self._on_recorded()
            results = _results_of(batch, new, failed)
        except (LedgerUnavailableError, ConflictError) as error:
            self._failed_bytes = sum(callback.size_bytes for callback in batch)
            self._queue_for_spool(self._claim_batch(writer))
            if writer is self._writer:
                self._breaker.trip(error)
        except Exception as error:
            self._queue_for_spool(self._claim_batch(writer))
            self._writer_part.failed_with(error)
            log.exception("recorder.failed", error=str(error))
        else:
            self._pending.resolve_soon(results)
            self._writer_part.worked()
            self._callbacks_part.worked()
            self._claim_batch(writer)
        finally:
            writer.ledger_since_s = None

    def _record_batch(self, arrivals: Sequence[Arrival]) -> tuple[set[bytes], list[Arrival]]:
        """Records arrivals; returns the keys of the new ones, and the arrivals that the ledger refuses for their content.

        Raises LedgerUnavailableError, ConflictError.
        """
        try:
            with self._ledger.write_once() as connection:
                return record(connection, arrivals), []
        except (LedgerUnavailableError, ConflictError):
            raise
        except Exception as error:  # noqa: BLE001 - one row must not make the others fail
            if len(arrivals) == 1:
                log.error("callback.refused_by_ledger", vendor=arrivals[0].vendor, app_id=arrivals[0].app_id, error=str(error))
                return set(), list(arrivals)
        half = len(arrivals) // 2
        new, refused = self._record_batch(arrivals[:half])
        more, others = self._record_batch(arrivals[half:])
        return new | more, refused + others

    def _keep_refused(self, refused: Sequence[Arrival]) -> dict[int, Exception]:
        """Keeps refused arrivals beside the spool; returns the error of each that could not be kept, by its `id`."""
        if not refused:
            return {}
        try:
            self._spool.set_aside(refused)
        except SpoolUnavailableError as error:
            return {id(arrival): NotRecordedError(str(error)) for arrival in refused}
        return {}

    def _try_drain(self, writer: _Writer) -> bool:
        """Records one lot of spooled callbacks, if there is one and it is time to try; returns whether it did."""
        now = monotonic_s()
        if now < self._next_drain_s:
            return False
        writer.ledger_since_s = now
        try:
            return self._drain_lot(now)
        except (LedgerUnavailableError, ConflictError) as error:
            self._next_drain_s = monotonic_s() + _PROBE_INTERVAL_S
            if writer is self._writer:
                self._breaker.trip(error)
        except Exception as error:
            self._next_drain_s = monotonic_s() + _PROBE_INTERVAL_S
            self._writer_part.failed_with(error)
            log.exception("recorder.failed", error=str(error))
        finally:
            writer.ledger_since_s = None
        return False

    def _drain_lot(self, now: float) -> bool:
        if now >= self._next_adopt_s:
            self._next_adopt_s = now + _ADOPT_INTERVAL_S
            self._spool.adopt()
            self._metrics.spool_set_aside.set(self._spool.set_aside_files())
        if not self._spool.has_rows:
            if self._breaker.is_open:
                self._probe_ledger()
            return False
        if (lot := self._spool.next_batch()) is None:
            return False
        _, refused = self._record_batch(lot.arrivals)
        self._spool.complete_batch(lot, refused)
        self._reset_breaker()
        self._on_recorded()
        if not self._spool.has_rows:
            log.info("spool.drained")
        return True

    def _probe_ledger(self) -> None:
        """Tries whether the ledger is back with a write of its own, as no spooled callback is there to try it with."""
        prove_writable(self._ledger, max(_PROBE_BYTES, self._failed_bytes))
        self._reset_breaker()

    # The guard's thread.

    def _run_guard(self) -> None:
        while not (self._stopping and self._is_idle()):
            self._guard_wakeup.wait(_GUARD_INTERVAL_S)
            self._guard_wakeup.clear()
            try:
                with self._guard_part.at_work():
                    self._check_queues(monotonic_s())
            except Exception as error:
                self._guard_part.failed_with(error)
                log.exception("recorder.failed", error=str(error))

    def _is_idle(self) -> bool:
        return not (self._ledger_queue or self._spool_queue or self._writer.batch)

    def _check_queues(self, now: float) -> None:
        """Moves callbacks that have waited for too long to the spool. now: of the monotonic clock, s."""
        writer, late = self._writer, now - self._ledger_timeout_s
        hung = self._claim_batch(writer) if oldest_arrival_s(writer.batch) < late else ()
        if hung or oldest_arrival_s(self._ledger_queue) < late:
            self._breaker.trip(LedgerUnavailableError(f"it did not take callbacks within {self._ledger_timeout_s:g} s"))
        if hung:
            self._write_to_spool(hung, self._reject_late)
        while self._breaker.is_open and (batch := pop_batch(self._ledger_queue)):
            self._spool_queue.extend(batch)
        while batch := pop_batch(self._spool_queue):
            self._write_to_spool(batch, self._pending.resolve_soon)
        self._replace_hung_writer(writer, now)
        if self._breaker.is_open and now >= self._next_spool_probe_s:
            self._probe_spool()
            self._next_spool_probe_s = monotonic_s() + _SPOOL_PROBE_INTERVAL_S

    def _probe_spool(self) -> None:
        """Tries whether the spool takes callbacks: while the ledger is away, this shows it even if no callback comes."""
        try:
            self._spool.prove_writable(max(_SPOOL_PROBE_BYTES, self._failed_bytes))
        except SpoolUnavailableError:
            self._callbacks_part.failed(_NOTHING_WRITABLE)
        else:
            self._callbacks_part.worked()

    def _replace_hung_writer(self, writer: _Writer, now: float) -> None:
        """Starts another writer if this one has hung for too long."""
        hangs_s = now - writer.ledger_since_s if writer.ledger_since_s is not None else 0.0
        patience_s = self._limits.replace_writer_s * 2 ** (self._writer_count - 1)
        if hangs_s > patience_s and self._writer_count < self._limits.max_writers:
            self._start_writer()

    def _claim_batch(self, writer: _Writer) -> Sequence[PendingCallback]:
        """Returns the batch of this writer, once: the failed writer and the guard may ask for it at the same time."""
        with self._lock:
            batch, writer.batch = writer.batch, ()
        return batch

    def _queue_for_spool(self, batch: Sequence[PendingCallback]) -> None:
        self._spool_queue.extend(batch)
        self._guard_wakeup.set()

    def _write_to_spool(self, batch: Sequence[PendingCallback], reject: Callable[[Sequence[Result]], None]) -> None:
        """Spools a batch and answers it. reject: called with the results if the spool does not take it."""
        try:
            self._spool.append([callback.arrival for callback in batch])
        except SpoolUnavailableError as error:
            self._callbacks_part.failed(_NOTHING_WRITABLE)
            reject([(callback, NotRecordedError(str(error))) for callback in batch])
        except Exception as error:
            self._callbacks_part.failed(_NOTHING_WRITABLE)
            reject([(callback, NotRecordedError(str(error))) for callback in batch])
            log.exception("recorder.failed", error=str(error))
        else:
            self._callbacks_part.worked()
            self._metrics.spooled.inc(len(batch))
            self._pending.resolve_soon([(callback, True) for callback in batch])

    def _reject_late(self, rejections: Sequence[Result]) -> None:
        """Rejects callbacks after the time in which the hanging writer may still commit them."""
        delay_s = min(callback.arrived_s for callback, _ in rejections) + _LAST_CHANCE_S - monotonic_s()
        self._pending.resolve_later(delay_s, rejections)

    def _reset_breaker(self) -> None:
        self._breaker.reset()
        self._failed_bytes = 0
        self._callbacks_part.worked()


def _results_of(batch: Sequence[PendingCallback], new: Set[bytes], failed: Mapping[int, Exception]) -> list[Result]:
    """new: keys of the arrivals that were new. failed: errors by the `id` of the arrival."""
    if len(new) == len(batch):
        return [(callback, True) for callback in batch]
    return [(callback, failed.get(id(callback.arrival)) or recorded_key(callback.arrival) in new) for callback in batch]
