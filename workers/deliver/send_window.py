"""How many events are on the way to a subscription at once: more while it takes them, fewer while it does not.

Who hangs holds a few threads at the most, and one event that hangs leaves room for others. Who takes all that comes has the next
ones waiting: a thread that is through with one goes on with the next, and no round of the courier stands between them.
"""

import threading
from collections import deque
from collections.abc import Iterable

from workers.deliver.messages import Parcel

#: Sent at once: at first, at the least, at the most.
_FIRST, LEAST, MOST = 8, 4, 32
#: Of who takes all that comes, so many times as many are taken from the ledger as are sent at once.
_AHEAD = 12


class Window:
    """`room`, `put` and `back` are for one thread; `next_one` for those that send."""

    def __init__(self) -> None:
        self._limit = float(_FIRST)
        #: Taken from the ledger, and not back yet.
        self._out = 0
        self._lock = threading.Lock()
        self._waiting: deque[Parcel] = deque()
        self._senders = 0

    @property
    def room(self) -> int:
        """How many more may be taken now."""
        most = MOST * _AHEAD if self._limit >= MOST else int(self._limit)
        return max(0, most - self._out)

    @property
    def idle(self) -> bool:
        """Nothing is on its way."""
        return self._out == 0

    def out(self) -> None:
        """One was taken."""
        self._out += 1

    def back(self, *, ok: bool) -> None:
        """One is not on its way any more. ok: the subscriber took it."""
        self._out -= 1
        self._limit = min(MOST, self._limit + 1) if ok else max(LEAST, self._limit / 2)

    def returned(self) -> None:
        """One was not sent after all."""
        self._out -= 1

    def put(self, parcels: Iterable[Parcel]) -> int:
        """These wait for a thread; how many more are to send."""
        with self._lock:
            self._waiting.extend(parcels)
            more = max(0, min(int(self._limit), self._senders + len(self._waiting)) - self._senders)
            self._senders += more
            return more

    def next_one(self) -> Parcel | None:
        """What a thread is to send; None: it is not needed any more."""
        with self._lock:
            if not self._waiting or self._senders > self._limit:
                self._senders -= 1
                return None
            return self._waiting.popleft()

    def leave(self) -> None:
        """A thread ends although more may wait."""
        with self._lock:
            self._senders -= 1

    def unsent(self) -> list[Parcel]:
        """What waits for a thread, and gets none any more."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
            return waiting


class Windows:
    """One for each subscription that anything is sent to. For one thread."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def of(self, subscription_id: str) -> Window:
        return self._windows.setdefault(subscription_id, Window())

    def unsent(self) -> list[Parcel]:
        """What waits for a thread, and gets none any more."""
        return [parcel for window in self._windows.values() for parcel in window.unsent()]

    def keep(self, ids: Iterable[str]) -> None:
        """Forgets all others to which nothing is on its way."""
        kept = set(ids)
        self._windows = {id_: window for id_, window in self._windows.items() if id_ in kept or not window.idle}
