"""Makes the calls to vendors that the ledger's effects want, within the vendors' quotas, and posts their answers.

An effect is taken in a transaction of its own before anything is sent, and stays until its answer, an inbox row, was applied. A
process that dies in between leaves a lease that ends: then somebody posts that nobody knows. The real answer counts however late
it comes, so posting it is tried for as long as the process lives.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from adapters.clock import monotonic_s
from adapters.http import NoAnswer, Reply
from adapters.ledger import Ledger, LedgerUnavailableError, effects, inbox, quotas, search
from adapters.ledger.effects import Effect
from adapters.logs import logger
from adapters.supervision import Health, SupervisedThread
from adapters.vendors import dialect
from adapters.vendors.accounts import Accounts
from adapters.vendors.calls import Account, Answer, Call, HttpRequest, Operation, Outcome
from statemachine.states import State
from statemachine.tasks import Task
from workers.call.call_attempt import LEASE_MS, Attempt, lost, tell
from workers.call.call_builder import Step, call_of, next_step

#: Leases that are ended at once.
_EXPIRED = 200
#: Between two looks for calls, s: while nothing waits, and while some wait for their quota.
_PAUSE_S, _SOON_S = 0.25, 0.05
#: Pauses while the ledger is away, s: the first, doubled up to the last.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 5.0
#: How long calls under way may take to finish when the process ends, s.
_FINISH_S = 12.0

_Result = TypeVar("_Result")
#: Does something with the ledger, at once or as soon as it can be reached.
_Reach = Callable[[Callable[[], Any]], Any]

log = logger(__name__)


class Client(Protocol):
    def send(self, request: HttpRequest) -> Reply:
        """What came back. Raises NoAnswer, and nothing else."""
        ...


class Caller:
    """`ring`: wakes whoever applies the inbox. `at_once`: calls under way at the same time. `clock`: ms.

    `health`: where it registers.
    """

    def __init__(
        self,
        ledger: Ledger,
        accounts: Accounts,
        client: Client,
        clock: Callable[[], int],
        ring: Callable[[], None],
        *,
        at_once: int = 32,
        health: Health | None = None,
    ) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._client = client
        self._clock = clock
        self._ring = ring
        self._at_once = at_once
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._under_way: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="call")
        health = health or Health()
        self._part = health.part("calls")
        self._thread = SupervisedThread(health, self._part, self._run, self._stopping)

    # In threads.

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be calls to be made."""
        self._woken.set()

    def stop(self, finish_s: float = _FINISH_S) -> None:
        """Takes no more calls, and lets those under way finish."""
        until_s = monotonic_s() + finish_s
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=finish_s)
        wait(list(self._under_way), timeout=max(0.0, until_s - monotonic_s()))
        self._abandoned.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause_s = _PAUSE_S
            try:
                with self._part.at_work():
                    pause_s = self._hand_out()
            except LedgerUnavailableError as error:
                log.error("caller.failed", error=str(error))
            except Exception as error:
                self._part.failed_with(error)
                log.error("caller.failed", exc_info=error)
            self._woken.wait(pause_s)
            self._woken.clear()

    def _hand_out(self) -> float:
        """Gives calls to the threads that are free; how long to rest then, s."""
        self._expire()
        free = self._at_once - len(self._under_way)
        if free <= 0 or not self._any_due():
            return _PAUSE_S
        for effect in self._claimed(free):
            future = self._pool.submit(self._make_in_thread, effect)
            self._under_way.add(future)
            future.add_done_callback(self._finished)
        return _SOON_S

    def _finished(self, future: Future[None]) -> None:
        self._under_way.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            log.error("thread.failed", part="call", exc_info=error)
        self._woken.set()

    def _make_in_thread(self, effect: Effect) -> None:
        try:
            self._make(effect, self._as_soon_as_possible)
        except Exception as error:
            log.error("call.lost", task_id=effect.task_id, operation=effect.operation, exc_info=error)

    def _as_soon_as_possible(self, do: Callable[[], _Result]) -> _Result:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return do()
            except LedgerUnavailableError as error:
                log.error("call.waits", error=str(error))
                if self._abandoned.wait(pause_s):
                    raise
                pause_s = min(_LAST_PAUSE_S, pause_s * 2)

    # In the caller's own thread.

    def once(self) -> int:
        """Makes the calls that their quotas allow, one after the other; how many answers were posted.

        Raises LedgerUnavailableError.
        """
        posted = self._expire()
        if self._any_due():
            for effect in self._claimed(self._at_once):
                self._make(effect, lambda do: do())
                posted += 1
        return posted

    # Steps.

    def _any_due(self) -> bool:
        with self._ledger.read() as connection:
            return effects.any_due(connection, self._clock())

    def _claimed(self, limit: int) -> list[Effect]:
        with self._ledger.write() as connection:
            return effects.claim(connection, self._clock(), limit, LEASE_MS, self._accounts.limit)

    def _expire(self) -> int:
        """Posts of the calls whose lease is over that nobody knows; how many."""
        now = self._clock()
        with self._ledger.read() as connection:
            if not effects.any_expired(connection, now):
                return 0
        with self._ledger.write() as connection:
            silent = [lost(effect) for effect in effects.expired(connection, now, _EXPIRED)]
            for attempt in silent:
                inbox.post(connection, inbox.ANSWER, attempt.key, attempt.payload(), now, shard=attempt.effect.shard)
            effects.extend(connection, [attempt.effect.id for attempt in silent], now + LEASE_MS)
        for attempt in silent:
            tell(attempt)
        self._ring()
        return len(silent)

    def _make(self, effect: Effect, reach: _Reach) -> None:
        """Makes one call and posts its answer."""
        task = reach(lambda: self._task(effect))
        attempt = self._attempted(effect, task)
        tell(attempt)
        reach(lambda: self._post(attempt))
        self._ring()

    def _task(self, effect: Effect) -> Task | None:
        """The task that this call is for; None: there is none, or another run's stop must be answered before it starts."""
        with self._ledger.read() as connection:
            if effect.operation == Operation.START and effects.stop_on_the_wire(connection, effect.task_id):
                return None
            return search.find(connection, effect.task_id)

    def _attempted(self, effect: Effect, task: Task | None) -> Attempt:
        account = self._accounts.account_of(effect.vendor, effect.app_id)
        step, now = _step_of(effect, task), self._clock()
        wanted = task is not None and account is not None and now < effect.lease_until and _is_wanted(effect, task)
        call = call_of(task, Operation(effect.operation), step) if wanted and task is not None else None
        if task is None or account is None or call is None:
            return Attempt(effect=effect, answer=Answer(outcome=Outcome.NOT_MADE), sent_at=now)
        answer = self._asked(effect.vendor, call, account, now)
        further = next_step(task, step, answer) if call.operation is Operation.INSPECT else None
        if further is not None:
            answer = replace(answer, outcome=Outcome.ACCEPTED, inspection=None)
        took_ms = max(0, self._clock() - now)
        return Attempt(effect=effect, answer=answer, call=call, step=further, sent_at=now, duration_ms=took_ms)

    def _asked(self, vendor: str, call: Call, account: Account, now: int) -> Answer:
        speaks = dialect(vendor)
        request = speaks.sign(call, account, now)
        try:
            reply = self._client.send(request)
        except NoAnswer as error:
            return speaks.read_answer(call, None, {}, None, error.error, received_at=self._clock())
        return speaks.read_answer(call, reply.status, reply.headers, reply.body, received_at=self._clock())

    def _post(self, attempt: Attempt) -> None:
        """The effect stays, taken, until this row was applied."""
        now, answer = self._clock(), attempt.answer
        with self._ledger.write() as connection:
            inbox.post(connection, inbox.ANSWER, attempt.key, attempt.payload(), now, shard=attempt.effect.shard)
            if answer.outcome is Outcome.THROTTLED:
                quotas.slow(connection, attempt.effect.bucket, now, answer.retry_after_s)


def _step_of(effect: Effect, task: Task | None) -> Step | None:
    pursuit = task.calls.get(Operation(effect.operation)) if task is not None else None
    return effect.step if effect.step is not None else pursuit.step if pursuit is not None else None


def _is_wanted(effect: Effect, task: Task) -> bool:
    """Whether the task still waits for this very attempt; no start goes out once a stop was asked for."""
    pursuit = task.calls.get(Operation(effect.operation))
    if pursuit is None or pursuit.serial != effect.serial:
        return False
    return effect.operation != Operation.START or (task.view.state is State.REQUESTED and task.view.stop_asked_at is None)
