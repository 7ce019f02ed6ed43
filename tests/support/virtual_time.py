"""A whole Tallylight and its vendors in virtual time: ledger, desk, state machine and calls are real; network and clock are not.

Nothing waits: time jumps to the next event. The same seed and the same calls of the test give the same run.
"""

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import text

from adapters.http import HttpReply, NoReply
from adapters.http_messages import HttpRequest, WireError
from adapters.ledger import inbox
from adapters.ledger.inbox import Arrival
from adapters.settings import AccountSettings, AppSettings, DatabaseSettings, Secret, Settings
from adapters.vendors import DIALECTS
from adapters.vendors.accounts import Accounts
from simulator import DEMO_APPS, CallbackDelivery, Faults, Plan, World
from simulator.messages import Request
from simulator.seeded_random import SeededRandom
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import OPEN
from tests.support.start_calls import params
from tests.support.times import T0
from workers.call.call_attempt import CallAttempt
from workers.call.caller import Caller

_LONGEST_CALL_MS = 10_000


def settings(folder: Path) -> Settings:
    accounts = tuple(
        AccountSettings(
            name=app.vendor,
            vendor=app.vendor,
            access_key_id=app.access_key_id,
            secret_access_key=Secret(app.secret_access_key),
            endpoint="http://127.0.0.1:8090",
        )
        for app in DEMO_APPS
    )
    apps = tuple(
        AppSettings(vendor=app.vendor, app_id=app.app_id, account=app.vendor, callback_secrets=(Secret(app.callback_secret),))
        for app in DEMO_APPS
    )
    return Settings(server=OPEN, accounts=accounts, apps=apps, database=DatabaseSettings(url=f"sqlite:///{folder}/tally.db"))


class Wire:
    """Sends calls to the world at once. `took_ms`: the time that the last one would have taken."""

    def __init__(self, world: World, seed: int, now: Callable[[], int]) -> None:
        self._world = world
        self._seed = seed
        self._now = now
        self._number = count()
        self.took_ms = 0

    def send(self, request: HttpRequest) -> HttpReply:
        path, _, query = request.url.partition("://")[2].partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Request(method=request.method, path=f"/{path.partition('/')[2]}", query=query, headers=headers, body=request.body)
        vendor = self._world.vendor_of(call)
        assert vendor is not None, request
        reply = self._world.handle(vendor, call.method, call.path, query, headers, request.body, self._now())
        self.took_ms = SeededRandom(self._seed, "wire", next(self._number)).integer_between(30, 400) + reply.after_ms
        if reply.dropped or self.took_ms > _LONGEST_CALL_MS:
            self.took_ms = min(self.took_ms, _LONGEST_CALL_MS)
            raise NoReply(WireError.CUT_OFF, "the story says so")
        return HttpReply(status=reply.status, headers=dict(reply.headers), body=reply.body)


class LateCaller(Caller):
    """A caller whose calls take virtual time: an answer is posted when it would have come."""

    def __init__(self, house: InProcessApp, wire: Wire) -> None:
        self._wire = wire
        self._coming: list[tuple[int, int, CallAttempt]] = []
        super().__init__(house.ledger, Accounts(house.settings), wire, house.clock, lambda: None, concurrency=400)

    def next_ms(self) -> int | None:
        return self._coming[0][0] if self._coming else None

    def run_once(self) -> int:
        posted = self._post_expired()
        while self._coming and self._coming[0][0] <= self._clock():
            self._post_answer(heapq.heappop(self._coming)[2])
            posted += 1
        claimed = self._claim_calls(self._concurrency - len(self._coming)) if self._any_due() else []
        for effect in claimed:
            self._wire.took_ms = 0
            attempt = self._attempt_call(effect, self._find_task(effect))
            took = self._wire.took_ms
            heapq.heappush(self._coming, (self._clock() + took, attempt.claimed.id, replace(attempt, duration_ms=took)))
        return posted


class VirtualTimeApp:
    """An InProcessApp and a simulated World that share one virtual clock."""

    def __init__(
        self, folder: Path, seed: int, faults: Faults | None = None, plan: Plan | None = None, *, grain_ms: int = 100
    ) -> None:
        """grain_ms: events that are closer together than this happen at the same time."""
        self.world = World(seed, faults or Faults(), T0, plan=plan or Plan())
        ids = count()
        self.house = InProcessApp(folder, T0, made=settings(folder), random_id=lambda: f"number {next(ids)}")
        self.caller = LateCaller(self.house, Wire(self.world, seed, self.house.clock))
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._number = count()
        self._grain_ms = grain_ms
        #: Called after every step.
        self.watch: Callable[[], None] = lambda: None
        self.steps = 0

    @contextmanager
    def open(self) -> Iterator["VirtualTimeApp"]:
        """Runs the application until the block ends."""
        with self.house.open():
            yield self

    @property
    def now(self) -> int:
        return self.house.now

    # Actions of users.

    def at(self, ms: int, do: Callable[[], None]) -> None:
        """Schedules an action. ms: after the beginning."""
        heapq.heappush(self._agenda, (T0 + ms, next(self._number), do))

    def start(self, vendor: str, action: str, number: int = 1, policy: dict[str, Any] | None = None, **more: Any) -> str:
        """Starts a task through the desk; returns its id."""
        given = params(vendor, action, number, **more)
        body = {"vendor": vendor, "action": action, "params": given} | ({"policy": policy} if policy else {})
        answer = self.house.client.post("/v1/tasks", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def stop(self, task_id: str) -> int:
        return self.house.client.post(f"/v1/tasks/{task_id}/stop").status_code

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.house.get(f"/v1/tasks/{task_id}")
        return found

    def timeline(self, task_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.house.get(f"/v1/tasks/{task_id}/timeline?limit=500")["items"]
        return items

    # Time.

    def run(self, until_ms: int) -> None:
        """Lets time pass. until_ms: after the beginning."""
        end = T0 + until_ms
        while (at := self._next()) is not None and at <= end:
            self._step(at)
        self.house.now = end
        self._receive(self.world.advance_to(end))

    def settle(self, longest_ms: int) -> None:
        """Lets time pass until all managed tasks have ended and no call, deadline or callback waits."""
        while self._agenda or self._undone():
            at = self._next()
            assert at is not None, "tasks live, and nothing is to happen"
            assert at <= T0 + longest_ms, f"tasks still live: {self.live()[:5]}"
            self._step(at)

    def _next(self) -> int | None:
        soonest = [
            self.world.next_event_ms(),
            self.caller.next_ms(),
            self._agenda[0][0] if self._agenda else None,
            self._in_ledger(),
        ]
        known = [at for at in soonest if at is not None]
        if not known:
            return None
        return max(-(-min(known) // self._grain_ms) * self._grain_ms, self.now + self._grain_ms)

    def _in_ledger(self) -> int | None:
        """Returns the time of the next deadline, waiting row or call in the ledger, ms."""
        with self.house.ledger.read() as connection:
            found = connection.execute(text(_NEXT), {"now": self.now}).one()
        return min((at for at in found if at is not None), default=None)

    def _step(self, at: int) -> None:
        self.steps += 1
        self.house.now = at
        while self._agenda and self._agenda[0][0] <= at:
            heapq.heappop(self._agenda)[2]()
        self._receive(self.world.advance_to(at))
        self.house.sweep.run_once()
        if self.caller.run_once():
            self.house.applier.apply_waiting()
        self.watch()

    def _receive(self, callbacks: list[CallbackDelivery]) -> None:
        """Records callbacks whose signature is right, then answers them, as the door does."""
        if not callbacks:
            return
        with self.house.ledger.write() as connection:
            inbox.record(connection, [self._arrival(callback) for callback in callbacks])
        for callback in callbacks:
            self.world.record_answer(callback, 200, self.now)

    def _arrival(self, callback: CallbackDelivery) -> Arrival:
        headers = {name.lower(): value for name, value in callback.headers.items()}
        secrets_of = self.house.settings.secrets_of(callback.vendor)
        envelope = DIALECTS[callback.vendor].verify(headers, callback.body, secrets_of)
        return Arrival(
            vendor=callback.vendor,
            app_id=envelope.app_id,
            event_type=envelope.event_type,
            dedupe_key=envelope.dedupe_key,
            received_at=self.now,
            headers=headers,
            body=callback.body,
        )

    # Reads.

    def _undone(self) -> bool:
        with self.house.ledger.read() as connection:
            return bool(connection.execute(text(_UNDONE)).scalar_one())

    def live(self) -> list[Any]:
        """Returns the managed tasks that have not ended."""
        with self.house.ledger.read() as connection:
            return list(connection.execute(text(_OURS)))

    def without_deadline(self) -> list[Any]:
        """Returns live tasks without a deadline: no part of the program would ever look at them again."""
        with self.house.ledger.read() as connection:
            return list(connection.execute(text(_WITHOUT_DEADLINE)))


_NEXT = """
SELECT (SELECT MIN(due_at) FROM deadlines),
       (SELECT MIN(MAX(COALESCE(held_until, 0), :now)) FROM inbox WHERE applied_at IS NULL),
       (SELECT MAX(MIN(due_at), :now) FROM effects WHERE lease_until IS NULL),
       (SELECT MIN(lease_until) FROM effects WHERE lease_until IS NOT NULL)
"""
_IS_LIVE = "state IN ('requested', 'accepted', 'running', 'interrupted', 'stopping', 'finishing') AND merged_into IS NULL"
_OURS = f"SELECT id, vendor, kind, state, reason FROM tasks WHERE {_IS_LIVE} AND origin = 'managed'"
_UNDONE = f"""
SELECT EXISTS ({_OURS})
    OR EXISTS (SELECT 1 FROM effects JOIN tasks ON tasks.id = effects.task_id WHERE origin = 'managed')
    OR EXISTS (SELECT 1 FROM deadlines JOIN tasks ON tasks.id = deadlines.task_id WHERE origin = 'managed')
    OR EXISTS (SELECT 1 FROM inbox WHERE applied_at IS NULL)
"""
_WITHOUT_DEADLINE = f"SELECT id, vendor, kind, state FROM tasks WHERE {_IS_LIVE} AND id NOT IN (SELECT task_id FROM deadlines)"
