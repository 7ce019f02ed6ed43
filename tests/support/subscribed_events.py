"""Events to be told, and who is told of them: for tests that count what arrives."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sqlalchemy import func, select

from adapters.downstream import Sink
from adapters.downstream.ssrf_guard import AllowedTargets
from adapters.downstream.webhook import Webhook
from adapters.ledger import Ledger
from adapters.ledger.schema import deliveries, events
from adapters.settings import OutboundSettings
from statemachine.delivery_policy import DeliveryState
from tests.benchmarks.stories import STORIES, Teller
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import settings
from tests.support.times import HOUR
from tests.support.webhook_subscriber import Subscriber
from workers.deliver.dispatcher import Dispatcher

T0 = 1_768_960_000_000
#: A subscriber on this machine is waited for no longer, s.
_PATIENCE_S = 0.25
#: What is due within so long is sent together, ms: a round for each alone would take ten times as long.
_GRAIN = 20_000
_OUTBOUND = OutboundSettings(allow=("127.0.0.0/8",), allow_http=True)


class News:
    """A house whose tasks come to pass as told, and a dispatcher; time passes when nothing is to be done."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.house = InProcessApp(folder, T0, made=replace(settings(f"sqlite:///{folder}/tally.db"), outbound=_OUTBOUND))
        self._dice = random.Random(seed)
        self.dispatcher = Dispatcher(self.house.ledger, self._sinks(), self.house.clock, jitter=self._dice.random)

    @staticmethod
    def _sinks() -> Mapping[str, Sink]:
        return {"webhook": Webhook(AllowedTargets.from_settings(_OUTBOUND), total_s=_PATIENCE_S, connect_s=_PATIENCE_S)}

    def subscribe(self, subscriber: Subscriber) -> str:
        """Its id."""
        made = self.house.client.post("/v1/subscriptions", json={"sink": {"type": "webhook", "url": subscriber.url}})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def happen(self, tasks: int) -> None:
        """So many tasks run from their first callback to their last."""
        tellers, weights = zip(*STORIES, strict=True)
        for number in range(tasks):
            story = self._dice.choices(tellers, weights)[0]
            for heard in story(Teller(f"t{number}", f"r{number}", self.house.now - HOUR), self._dice, 4, True):
                assert self.house.post(*heard) == 200
        self.house.applier.apply_waiting()

    def pass_until(self, moment: int) -> None:
        """Everything is sent that is due by then, each at its time."""
        while True:
            while self.dispatcher.run_once():
                pass
            due_at = self._next_due()
            if due_at is None or due_at > moment:
                break
            self.house.now = max(self.house.now, min(moment, due_at + _GRAIN))
        self.house.now = max(self.house.now, moment)

    def pass_all(self, limit_ms: int) -> None:
        """Until nothing waits any more."""
        until = self.house.now + limit_ms
        while (due_at := self._next_due() or self.house.now) < until and (
            self.dispatcher.run_once() or self._next_due() is not None
        ):
            self.house.now = max(self.house.now, due_at + _GRAIN)

    def _next_due(self) -> int | None:
        with self.house.ledger.read() as connection:
            found: int | None = connection.scalar(select(func.min(deliveries.c.due_at)).where(deliveries.c.due_at.is_not(None)))
            return found


def told(ledger: Ledger) -> dict[str, list[int]]:
    """The versions of each task that there are events of, in order."""
    with ledger.read() as connection:
        found: dict[str, list[int]] = {}
        for row in connection.execute(select(events.c.subject, events.c.version).order_by(events.c.id)):
            found.setdefault(row.subject, []).append(row.version)
        return found


def firsts(got: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Without what came again."""
    return {subject: list(dict.fromkeys(sequences)) for subject, sequences in got.items()}


def states(ledger: Ledger) -> Counter[str]:
    with ledger.read() as connection:
        return Counter(DeliveryState(state).value for state in connection.scalars(select(deliveries.c.state)))
