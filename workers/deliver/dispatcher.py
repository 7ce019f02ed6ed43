"""Tells others: takes events that are due from the ledger, has threads send them, and writes down what came of it.

One thread makes rounds (`rounds`) and hands out what they take; sending never holds it up. An event that was taken by a process
that died is due again when its lease is over. So an event can arrive twice, but never before the one before it in its task.
"""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue

from adapters.clock import monotonic_s
from adapters.downstream import Sink
from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError, deliveries
from adapters.ledger.deliveries import Delivery
from adapters.logs import logger
from adapters.supervision import Health, SupervisedThread
from workers.deliver.delivery_log import Tidings
from workers.deliver.delivery_round import NOTHING, Round, Wanted, look, make_round
from workers.deliver.message_builder import Packer
from workers.deliver.messages import Parcel, Sent
from workers.deliver.retention import clear
from workers.deliver.send_window import Window, Windows
from workers.deliver.sender import Sender, failed

#: Between two looks, s: while there is nothing to do, and while there is; then results gather meanwhile, so that rounds, for which
#: others wait, are few.
_PAUSE_S, _GATHER_S = 0.25, 0.05
#: Pauses while the ledger is away, s: the first, doubled up to the last.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 5.0
#: Threads that send, at the most. A subscription that hangs holds few of them (`windows`).
_THREADS = 512
#: Of what came back, so much is written down in one transaction.
_WRITTEN = 4_000
#: What is on its way may take so long to finish when the process ends, s.
_FINISH_S = 12.0
#: How often it is tried then to write down what came back.
_LAST_TRIES = 5
#: Of one subscription, in one round of `once`.
_AT_ONCE = 200
#: Between two looks for what can be cleared away, ms.
_CLEAR_MS = 60_000
_DAY_MS = 24 * 3_600_000

#: Subscription -> how many more may be sent.
Room = Callable[[str], int]

log = logger(__name__)


def _none(_subscription_id: str) -> int:
    return 0


def _all(_subscription_id: str) -> int:
    """As many as one round should take."""
    return _AT_ONCE


class Courier:
    """`clock`: ms. `keep_days`: how long deliveries are kept that came to their end. `dice`: 0 to 1.

    `health`: where it registers.
    """

    def __init__(
        self,
        ledger: Ledger,
        sinks: Mapping[str, Sink],
        clock: Callable[[], int],
        *,
        keep_days: int = 14,
        dice: Callable[[], float] = random.random,
        health: Health | None = None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._keep_ms = keep_days * _DAY_MS
        self._dice = dice
        self._sender = Sender(sinks, clock)
        self._packer = Packer()
        self._windows = Windows()
        self._tidings = Tidings()
        #: What came back from sending, and what of it is not written down yet: how it went, or what was not sent after all.
        self._back: SimpleQueue[Sent | Delivery] = SimpleQueue()
        self._sent: list[Sent] = []
        self._unsent: list[Delivery] = []
        #: When it was last looked for what is to be done.
        self._looked_s = 0.0
        self._alone = ledger.path is not None
        self._cleared_at: int | None = None
        self._woken, self._news = threading.Event(), threading.Event()
        self._stopping = threading.Event()
        self._under_way: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="send")
        health = health or Health()
        self._part = health.part("courier")
        self._thread = SupervisedThread(health, self._part, self._run, self._stopping)

    # In threads.

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be events to be told."""
        self._news.set()
        self._woken.set()

    def stop(self, finish_s: float = _FINISH_S) -> None:
        """Takes no more, lets finish what is on its way, and writes down what came of it."""
        until_s = monotonic_s() + finish_s
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=finish_s)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._unsent += [parcel.delivery for parcel in self._windows.unsent()]
        wait(list(self._under_way), timeout=max(0.0, until_s - monotonic_s()))
        self._settle_at_last()

    def _settle_at_last(self) -> None:
        """What cannot be written down is sent again when its leases are over."""
        for _ in range(_LAST_TRIES):
            try:
                self._settle()
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
                    pause_s = self._step()
                self._rest(pause_s)
                failures = 0
            except Exception as error:  # noqa: BLE001 - the thread's edge: without it, nobody would be told of anything
                self._complain(error)
                self._stopping.wait(min(_LAST_PAUSE_S, _FIRST_PAUSE_S * 2.0**failures))
                failures = min(failures + 1, 10)

    def _rest(self, pause_s: float) -> None:
        """Who has nothing to do can be woken."""
        if pause_s == _PAUSE_S:
            self._woken.wait(pause_s)
        else:
            self._stopping.wait(pause_s)
        self._woken.clear()

    def _complain(self, error: Exception) -> None:
        if isinstance(error, ConflictError):
            return  # another worker changed the same; what came back is still here
        if isinstance(error, LedgerUnavailableError):
            log.error("courier.failed", error=str(error))
        else:
            self._part.failed_with(error)
            log.error("courier.failed", exc_info=error)

    def _step(self) -> float:
        """One round if there is anything to do; how long to rest then, s."""
        self._take_over()
        self._collect()
        self._clear()
        wanted = self._wanted()
        if not (wanted.to_do or self._sent or self._unsent):
            return _PAUSE_S
        self._hand_out(self._round(wanted, self._room))
        return _GATHER_S

    def _wanted(self) -> Wanted:
        """What came back calls up what is next; what else there is to do is looked for when there is news, or once in a while."""
        if self._sent and not self._news.is_set() and monotonic_s() - self._looked_s < _PAUSE_S:
            return NOTHING
        self._news.clear()
        return self._look(self._room)

    def _hand_out(self, parcels: Sequence[Parcel]) -> None:
        by_subscription: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            by_subscription.setdefault(parcel.subscription.id, []).append(parcel)
        for subscription_id, of_it in by_subscription.items():
            window = self._windows.of(subscription_id)
            for _ in range(window.put(of_it)):
                future = self._pool.submit(self._send_in_thread, window)
                self._under_way.add(future)
                future.add_done_callback(self._finished)

    def _finished(self, future: Future[None]) -> None:
        self._under_way.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            log.error("thread.failed", part="send", exc_info=error)

    def _send_in_thread(self, window: Window) -> None:
        """Whatever ends the thread, what it had comes back, and another one may take its place."""
        while not self._stopping.is_set() and (parcel := window.next_one()) is not None:
            back: Sent | Delivery = parcel.delivery
            try:
                back = self._sender.send(parcel)
            except BaseException:
                window.leave()
                raise
            finally:
                self._back.put(back)
                self._woken.set()

    # In the caller's own thread.

    def once(self) -> int:
        """One round, of which everything is sent one after the other; how many. Raises LedgerUnavailableError, ConflictError."""
        parcels = self._round(self._look(_all), _all)
        for parcel in parcels:
            self._back.put(self._sender.send(parcel))
        self._settle()
        return len(parcels)

    # Steps.

    def _take_over(self) -> None:
        """Where nobody else delivers, what is taken was taken by a process that is no more: nobody waits for its leases to end."""
        if self._alone:
            with self._ledger.write() as connection:
                deliveries.release(connection, self._clock())
            self._alone = False

    def _collect(self) -> None:
        while True:
            try:
                self._take_back(self._back.get_nowait())
            except Empty:
                return

    def _take_back(self, back: Sent | Delivery) -> None:
        if isinstance(back, Delivery):
            self._windows.of(back.subscription_id).returned()
            self._unsent.append(back)
        else:
            self._windows.of(back.delivery.subscription_id).back(ok=back.answer.ok)
            self._sent.append(back)

    def _look(self, room: Room) -> Wanted:
        with self._ledger.read() as connection:
            wanted = look(connection, self._clock(), room)
        if wanted.to_do:
            self._windows.keep(wanted.active)
        self._looked_s = monotonic_s()
        return wanted

    def _room(self, subscription_id: str) -> int:
        return self._windows.of(subscription_id).room

    def _settle(self) -> None:
        """Writes down what came back, and takes nothing."""
        self._collect()
        while self._sent or self._unsent:
            self._round(NOTHING, _none)

    def _round(self, wanted: Wanted, room: Room) -> list[Parcel]:
        """What is to be sent now."""
        self._give_back()
        if not (wanted.to_do or self._sent):
            return []
        sent = self._sent[:_WRITTEN]
        made = make_round(self._ledger, self._clock(), sent, wanted, room, self._dice)
        self._sent = self._sent[_WRITTEN:]
        self._tidings.tell(made, self._clock())
        return [parcel for delivery in made.taken for parcel in self._packed(delivery, made)]

    def _give_back(self) -> None:
        while self._unsent:
            with self._ledger.write() as connection:
                deliveries.release(connection, self._clock(), self._unsent[:_WRITTEN])
            self._unsent = self._unsent[_WRITTEN:]

    def _packed(self, delivery: Delivery, made: Round) -> list[Parcel]:
        """The parcel, if there can be one: an event that cannot be read holds up no other."""
        self._windows.of(delivery.subscription_id).out()
        try:
            return [self._packer.pack(delivery, made)]
        except Exception as error:  # noqa: BLE001 - `failed` says so
            sink, at = made.whose[delivery.subscription_id].sink, self._clock()
            self._back.put(Sent(delivery=delivery, sink=sink, answer=failed(delivery, error), at=at))
            return []

    def _clear(self) -> None:
        now = self._clock()
        if self._cleared_at is None or not 0 <= now - self._cleared_at < _CLEAR_MS:
            more = clear(self._ledger, now - self._keep_ms)
            self._cleared_at = None if more else now
