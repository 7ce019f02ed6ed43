"""A Clockwork for stories: on its wire chosen calls fare as the story wants, and it can be deaf, die, and be configured anew."""

import heapq
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy import text
from starlette.testclient import TestClient

from adapters.downstream import open_sinks
from adapters.http import HttpReply, NoReply
from adapters.http_messages import HttpRequest, WireError
from adapters.ledger.effects import ClaimedCall
from adapters.metrics import Metrics
from adapters.settings import AppSettings, Settings
from adapters.vendors.accounts import Accounts
from callbacks.app import AppDependencies, make_app
from simulator import STEADY, CallbackDelivery, Faults, Plan, World
from statemachine.tasks import Task
from tests.support.in_process_app import PATIENT, InProcessApp
from tests.support.virtual_time import T0, LateCaller, VirtualTimeApp, Wire
from workers.apply.applier import Applier
from workers.call.call_attempt import CallAttempt
from workers.sweep import Sweep

#: An answer that takes so long never comes, ms.
NEVER_MS = 10**15
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallScript:
    """How a call fares. `done`: the vendor does it; `answered`: it says so; `instead`: what it says; `took_ms`: so late."""

    done: bool = True
    answered: bool = True
    took_ms: int | None = None
    instead: HttpReply | None = None


NORMAL = CallScript()
#: It is done, and nobody says so.
ANSWER_LOST = CallScript(answered=False)
#: It never comes to the vendor, and nobody says so.
REQUEST_LOST = CallScript(done=False, answered=False)


def late(ms: int) -> CallScript:
    """Its answer comes so late."""
    return CallScript(took_ms=ms)


def answered_with(reply: HttpReply) -> CallScript:
    """The vendor does nothing, and says this."""
    return CallScript(done=False, instead=reply)


def tencent_error(code: str) -> HttpReply:
    said = {"Response": {"Error": {"Code": code, "Message": "the story says so"}, "RequestId": "r"}}
    return HttpReply(status=200, headers=_JSON, body=json.dumps(said).encode())


def tencent_done(**result: Any) -> HttpReply:
    return HttpReply(status=200, headers=_JSON, body=json.dumps({"Response": {**result, "RequestId": "r"}}).encode())


def volcengine_error(code: str, status: int = 400, **headers: str) -> HttpReply:
    said = {"ResponseMetadata": {"RequestId": "r", "Error": {"Code": code, "Message": "the story says so"}}}
    return HttpReply(status=status, headers={**_JSON, **headers}, body=json.dumps(said).encode())


def volcengine_done() -> HttpReply:
    said = {"ResponseMetadata": {"RequestId": "r"}, "Result": "ok"}
    return HttpReply(status=200, headers=_JSON, body=json.dumps(said).encode())


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that went out, so long after the beginning (ms)."""

    at: int
    action: str
    params: Mapping[str, Any]


class ScriptedWire(Wire):
    """Notes what goes out, and lets it fare as was said beforehand."""

    def __init__(self, world: World, seed: int, now: Callable[[], int]) -> None:
        super().__init__(world, seed, now)
        self.sent: list[Sent] = []
        self._now_ms = now
        self._next: dict[str, deque[CallScript]] = defaultdict(deque)
        self._rest: dict[str, CallScript] = {}

    def fare(self, action: str, *fates: CallScript, rest: CallScript = NORMAL) -> None:
        """How the next calls of this action fare, one after the other, and then all others."""
        self._next[action] = deque(fates)
        self._rest[action] = rest

    def of(self, action: str) -> list[Sent]:
        return [each for each in self.sent if each.action == action]

    def actions(self) -> list[str]:
        return [each.action for each in self.sent]

    def send(self, request: HttpRequest) -> HttpReply:
        action, params = _action_and_params(request)
        self.sent.append(Sent(self._now_ms() - T0, action, params))
        coming = self._next[action]
        fate = coming.popleft() if coming else self._rest.get(action, NORMAL)
        self.took_ms = 200
        reply = super().send(request) if fate.done else fate.instead
        self.took_ms = self.took_ms if fate.took_ms is None else fate.took_ms
        if not fate.answered or reply is None:
            raise NoReply(WireError.CUT_OFF, "the story says so")
        return fate.instead or reply


def _action_and_params(request: HttpRequest) -> tuple[str, dict[str, Any]]:
    query = dict(parse_qsl(request.url.partition("?")[2], keep_blank_values=True))
    params = json.loads(request.body) if request.body else {k: v for k, v in query.items() if k not in ("Action", "Version")}
    return request.headers.get("X-TC-Action") or query["Action"], params


class CrashingCaller(LateCaller):
    """Its process dies while it makes some calls: they are taken, sent or not, and never answered.

    `dies`: whether it dies of this one: "before" it is sent, "after", or not at all (None).
    """

    def __init__(self, house: InProcessApp, wire: Wire, dies: Callable[[ClaimedCall], str | None]) -> None:
        super().__init__(house, wire)
        self._dies = dies
        self.deaths = 0

    def run_once(self) -> int:
        posted = super().run_once()
        self._coming = [each for each in self._coming if each[0] < NEVER_MS]
        heapq.heapify(self._coming)
        return posted

    def _attempt_call(self, effect: ClaimedCall, task: Task | None) -> CallAttempt:
        death = self._dies(effect)
        attempt = super()._attempt_call(effect, None if death == "before" else task)
        if death is not None:
            self.deaths += 1
            self._wire.took_ms = NEVER_MS
        return attempt


class Callers:
    """Several processes that make calls, on one ledger."""

    def __init__(self, *callers: LateCaller) -> None:
        self._callers = callers

    def next_ms(self) -> int | None:
        return min((at for caller in self._callers if (at := caller.next_ms()) is not None), default=None)

    def run_once(self) -> int:
        return sum(caller.run_once() for caller in self._callers)


class Scenario(VirtualTimeApp):
    """`line`: the wire. `hears`: whether a callback comes through."""

    def __init__(
        self, folder: Path, *, seed: int = 1, faults: Faults | None = None, plan: Plan = STEADY, grain_ms: int = 100
    ) -> None:
        super().__init__(folder, seed, faults, plan, grain_ms=grain_ms)
        self.wire = ScriptedWire(self.world, seed, self.house.clock)
        self.caller: Any = self.new_caller()
        self.receives: Callable[[CallbackDelivery], bool] = lambda _: True
        self._open = ExitStack()

    @contextmanager
    def open(self) -> Iterator["Scenario"]:
        with super().open(), self._open:
            yield self

    def new_caller(self) -> LateCaller:
        return LateCaller(self.house, self.wire)

    def crash_calls(self, dies: Callable[[ClaimedCall], str | None]) -> CrashingCaller:
        """From now on calls are made by somebody who dies so."""
        made = CrashingCaller(self.house, self.wire, dies)
        self.caller = made
        return made

    def lose_callbacks(self, *, to: Callable[[CallbackDelivery], bool] = lambda _: True) -> None:
        """From now on these callbacks are lost."""
        self.receives = lambda callback: not to(callback)

    def receive_callbacks(self) -> None:
        self.receives = lambda _: True

    def with_app(self, vendor: str, app_id: str, **more: Any) -> Settings:
        """The settings, with one more app."""
        settings = self.house.settings
        return replace(settings, apps=(*settings.apps, AppSettings(vendor=vendor, app_id=app_id, **more)))

    def restart(self, settings: Settings) -> None:
        """The process ends, and begins again with these settings; what its calls were to be answered is lost."""
        house = self.house
        house.settings = settings
        dependencies = AppDependencies(
            ledger=house.ledger,
            settings=settings,
            metrics=Metrics(),
            clock=house.clock,
            notify_workers=lambda: None,
            accounts=Accounts(settings),
            sinks=open_sinks(settings),
            limits=PATIENT,
            random_id=house.random_id,
        )
        house.client = self._open.enter_context(TestClient(make_app(dependencies), base_url="http://127.0.0.1:8080"))
        house.applier = Applier(house.ledger, house.clock, Accounts(settings), house.shards)
        house.sweep = Sweep(house.ledger, house.applier, house.clock, house.shards)
        self.caller = self.new_caller()

    def until(self, so: Callable[[], bool], longest_ms: int = 60_000) -> None:
        """Lets time pass until it is so."""
        begun = self.now
        while not so():
            assert self.now - begun < longest_ms, "it never was so"
            self.run(self.now - T0 + self._grain_ms)

    def apply(self) -> None:
        """What waits is applied, and no call is made."""
        self.house.applier.apply_waiting()

    # What users ask.

    def post_action(self, task_id: str, what: str, body: Any = None) -> Any:
        return self.house.client.post(f"/v1/tasks/{task_id}/{what}", json=body)

    # What is so.

    def tasks(self, origin: str | None = None) -> list[dict[str, Any]]:
        """All that the list shows, newest first."""
        found: list[dict[str, Any]] = self.house.get("/v1/tasks?limit=500" + (f"&origin={origin}" if origin else ""))["items"]
        return found

    def status_of(self, task_id: str) -> tuple[str, str | None, bool]:
        """(state, reason, inferred)"""
        task = self.task(task_id)
        return task["state"], task["reason"], task["inferred"]

    def entries(self, task_id: str, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.timeline(task_id) if entry["kind"] == kind]

    def calls(self, task_id: str, operation: str) -> list[str]:
        """What became of the attempts of this call."""
        return [entry["outcome"] for entry in self.entries(task_id, "call") if entry["operation"] == operation]

    def passed(self, task_id: str) -> list[str]:
        """Deadlines that passed, in order."""
        return [entry["deadline"] for entry in self.entries(task_id, "deadline_passed")]

    def _receive(self, callbacks: list[CallbackDelivery]) -> None:
        heard = [callback for callback in callbacks if self.receives(callback)]
        for callback in callbacks:
            if callback not in heard:
                self.world.record_answer(callback, 200, self.now)
        super()._receive(heard)

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.house.ledger.read() as connection:
            return list(connection.execute(text(statement), values))
