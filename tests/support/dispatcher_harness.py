"""A dispatcher with a real ledger, a sink that keeps what it gets, and a clock that the test moves."""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from adapters.downstream import Message, SendResult
from adapters.ledger import Ledger, deliveries, events, positions, subscriptions
from adapters.ledger.deliveries import Delivery
from adapters.ledger.documents import TaskTexts
from adapters.ledger.subscriptions import Subscription
from tests.support.ledger_deliveries import id_of, listed, subject_of, subscription, told
from tests.support.times import T0
from workers.deliver.dispatcher import Dispatcher

TAKEN = SendResult(ok=True, status=200, excerpt="thanks")
REFUSED = SendResult(ok=False, status=500, error="status", detail="it answered 500", excerpt="sorry")
GONE = SendResult(ok=False, status=410, error="status", gone=True)
PATIENCE_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """An event that came to a box: its id, its time, and the secrets that signed it."""

    box: str
    id: str
    at: int
    secrets: Sequence[str]
    event: Mapping[str, Any]


class RecordingSink:
    """The sink. `answers`: called with each letter, in the thread that sends it."""

    type: ClassVar[str] = "mailbox"
    signed: ClassVar[bool] = True
    SCHEMA: ClassVar[Mapping[str, Any]] = {}

    def __init__(self) -> None:
        self.got: list[ReceivedEvent] = []
        self.answers: Callable[[ReceivedEvent], SendResult] = lambda _: TAKEN
        #: box -> how many letters are being taken right now, and were at the most.
        self.busy: Counter[str] = Counter()
        self.busiest: Counter[str] = Counter()
        self._changed = threading.Condition()

    def parse(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        return dict(given), []

    def masked(self, sink: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
        return dict(sink)

    def send(self, sink: Mapping[str, Any], message: Message, secrets: Sequence[str]) -> SendResult:
        letter = ReceivedEvent(box=sink["box"], id=message.id, at=message.at, secrets=secrets, event=json.loads(message.body))
        with self._changed:
            self.got.append(letter)
            self.busy[letter.box] += 1
            self.busiest[letter.box] = max(self.busiest[letter.box], self.busy[letter.box])
            self._changed.notify_all()
        try:
            return self.answers(letter)
        finally:
            with self._changed:
                self.busy[letter.box] -= 1
                self._changed.notify_all()

    def close(self) -> None:
        pass

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Until what came makes it so."""
        with self._changed:
            assert self._changed.wait_for(true, timeout=PATIENCE_S), f"it never came true; {len(self.got)} came"

    def ids(self, box: int = 1) -> list[str]:
        return [letter.id for letter in self.got if letter.box == str(box)]


class DispatcherHarness:
    """`now`: ms."""

    def __init__(self, ledger: Ledger) -> None:
        self.now = T0
        self.ledger = ledger
        self.mailbox = RecordingSink()
        self._versions: dict[str, int] = defaultdict(int)
        self._dispatchers: list[Dispatcher] = []
        self.dispatcher = self.new_dispatcher()

    def new_dispatcher(self, ledger: Any = None) -> Dispatcher:
        dispatcher = Dispatcher(ledger or self.ledger, {"mailbox": self.mailbox}, lambda: self.now, jitter=lambda: 0.0)
        self._dispatchers.append(dispatcher)
        return dispatcher

    def close(self) -> None:
        for dispatcher in self._dispatchers:
            dispatcher.stop()

    def subscribe(self, number: int = 1, **more: Any) -> Subscription:
        """To all that is told from now on."""
        with self.ledger.write() as connection:
            new = subscription(number, **{"position": positions.newest(connection), **more})
            subscriptions.add(connection, new)
        return new

    def tell(self, *names: str) -> None:
        """A next version of each of these tasks."""
        them = []
        for name in names:
            self._versions[name] += 1
            them.append(told(name, self._versions[name], at=self.now))
        with self.ledger.write() as connection:
            events.append(connection, them, TaskTexts())

    def change(self, number: int = 1, **values: Any) -> None:
        with self.ledger.write() as connection:
            subscriptions.lock(connection, [id_of(number)])
            subscriptions.change(connection, id_of(number), **values)

    def take(self, number: int = 1, *, limit: int = 100) -> list[Delivery]:
        """As another process does."""
        with self.ledger.write() as connection:
            return deliveries.claim(connection, id_of(number), self.now, limit, self.now + 45_000)

    def states(self, number: int = 1) -> list[str]:
        return [each.state.value for each in listed(self.ledger, number)]


def event_id(name: str, version: int = 1) -> str:
    return f"{subject_of(name)}-{version}"
