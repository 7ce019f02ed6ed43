"""Delivers events to subscribers: claims due deliveries, has threads send them, and records the results.

One thread makes rounds (`delivery_round`) and passes the claimed deliveries to the threads that send; sending never holds it up. A
delivery that was claimed by a process that died is due again when its lease ends. So an event can arrive twice, but never before
the event that precedes it in its task.
"""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue

from adapters.clock import monotonic_s
from adapters.downstream import Sink
from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError, deliveries
from adapters.ledger.deliveries import Delivery
from adapters.logs import logger
from adapters.supervision import Health, SupervisedThread
from workers.deliver.delivery_log import DeliveryLog
from workers.deliver.delivery_round import NOTHING_TO_DO, Capacity, Round, RoundPlan, plan_round, run_round
from workers.deliver.messages import MessageBuilder, OutboundMessage, SendAttempt
from workers.deliver.retention import delete_old_deliveries
from workers.deliver.send_window import SendWindow, SendWindows
from workers.deliver.sender import Sender, unexpected_failure
from workers.thread_pool import ThreadPool

#: Pauses between two rounds, s: while there is nothing to do, and while there is. In the shorter one results gather, so that rounds
#: are few: other writers wait for each.
_IDLE_PAUSE_S, _BUSY_PAUSE_S = 0.25, 0.05
#: Backoff while the ledger is unavailable, s: the first pause, doubled up to the last.
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 5.0
#: Threads that send, at most. A subscription that hangs occupies few of them (`send_window`).
_MAX_THREADS = 512
#: Results recorded per round at most.
_RESULTS_PER_ROUND = 4_000
#: Timeout for the messages that are in flight when the process ends, s.
_FINISH_S = 12.0
#: Attempts to record the last results when the process ends.
_MAX_LAST_TRIES = 5
#: Deliveries claimed per subscription in a round of `run_once`, at most.
_FIXED_CAPACITY = 200
#: Interval between two deletions of old deliveries, ms.
_RETENTION_INTERVAL_MS = 60_000
_DAY_MS = 24 * 3_600_000

log = logger(__name__)


def _no_capacity(_subscription_id: str) -> int:
    return 0


def _fixed_capacity(_subscription_id: str) -> int:
    return _FIXED_CAPACITY


class Dispatcher:
    """Delivers events from a thread of its own (`start`, `stop`), or within the caller's thread (`run_once`).

    sinks: by type of sink. clock: ms. keep_days: how long delivered events are kept. jitter: returns a random number from 0 to 1.
    health: where the dispatcher registers.
    """

    def __init__(
        self,
        ledger: Ledger,
        sinks: Mapping[str, Sink],
        clock: Callable[[], int],
        *,
        keep_days: int = 14,
        jitter: Callable[[], float] = random.random,
        health: Health | None = None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._keep_ms = keep_days * _DAY_MS
        self._jitter = jitter
        self._sender = Sender(sinks, clock)
        self._builder = MessageBuilder()
        self._windows = SendWindows()
        self._log = DeliveryLog()
        #: What the threads return: attempts, and deliveries that were not sent after all.
        self._returned: SimpleQueue[SendAttempt | Delivery] = SimpleQueue()
        #: Attempts that are not recorded yet.
        self._attempts: list[SendAttempt] = []
        #: Deliveries that were not sent, and whose lease is not released yet.
        self._unsent: list[Delivery] = []
        self._planned_s = 0.0
        #: True until the leases of an earlier process are released; on SQLite no other process delivers.
        self._has_stale_leases = ledger.path is not None
        self._deleted_at: int | None = None
        self._woken, self._new_events = threading.Event(), threading.Event()
        self._stopping = threading.Event()
        self._pool = ThreadPool(_MAX_THREADS, "send")
        health = health or Health()
        self._part = health.part("courier")
        self._thread = SupervisedThread(health, self._part, self._run, self._stopping)

    # In threads.

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Makes the dispatcher look for new events at once."""
        self._new_events.set()
        self._woken.set()

    def stop(self, finish_s: float = _FINISH_S) -> None:
        """Claims nothing more, waits for the messages in flight for at most `finish_s`, and records their results."""
        until_s = monotonic_s() + finish_s
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=finish_s)
        self._pool.shut_down()
        self._unsent += [message.delivery for message in self._windows.drain()]
        self._pool.wait(until_s - monotonic_s())
        self._record_last_results()

    def _record_last_results(self) -> None:
        """Records the results that are left. A delivery whose result cannot be recorded is sent again when its lease ends."""
        for _ in range(_MAX_LAST_TRIES):
            try:
                self._record_results()
            except ConflictError:
                continue
            except LedgerUnavailableError as error:
                log.error("courier.failed", error=str(error))
            return

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                with self._part.at_work():
                    pause_s = self._run_step()
                self._wait_for_work(pause_s)
                failures = 0
            except Exception as error:  # noqa: BLE001 - the thread's edge: without this thread, no subscriber gets anything
                self._log_failure(error)
                self._stopping.wait(min(_MAX_BACKOFF_S, _MIN_BACKOFF_S * 2.0**failures))
                failures = min(failures + 1, 10)

    def _wait_for_work(self, pause_s: float) -> None:
        """Waits until the next round. Only an idle pause is cut short by `wake`."""
        if pause_s == _IDLE_PAUSE_S:
            self._woken.wait(pause_s)
        else:
            self._stopping.wait(pause_s)
        self._woken.clear()

    def _log_failure(self, error: Exception) -> None:
        if isinstance(error, ConflictError):
            return  # another worker changed the same rows; the results are still here
        if isinstance(error, LedgerUnavailableError):
            log.error("courier.failed", error=str(error))
        else:
            self._part.failed_with(error)
            log.error("courier.failed", exc_info=error)

    def _run_step(self) -> float:
        """Runs a round if there is anything to do; returns the pause until the next one, s."""
        self._release_stale_leases()
        self._collect_results()
        self._delete_old_deliveries()
        plan = self._next_plan()
        if not (plan.to_do or self._attempts or self._unsent):
            return _IDLE_PAUSE_S
        self._dispatch_messages(self._run_round(plan, self._free_capacity))
        return _BUSY_PAUSE_S

    def _next_plan(self) -> RoundPlan:
        """Returns the plan of the next round.

        Recording results already makes the next deliveries due. Other work is looked for only when there are new events, when there
        are no results, and once per idle pause.
        """
        if self._attempts and not self._new_events.is_set() and monotonic_s() - self._planned_s < _IDLE_PAUSE_S:
            return NOTHING_TO_DO
        self._new_events.clear()
        return self._plan_round(self._free_capacity)

    def _dispatch_messages(self, messages: Sequence[OutboundMessage]) -> None:
        """Puts messages into the queues of their subscriptions, and starts the threads that these need."""
        by_subscription: dict[str, list[OutboundMessage]] = {}
        for message in messages:
            by_subscription.setdefault(message.subscription.id, []).append(message)
        for subscription_id, queued in by_subscription.items():
            window = self._windows.window_of(subscription_id)
            for _ in range(window.enqueue(queued)):
                self._pool.submit(self._send_in_thread, window)

    def _send_in_thread(self, window: SendWindow) -> None:
        """Sends messages of one subscription. Whatever ends the thread, its delivery is returned, and another can replace it."""
        while not self._stopping.is_set() and (message := window.next_message()) is not None:
            returned: SendAttempt | Delivery = message.delivery
            try:
                returned = self._sender.send(message)
            except BaseException:
                window.on_thread_ended()
                raise
            finally:
                self._returned.put(returned)
                self._woken.set()

    # In the caller's own thread.

    def run_once(self) -> int:
        """Runs one round, and sends its messages one after the other; returns how many there were.

        Raises LedgerUnavailableError, ConflictError.
        """
        messages = self._run_round(self._plan_round(_fixed_capacity), _fixed_capacity)
        for message in messages:
            self._returned.put(self._sender.send(message))
        self._record_results()
        return len(messages)

    # Steps.

    def _release_stale_leases(self) -> None:
        """Releases the leases of an earlier process once, if no other process can deliver, instead of waiting for their end."""
        if self._has_stale_leases:
            with self._ledger.write() as connection:
                deliveries.release_leases(connection, self._clock())
            self._has_stale_leases = False

    def _collect_results(self) -> None:
        while True:
            try:
                self._collect_result(self._returned.get_nowait())
            except Empty:
                return

    def _collect_result(self, returned: SendAttempt | Delivery) -> None:
        if isinstance(returned, Delivery):
            self._windows.window_of(returned.subscription_id).on_returned()
            self._unsent.append(returned)
        else:
            self._windows.window_of(returned.delivery.subscription_id).on_sent(ok=returned.result.ok)
            self._attempts.append(returned)

    def _plan_round(self, capacity: Capacity) -> RoundPlan:
        with self._ledger.read() as connection:
            plan = plan_round(connection, self._clock(), capacity)
        if plan.to_do:
            self._windows.keep_only(plan.active)
        self._planned_s = monotonic_s()
        return plan

    def _free_capacity(self, subscription_id: str) -> int:
        return self._windows.window_of(subscription_id).capacity

    def _record_results(self) -> None:
        """Records all results, and claims nothing."""
        self._collect_results()
        while self._attempts or self._unsent:
            self._run_round(NOTHING_TO_DO, _no_capacity)

    def _run_round(self, plan: RoundPlan, capacity: Capacity) -> list[OutboundMessage]:
        """Runs a round if there is anything to do; returns the messages to be sent."""
        self._release_unsent()
        if not (plan.to_do or self._attempts):
            return []
        attempts = self._attempts[:_RESULTS_PER_ROUND]
        finished = run_round(self._ledger, self._clock(), attempts, plan, capacity, self._jitter)
        self._attempts = self._attempts[_RESULTS_PER_ROUND:]
        self._log.log_round(finished, self._clock())
        return [message for delivery in finished.claimed if (message := self._build_message(delivery, finished)) is not None]

    def _release_unsent(self) -> None:
        while self._unsent:
            with self._ledger.write() as connection:
                deliveries.release_leases(connection, self._clock(), self._unsent[:_RESULTS_PER_ROUND])
            self._unsent = self._unsent[_RESULTS_PER_ROUND:]

    def _build_message(self, delivery: Delivery, claimed_in: Round) -> OutboundMessage | None:
        """Returns the message; None if the event cannot be read, which counts as a failed attempt and holds up no other event."""
        self._windows.window_of(delivery.subscription_id).on_claimed()
        subscription = claimed_in.subscriptions[delivery.subscription_id]
        try:
            row = None if delivery.event_id is None else claimed_in.event_rows.get(delivery.event_id)
            return self._builder.build(delivery, subscription, row)
        except Exception as error:  # noqa: BLE001 - `unexpected_failure` logs it
            result, at = unexpected_failure(delivery, error), self._clock()
            self._returned.put(SendAttempt(delivery=delivery, sink=subscription.sink, result=result, sent_at=at))
            return None

    def _delete_old_deliveries(self) -> None:
        now = self._clock()
        if self._deleted_at is None or not 0 <= now - self._deleted_at < _RETENTION_INTERVAL_MS:
            more = delete_old_deliveries(self._ledger, now - self._keep_ms)
            self._deleted_at = None if more else now
