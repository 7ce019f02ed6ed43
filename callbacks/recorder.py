"""Makes callbacks durable: in the ledger, or in the spool while the ledger cannot take them.

Callbacks that arrive while one batch commits share the next commit; when idle there is nothing to wait for. Each is answered after
the commit, or the sync, that holds it. A row that the ledger refuses for what it is fails nobody else and is kept aside.

Two threads: the *writer* writes to the ledger and may hang there; the *guard* never touches the ledger. It sees callbacks that
have waited for a second, opens the *breaker* and writes them into the spool; while the breaker is open everything goes there at
once. The writer then tries every half second whether the ledger takes what is spooled, and closes the breaker when it does. What a
hanging writer commits after all is recognised when it comes out of the spool again. A writer that hangs on is replaced by another
one, for it may hang forever on a connection whose other end is gone.

Whatever happens to the threads, nobody waits for longer than `Limits.refuse_s`: then the event loop itself refuses. Who is refused
may come again, and is recognised if the ledger or the spool took it after all.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from adapters.clock import monotonic_s
from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError
from adapters.ledger.inbox import Arrival, record, recorded_key
from adapters.ledger.write_probe import prove_writable
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.spool import Spool, SpoolUnavailableError
from adapters.supervision import Health, SupervisedThread

#: In one commit at the most: a bound on how long one callback waits for the others. Rows; bytes.
_BATCH = 500
_BATCH_BYTES = 8 * 1024 * 1024
#: What a callback takes in memory besides its body, about.
_OVERHEAD = 2_048
#: How often the guard looks, s.
_LOOK_S = 0.1
#: How often the writer tries whether the ledger is back, s.
_PROBE_S = 0.5
#: How often the writer looks for spool files of processes that died, s.
_ADOPT_S = 5.0
#: Where the spool cannot take it either, the ledger has so long after its arrival, s: vendors give up after 5.
_LAST_S = 4.0
#: How often the event loop looks for who has waited for too long, s.
_TICK_S = 0.5
#: While the ledger is away, how often it is tried whether the spool takes callbacks, s.
_SPOOL_PROBE_S = 1.0
#: What a probe writes at the least, bytes: about as many pages as a callback takes in the ledger with its indexes.
_PROBE_BYTES = 64 * 1024
#: What a probe of the spool writes at the least, bytes.
_SPOOL_PROBE_BYTES = 4 * 1024
#: An event loop that stands still for so long hangs; so does a guard, s: it only writes to the spool.
_LOOP_PATIENCE_S, _GUARD_PATIENCE_S = 3.0, 5.0

#: What is said then; see `Health`.
_NEITHER = "neither the ledger nor the spool takes callbacks"
#: How long the ledger may take for a callback while the process ends, s: the door shuts only after it.
_HURRY_S = 0.25

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and for how much is waited."""

    #: The ledger may take so long for a callback, s.
    patience_s: float = 1.0
    #: Whoever has waited for so long is refused, whatever hangs, s: vendors give up after 5.
    refuse_s: float = 4.5
    #: Of callbacks that wait for the ledger; what comes on top goes to the spool. As much again may wait for that.
    queue_bytes: int = 32 * 1024 * 1024
    #: A writer that hangs for so long is replaced, s; the next one after twice as long, and so on.
    replace_s: float = 5.0
    #: So many may hang.
    writers: int = 8


class NotTakenError(Exception):
    """Neither the ledger nor the spool can take it now."""


@dataclass(slots=True, eq=False)
class _Waiting:
    arrival: Arrival
    done: "asyncio.Future[bool]"
    #: When it came, s.
    since: float
    #: What it takes in memory, bytes; 0 once it is answered.
    weight: int


#: Whether it was new, as far as is known; or why it was not taken.
_Answer = tuple[_Waiting, bool | Exception]


@dataclass(slots=True, eq=False)
class _Writer:
    """What one writer thread does, for the guard to see."""

    thread: SupervisedThread | None = None
    #: What it tries to write for others who wait; empty once the guard took it over.
    batch: Sequence[_Waiting] = ()
    #: Since when it has been with the ledger, s; None: it is not.
    since: float | None = None


class Recorder:
    """Start it in the event loop that will await it."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        metrics: Metrics,
        *,
        on_recorded: Callable[[], None],
        limits: Limits,
        health: Health | None = None,
    ) -> None:
        """health: where its parts register."""
        self._ledger = ledger
        self._spool = spool
        self._metrics = metrics
        self._on_recorded = on_recorded
        self._limits = limits
        self._patience_s = limits.patience_s
        self._for_ledger: deque[_Waiting] = deque()
        self._for_spool: deque[_Waiting] = deque()
        #: Bytes of what waits for an answer. Only the event loop touches it.
        self._weight = 0
        #: Of the breaker, of `_Writer.batch` and of the count of writers.
        self._lock = threading.Lock()
        self._open = False
        self._writer = _Writer()
        self._writers = 0
        #: When the writer may try to drain, and when it looks for files of the dead, s.
        self._drain_at = self._adopt_at = 0.0
        self._work = threading.Event()
        self._alarm = threading.Event()
        self._waking = self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        #: All that wait, the oldest first, and those that were answered behind it. Only the event loop touches it.
        self._pending: deque[_Waiting] = deque()
        #: What was refused last, bytes: a probe that writes less would prove nothing.
        self._refused_bytes = 0
        self._ask_spool_at = 0.0
        self._ending = threading.Event()
        self._health = health = health or Health()
        self._callbacks_part = health.part("callbacks", needs_ledger=False)
        self._loop_part = health.part("event-loop", patience_s=_LOOP_PATIENCE_S, needs_ledger=False)
        self._writer_part = health.part("recorder-writer")
        self._guard_part = health.part("recorder-guard", patience_s=_GUARD_PATIENCE_S, needs_ledger=False)
        self._guard = SupervisedThread(health, self._guard_part, self._watch, self._ending)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start_writer()
        self._guard.start()
        self._tick()

    def hurry(self) -> None:
        """The process is about to end: what the ledger does not take almost at once goes to the spool, for the next one."""
        self._patience_s = min(self._patience_s, _HURRY_S)

    def stop(self) -> None:
        """Writes what waits, then ends; what the ledger does not take in time goes to the spool."""
        self._stopping = True
        self._loop_part.rest()  # this very call keeps it from running
        self._ending.set()
        self._work.set()
        self._alarm.set()
        self._guard.join(timeout=10)
        if self._writer.thread is not None and self._writer.since is None:
            self._writer.thread.join(timeout=5)

    def record(self, arrival: Arrival) -> "asyncio.Future[bool]":
        """Whether it was new, as far as is known. Durable when this is done. Raises NotTakenError."""
        assert self._loop is not None, "start() first"
        waiting = _Waiting(arrival, self._loop.create_future(), monotonic_s(), len(arrival.body) + _OVERHEAD)
        weight = self._weight + waiting.weight
        if weight > 2 * self._limits.queue_bytes:
            waiting.done.set_exception(NotTakenError("too many wait already"))
            return waiting.done
        self._weight = weight
        self._pending.append(waiting)
        if self._open or weight > self._limits.queue_bytes:
            self._to_spool([waiting])
        else:
            self._for_ledger.append(waiting)
            if not self._waking:
                self._waking = True  # once, and after all that this turn of the loop brings: so they share a commit
                self._loop.call_soon(self._wake)
        return waiting.done

    def _wake(self) -> None:
        self._waking = False
        self._work.set()

    def _tick(self) -> None:
        """Refuses who has waited for too long, and shows that the event loop runs."""
        assert self._loop is not None
        if self._stopping:
            return
        self._loop_part.beat()
        late, pending = monotonic_s() - self._limits.refuse_s, self._pending
        while pending and (not pending[0].weight or pending[0].since < late):
            self._settle([(pending.popleft(), NotTakenError("neither the ledger nor the spool took it in time"))])
        self._loop.call_later(_TICK_S, self._tick)

    # The writer's thread.

    def _start_writer(self) -> None:
        with self._lock:
            self._writers += 1
            self._writer = writer = _Writer()
        writer.thread = SupervisedThread(
            self._health,
            self._writer_part,
            lambda: self._write_on(writer),
            self._ending,
            is_over=lambda: writer is not self._writer,
            on_failure=lambda: self._to_spool(self._taken_over(writer)),
        )
        writer.thread.start()

    def _write_on(self, writer: _Writer) -> None:
        while writer is self._writer:
            self._writer_part.beat()
            stopping = self._stopping  # before it looks, for something may have come in between
            batch = [] if self._open else _taken(self._for_ledger)
            if batch:
                self._write(writer, batch)
            drained = not stopping and self._drain(writer)
            if batch or drained:
                continue
            if not self._spool.has_rows:
                self._writer_part.worked()
            if stopping:
                break
            self._work.wait(_PROBE_S)
            self._work.clear()
        with self._lock:
            self._writers -= 1

    def _write(self, writer: _Writer, batch: Sequence[_Waiting]) -> None:
        writer.batch, writer.since = batch, monotonic_s()
        try:
            new, refused = self._recorded([waiting.arrival for waiting in batch])
            failed = self._set_aside(refused)
            self._on_recorded()
            answers = _answers(batch, new, failed)
        except (LedgerUnavailableError, ConflictError) as error:
            self._refused_bytes = sum(waiting.weight for waiting in batch)
            self._to_spool(self._taken_over(writer))
            if writer is self._writer:
                self._trip_breaker(error)
        except Exception as error:
            self._to_spool(self._taken_over(writer))
            self._writer_part.failed_with(error)
            log.exception("recorder.failed", error=str(error))
        else:
            self._answer(answers)
            self._writer_part.worked()
            self._callbacks_part.worked()
            self._taken_over(writer)
        finally:
            writer.since = None

    def _recorded(self, arrivals: Sequence[Arrival]) -> tuple[set[bytes], list[Arrival]]:
        """The keys of those that were new, and those that the ledger refuses for what they are."""
        try:
            with self._ledger.write_once() as connection:
                return record(connection, arrivals), []
        except (LedgerUnavailableError, ConflictError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever one row does must not fail the others
            if len(arrivals) == 1:
                log.error("callback.refused_by_ledger", vendor=arrivals[0].vendor, app_id=arrivals[0].app_id, error=str(error))
                return set(), list(arrivals)
        half = len(arrivals) // 2
        new, refused = self._recorded(arrivals[:half])
        more, others = self._recorded(arrivals[half:])
        return new | more, refused + others

    def _set_aside(self, refused: Sequence[Arrival]) -> dict[int, Exception]:
        """Keeps them beside the spool; which could not be kept, by `id`, and why."""
        if not refused:
            return {}
        try:
            self._spool.set_aside(refused)
        except SpoolUnavailableError as error:
            return {id(arrival): NotTakenError(str(error)) for arrival in refused}
        return {}

    def _drain(self, writer: _Writer) -> bool:
        """Records one lot of what is spooled, if there is one and it is time to try; whether it did."""
        now = monotonic_s()
        if now < self._drain_at:
            return False
        writer.since = now
        try:
            return self._drain_lot(now)
        except (LedgerUnavailableError, ConflictError) as error:
            self._drain_at = monotonic_s() + _PROBE_S
            if writer is self._writer:
                self._trip_breaker(error)
        except Exception as error:
            self._drain_at = monotonic_s() + _PROBE_S
            self._writer_part.failed_with(error)
            log.exception("recorder.failed", error=str(error))
        finally:
            writer.since = None
        return False

    def _drain_lot(self, now: float) -> bool:
        if now >= self._adopt_at:
            self._adopt_at = now + _ADOPT_S
            self._spool.adopt()
            self._metrics.spool_set_aside.set(self._spool.set_aside_files())
        if not self._spool.has_rows:
            if self._open:
                self._ask_ledger()
            return False
        if (lot := self._spool.next_lot()) is None:
            return False
        _, refused = self._recorded(lot.arrivals)
        self._spool.done(lot, refused)
        self._reset_breaker()
        self._on_recorded()
        if not self._spool.has_rows:
            log.info("spool.drained")
        return True

    def _ask_ledger(self) -> None:
        """There is nothing spooled to try it with."""
        prove_writable(self._ledger, max(_PROBE_BYTES, self._refused_bytes))
        self._reset_breaker()

    # The guard's thread.

    def _watch(self) -> None:
        while not (self._stopping and self._is_idle()):
            self._alarm.wait(_LOOK_S)
            self._alarm.clear()
            try:
                with self._guard_part.at_work():
                    self._look(monotonic_s())
            except Exception as error:
                self._guard_part.failed_with(error)
                log.exception("recorder.failed", error=str(error))

    def _is_idle(self) -> bool:
        return not (self._for_ledger or self._for_spool or self._writer.batch)

    def _look(self, now: float) -> None:
        """now: s."""
        writer, late = self._writer, now - self._patience_s
        hung = self._taken_over(writer) if _oldest(writer.batch) < late else ()
        if hung or _oldest(self._for_ledger) < late:
            self._trip_breaker(LedgerUnavailableError(f"it did not take callbacks within {self._patience_s:g} s"))
        if hung:
            self._spool_up(hung, self._last_chance)
        while self._open and (batch := _taken(self._for_ledger)):
            self._for_spool.extend(batch)
        while batch := _taken(self._for_spool):
            self._spool_up(batch, self._answer)
        self._replace(writer, now)
        if self._open and now >= self._ask_spool_at:
            self._ask_spool()
            self._ask_spool_at = monotonic_s() + _SPOOL_PROBE_S

    def _ask_spool(self) -> None:
        """The ledger is away: does the spool take callbacks, as long as none comes?"""
        try:
            self._spool.prove_writable(max(_SPOOL_PROBE_BYTES, self._refused_bytes))
        except SpoolUnavailableError:
            self._callbacks_part.failed(_NEITHER)
        else:
            self._callbacks_part.worked()

    def _replace(self, writer: _Writer, now: float) -> None:
        """Starts another writer where this one has hung for too long."""
        hangs_s = now - writer.since if writer.since is not None else 0.0
        if hangs_s > self._limits.replace_s * 2 ** (self._writers - 1) and self._writers < self._limits.writers:
            self._start_writer()

    def _taken_over(self, writer: _Writer) -> Sequence[_Waiting]:
        """What this writer tries to write, once: for its failure and the guard may come at the same time."""
        with self._lock:
            batch, writer.batch = writer.batch, ()
        return batch

    def _to_spool(self, batch: Sequence[_Waiting]) -> None:
        self._for_spool.extend(batch)
        self._alarm.set()

    def _spool_up(self, batch: Sequence[_Waiting], refuse: Callable[[Sequence[_Answer]], None]) -> None:
        try:
            self._spool.append([waiting.arrival for waiting in batch])
        except SpoolUnavailableError as error:
            self._callbacks_part.failed(_NEITHER)
            refuse([(waiting, NotTakenError(str(error))) for waiting in batch])
        except Exception as error:
            self._callbacks_part.failed(_NEITHER)
            refuse([(waiting, NotTakenError(str(error))) for waiting in batch])
            log.exception("recorder.failed", error=str(error))
        else:
            self._callbacks_part.worked()
            self._metrics.spooled.inc(len(batch))
            self._answer([(waiting, True) for waiting in batch])

    def _last_chance(self, refusals: Sequence[_Answer]) -> None:
        """The ledger still has them in hand: who waits is not refused as long as the ledger may yet answer."""
        assert self._loop is not None
        wait_s = min(waiting.since for waiting, _ in refusals) + _LAST_S - monotonic_s()
        self._to_loop(lambda: self._later(wait_s, refusals))

    # The breaker.

    def _trip_breaker(self, error: Exception) -> None:
        with self._lock:
            was_open, self._open = self._open, True
        if not was_open:
            self._metrics.ledger_away.set(1)
            log.warning("breaker.opened", error=str(error))

    def _reset_breaker(self) -> None:
        with self._lock:
            was_open, self._open = self._open, False
        self._refused_bytes = 0
        if was_open:
            self._metrics.ledger_away.set(0)
            log.info("breaker.closed")
        self._callbacks_part.worked()

    # Answers: given by any thread, brought by the event loop.

    def _answer(self, answers: Sequence[_Answer]) -> None:
        self._to_loop(lambda: self._settle(answers))

    def _later(self, wait_s: float, answers: Sequence[_Answer]) -> None:
        assert self._loop is not None
        self._loop.call_later(wait_s, self._settle, answers)

    def _to_loop(self, what: Callable[[], None]) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed, as when a writer comes back that hung when the process was told to end
            self._loop.call_soon_threadsafe(what)

    def _settle(self, answers: Sequence[_Answer]) -> None:
        for waiting, answer in answers:
            self._weight -= waiting.weight
            waiting.weight = 0
            if waiting.done.done():  # the spool and the ledger both have it, or the sender hung up: it is kept all the same
                continue
            if isinstance(answer, Exception):
                waiting.done.set_exception(answer)
            else:
                waiting.done.set_result(answer)
        while self._pending and not self._pending[0].weight:
            self._pending.popleft()


def _taken(queue: deque[_Waiting]) -> list[_Waiting]:
    """A batch from its front; several threads may take at the same time."""
    batch: list[_Waiting] = []
    size = 0
    with suppress(IndexError):
        while len(batch) < _BATCH and size < _BATCH_BYTES:
            batch.append(queue.popleft())
            size += len(batch[-1].arrival.body)
    return batch


def _oldest(queue: Sequence[_Waiting]) -> float:
    """Since when its first waits, s."""
    try:
        return queue[0].since
    except IndexError:  # the other thread took it
        return inf


def _answers(batch: Sequence[_Waiting], new: Set[bytes], failed: Mapping[int, Exception]) -> list[_Answer]:
    if len(new) == len(batch):
        return [(waiting, True) for waiting in batch]
    return [(waiting, failed.get(id(waiting.arrival)) or recorded_key(waiting.arrival) in new) for waiting in batch]
