"""A VirtualTimeApp whose calls follow a script, whose callbacks can be lost, and which can crash and restart with new settings."""

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
from tests.support.times import T0
from tests.support.virtual_time import LateCaller, VirtualTimeApp, Wire
from workers.apply.applier import Applier
from workers.call.call_attempt import CallAttempt
from workers.sweep import Sweep

#: The duration of a call whose answer never comes, ms.
NEVER_MS = 10**15
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallScript:
    """The course of one call. done: the vendor carries it out. answered: an answer comes. instead: that one. took_ms: its time."""

    done: bool = True
    answered: bool = True
    took_ms: int | None = None
    instead: HttpReply | None = None


NORMAL = CallScript()
#: The vendor carries it out, and its answer is lost.
ANSWER_LOST = CallScript(answered=False)
#: It never reaches the vendor, and no answer comes.
REQUEST_LOST = CallScript(done=False, answered=False)


def late(ms: int) -> CallScript:
    """Returns the script of a call whose answer takes this long."""
    return CallScript(took_ms=ms)


def answered_with(reply: HttpReply) -> CallScript:
    """Returns the script of a call that the vendor answers like this without carrying it out."""
    return CallScript(done=False, instead=reply)


def tencent_error(code: str) -> HttpReply:
    said = {"Response": {"Error": {"Code": code, "Message": "the scenario says so"}, "RequestId": "r"}}
    return HttpReply(status=200, headers=_JSON, body=json.dumps(said).encode())


def tencent_done(**result: Any) -> HttpReply:
    return HttpReply(status=200, headers=_JSON, body=json.dumps({"Response": {**result, "RequestId": "r"}}).encode())


def volcengine_error(code: str, status: int = 400, **headers: str) -> HttpReply:
    said = {"ResponseMetadata": {"RequestId": "r", "Error": {"Code": code, "Message": "the scenario says so"}}}
    return HttpReply(status=status, headers={**_JSON, **headers}, body=json.dumps(said).encode())


def volcengine_done() -> HttpReply:
    said = {"ResponseMetadata": {"RequestId": "r"}, "Result": "ok"}
    return HttpReply(status=200, headers=_JSON, body=json.dumps(said).encode())


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that was sent. at: ms after the beginning."""

    at: int
    action: str
    params: Mapping[str, Any]


class ScriptedWire(Wire):
    """Records the calls that are sent; each follows its script."""

    def __init__(self, world: World, seed: int, now: Callable[[], int]) -> None:
        super().__init__(world, seed, now)
        self.sent: list[Sent] = []
        self._now_ms = now
        self._next: dict[str, deque[CallScript]] = defaultdict(deque)
        self._rest: dict[str, CallScript] = {}

    def script_calls(self, action: str, *fates: CallScript, rest: CallScript = NORMAL) -> None:
        """Sets the scripts of the next calls of this action, in order. rest: the script of all later ones."""
        self._next[action] = deque(fates)
        self._rest[action] = rest

    def calls_of(self, action: str) -> list[Sent]:
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
            raise NoReply(WireError.CUT_OFF, "the scenario says so")
        return fate.instead or reply


def _action_and_params(request: HttpRequest) -> tuple[str, dict[str, Any]]:
    query = dict(parse_qsl(request.url.partition("?")[2], keep_blank_values=True))
    params = json.loads(request.body) if request.body else {k: v for k, v in query.items() if k not in ("Action", "Version")}
    return request.headers.get("X-TC-Action") or query["Action"], params


class CrashingCaller(LateCaller):
    """A caller whose process crashes during some calls: they are claimed, sent or not, and never answered.

    dies: returns when it crashes: "before" the call is sent, "after" that, or not (None).
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
    """Several processes that make calls on one ledger."""

    def __init__(self, *callers: LateCaller) -> None:
        self._callers = callers

    def next_ms(self) -> int | None:
        return min((at for caller in self._callers if (at := caller.next_ms()) is not None), default=None)

    def run_once(self) -> int:
        return sum(caller.run_once() for caller in self._callers)


class Scenario(VirtualTimeApp):
    """A run that the test directs. wire: the network to the vendors. receives: returns whether a callback arrives."""

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
        """Replaces the caller by one that crashes."""
        made = CrashingCaller(self.house, self.wire, dies)
        self.caller = made
        return made

    def lose_callbacks(self, *, to: Callable[[CallbackDelivery], bool] = lambda _: True) -> None:
        """Loses these callbacks from now on."""
        self.receives = lambda callback: not to(callback)

    def receive_callbacks(self) -> None:
        self.receives = lambda _: True

    def with_app(self, vendor: str, app_id: str, **more: Any) -> Settings:
        """Returns the settings with one more app."""
        settings = self.house.settings
        return replace(settings, apps=(*settings.apps, AppSettings(vendor=vendor, app_id=app_id, **more)))

    def restart(self, settings: Settings) -> None:
        """Restarts the process with these settings; answers to calls under way are lost."""
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
        """Lets time pass until the condition is true."""
        begun = self.now
        while not so():
            assert self.now - begun < longest_ms, "the condition never became true"
            self.run(self.now - T0 + self._grain_ms)

    def apply(self) -> None:
        """Applies the inbox, without making calls."""
        self.house.applier.apply_waiting()

    # Requests of users.

    def post_action(self, task_id: str, what: str, body: Any = None) -> Any:
        return self.house.client.post(f"/v1/tasks/{task_id}/{what}", json=body)

    # Reads.

    def tasks(self, origin: str | None = None) -> list[dict[str, Any]]:
        """Returns the tasks of the list, newest first."""
        found: list[dict[str, Any]] = self.house.get("/v1/tasks?limit=500" + (f"&origin={origin}" if origin else ""))["items"]
        return found

    def status_of(self, task_id: str) -> tuple[str, str | None, bool]:
        """Returns (state, reason, inferred)."""
        task = self.task(task_id)
        return task["state"], task["reason"], task["inferred"]

    def entries(self, task_id: str, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.timeline(task_id) if entry["kind"] == kind]

    def calls(self, task_id: str, operation: str) -> list[str]:
        """Returns the outcomes of the attempts of this call."""
        return [entry["outcome"] for entry in self.entries(task_id, "call") if entry["operation"] == operation]

    def passed(self, task_id: str) -> list[str]:
        """Returns the deadlines that passed, in order."""
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
