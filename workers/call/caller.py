"""Makes the vendor calls that wait in the ledger, within the vendors' quotas, and posts their answers to the inbox.

A call is claimed in a transaction of its own before anything is sent. It stays in the ledger until its answer, an inbox row, was
applied. If the process dies in between, the lease ends, and any worker posts that the outcome is ambiguous. The real answer counts
however late it comes, so posting it is retried for as long as the process lives.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from adapters.clock import monotonic_s
from adapters.http import HttpReply, NoReply
from adapters.http_messages import HttpRequest
from adapters.ledger import Ledger, LedgerUnavailableError, effects, inbox, quotas, search
from adapters.ledger.effects import ClaimedCall
from adapters.logs import logger
from adapters.supervision import Health, SupervisedThread
from adapters.vendors import dialect
from adapters.vendors.accounts import Accounts
from adapters.vendors.calls import Account, Call, CallAnswer, CallOutcome, Operation
from statemachine.states import State
from statemachine.tasks import Task
from workers.call.call_attempt import LEASE_MS, CallAttempt, expired_attempt, log_attempt
from workers.call.call_builder import Step, build_call, next_step
from workers.thread_pool import ThreadPool

#: Expired leases handled per pass at most.
_LEASES_PER_PASS = 200
#: Pauses between two looks for calls, s: while none is due, and while some wait for their quota.
_IDLE_PAUSE_S, _BUSY_PAUSE_S = 0.25, 0.05
#: Backoff while the ledger is unavailable, s: the first pause, doubled up to the last.
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 5.0
#: Timeout for the calls in flight when the process ends, s.
_FINISH_S = 12.0

_Result = TypeVar("_Result")
#: Runs a function that uses the ledger: once, or again and again until the ledger is available.
_RunWithLedger = Callable[[Callable[[], Any]], Any]

log = logger(__name__)


class VendorClient(Protocol):
    """An HTTP client."""

    def send(self, request: HttpRequest) -> HttpReply:
        """Returns the reply. Raises NoReply, and nothing else."""
        ...


class Caller:
    """Makes calls from threads of its own (`start`, `stop`), or within the caller's thread (`run_once`).

    client: sends the requests that `accounts` sign. clock: ms. wake_applier: called when the inbox has new answers.
    concurrency: calls in flight at the same time, at most. health: where the caller registers.
    """

    def __init__(
        self,
        ledger: Ledger,
        accounts: Accounts,
        client: VendorClient,
        clock: Callable[[], int],
        wake_applier: Callable[[], None],
        *,
        concurrency: int = 32,
        health: Health | None = None,
    ) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._client = client
        self._clock = clock
        self._wake_applier = wake_applier
        self._concurrency = concurrency
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._pool = ThreadPool(concurrency, "call", on_finished=self._woken.set)
        health = health or Health()
        self._part = health.part("calls")
        self._thread = SupervisedThread(health, self._part, self._run, self._stopping)

    # In threads.

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Makes the caller look for due calls at once."""
        self._woken.set()

    def stop(self, finish_s: float = _FINISH_S) -> None:
        """Claims no more calls, and waits for those in flight for at most `finish_s`."""
        until_s = monotonic_s() + finish_s
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=finish_s)
        self._pool.wait(until_s - monotonic_s())
        self._abandoned.set()
        self._pool.shut_down()

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause_s = _IDLE_PAUSE_S
            try:
                with self._part.at_work():
                    pause_s = self._dispatch_due()
            except LedgerUnavailableError as error:
                log.error("caller.failed", error=str(error))
            except Exception as error:
                self._part.failed_with(error)
                log.error("caller.failed", exc_info=error)
            self._woken.wait(pause_s)
            self._woken.clear()

    def _dispatch_due(self) -> float:
        """Claims due calls for the threads that are free; returns the pause until the next look, s."""
        self._post_expired()
        free = self._concurrency - self._pool.unfinished
        if free <= 0 or not self._any_due():
            return _IDLE_PAUSE_S
        for claimed in self._claim_calls(free):
            self._pool.submit(self._make_in_thread, claimed)
        return _BUSY_PAUSE_S

    def _make_in_thread(self, claimed: ClaimedCall) -> None:
        try:
            self._make_call(claimed, self._retry_until_ledger_answers)
        except Exception as error:
            log.error("call.lost", task_id=claimed.task_id, operation=claimed.operation, exc_info=error)

    def _retry_until_ledger_answers(self, function: Callable[[], _Result]) -> _Result:
        pause_s = _MIN_BACKOFF_S
        while True:
            try:
                return function()
            except LedgerUnavailableError as error:
                log.error("call.waits", error=str(error))
                if self._abandoned.wait(pause_s):
                    raise
                pause_s = min(_MAX_BACKOFF_S, pause_s * 2)

    # In the caller's own thread.

    def run_once(self) -> int:
        """Makes the calls that their quotas allow, one after the other; returns how many answers were posted.

        Raises LedgerUnavailableError.
        """
        posted = self._post_expired()
        if self._any_due():
            for claimed in self._claim_calls(self._concurrency):
                self._make_call(claimed, lambda function: function())
                posted += 1
        return posted

    # Steps.

    def _any_due(self) -> bool:
        with self._ledger.read() as connection:
            return effects.any_due(connection, self._clock())

    def _claim_calls(self, limit: int) -> list[ClaimedCall]:
        with self._ledger.write() as connection:
            return effects.claim(connection, self._clock(), limit, LEASE_MS, self._accounts.quota_limit)

    def _post_expired(self) -> int:
        """Posts an ambiguous answer for each call whose lease ended; returns how many."""
        now = self._clock()
        with self._ledger.read() as connection:
            if not effects.any_expired(connection, now):
                return 0
        with self._ledger.write() as connection:
            attempts = [expired_attempt(claimed) for claimed in effects.expired(connection, now, _LEASES_PER_PASS)]
            for attempt in attempts:
                inbox.post(connection, inbox.ANSWER, attempt.key, attempt.inbox_payload(), now, shard=attempt.claimed.shard)
            effects.extend_leases(connection, [attempt.claimed.id for attempt in attempts], now + LEASE_MS)
        for attempt in attempts:
            log_attempt(attempt)
        self._wake_applier()
        return len(attempts)

    def _make_call(self, claimed: ClaimedCall, run: _RunWithLedger) -> None:
        """Makes one call and posts its answer."""
        task = run(lambda: self._find_task(claimed))
        attempt = self._attempt_call(claimed, task)
        log_attempt(attempt)
        run(lambda: self._post_answer(attempt))
        self._wake_applier()

    def _find_task(self, claimed: ClaimedCall) -> Task | None:
        """Returns the task of a call; None: it has none, or the stop of another run must be answered before this start."""
        with self._ledger.read() as connection:
            if claimed.operation == Operation.START and effects.is_stop_in_flight(connection, claimed.task_id):
                return None
            return search.find(connection, claimed.task_id)

    def _attempt_call(self, claimed: ClaimedCall, task: Task | None) -> CallAttempt:
        account = self._accounts.account_of(claimed.vendor, claimed.app_id)
        step, now = _step_of(claimed, task), self._clock()
        allowed = task is not None and account is not None and now < claimed.lease_until and _is_current_attempt(claimed, task)
        call = build_call(task, Operation(claimed.operation), step) if allowed and task is not None else None
        if task is None or account is None or call is None:
            return CallAttempt(claimed=claimed, answer=CallAnswer(outcome=CallOutcome.NOT_MADE), sent_at=now)
        answer = self._send_call(claimed.vendor, call, account, now)
        further = next_step(task, step, answer) if call.operation is Operation.INSPECT else None
        if further is not None:
            answer = replace(answer, outcome=CallOutcome.ACCEPTED, inspection=None)
        took_ms = max(0, self._clock() - now)
        return CallAttempt(claimed=claimed, answer=answer, call=call, step=further, sent_at=now, duration_ms=took_ms)

    def _send_call(self, vendor: str, call: Call, account: Account, now: int) -> CallAnswer:
        vendor_dialect = dialect(vendor)
        request = vendor_dialect.sign(call, account, now)
        try:
            reply = self._client.send(request)
        except NoReply as error:
            return vendor_dialect.read_answer(call, None, {}, None, error.error, received_at=self._clock())
        return vendor_dialect.read_answer(call, reply.status, reply.headers, reply.body, received_at=self._clock())

    def _post_answer(self, attempt: CallAttempt) -> None:
        """Posts the answer. The call stays claimed in the ledger until this row was applied."""
        now, answer = self._clock(), attempt.answer
        with self._ledger.write() as connection:
            inbox.post(connection, inbox.ANSWER, attempt.key, attempt.inbox_payload(), now, shard=attempt.claimed.shard)
            if answer.outcome is CallOutcome.THROTTLED:
                quotas.slow_down(connection, attempt.claimed.bucket, now, answer.retry_after_s)


def _step_of(claimed: ClaimedCall, task: Task | None) -> Step | None:
    pending = task.calls.get(Operation(claimed.operation)) if task is not None else None
    return claimed.step if claimed.step is not None else pending.step if pending is not None else None


def _is_current_attempt(claimed: ClaimedCall, task: Task) -> bool:
    """Returns whether the task still waits for this very attempt. No start is sent once a stop was requested."""
    pending = task.calls.get(Operation(claimed.operation))
    if pending is None or pending.serial != claimed.serial:
        return False
    return claimed.operation != Operation.START or (task.view.state is State.REQUESTED and task.view.stop_asked_at is None)
