"""Drives the state machine as a black box: callbacks in the vendors' own format in, tasks out."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from adapters.vendors import DIALECTS
from statemachine.decide import decide
from statemachine.decision import Change, Decision
from statemachine.events import CallbackReceived, CallbackWithdrawn, DeadlinePassed, Event, OperatorMarked
from statemachine.states import Anomaly, Deadline, Kind, State
from statemachine.tasks import Lineage, Task, TaskKey
from tests.support.times import T0

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
URL = "rtmp://push.example.com/live/s1"


class LineageScenario:
    """A lineage and a clock. Times are seconds after T0; callbacks and deadlines advance the clock.

    params: of the start call, as far as they are known to the rules.
    """

    def __init__(self, **params: Any) -> None:
        self.lineage: Lineage | None = None
        self.changes: list[Change] = []
        self._params = params
        self._now = T0
        self._numbers = count(1)

    # Events.

    def volc(self, event: str, at: float, *, received: float | None = None, **data: Any) -> Decision:
        """Receives a callback of Volcengine."""
        data = {"RoomId": "r", "TaskId": "t", "Timestamp": ms(at)} | data
        body = {"EventType": event, "EventTime": "2023-11-14T22:13:20Z", "EventData": json.dumps(data)}
        return self._receive_callback("volcengine", body, at if received is None else received)

    def tencent(self, event: int, at: float, *, received: float | None = None, task: str = "t", **payload: Any) -> Decision:
        """Receives a callback of Tencent; those of group 7 have no Payload, and a RoomId beside it."""
        about = {"TaskId": task, "EventMsTs": ms(at)}
        about |= {name: payload.pop(name) for name in ("RoomId", "UserId") if name in payload}
        about |= payload if event // 100 == 7 else {"Payload": payload}
        body = {"EventGroupId": event // 100, "EventType": event, "EventInfo": about}
        return self._receive_callback("tencent", body, at if received is None else received)

    def repeat_callback(self, number: int) -> Decision:
        """Receives the callback of this number once more."""
        return self.apply_event(
            CallbackReceived(fact=next(fact for fact in self._known_lineage.facts if fact.source == str(number)))
        )

    def withdraw(self, number: int) -> Decision:
        """Withdraws the callback of this number: a replay found that it does not concern this key."""
        return self.apply_event(CallbackWithdrawn(source=str(number)))

    def mark(self, state: State | None = None, *, at: float, clear: tuple[Anomaly, ...] = (), run: int = 1) -> Decision:
        self._advance_clock(at)
        return self.apply_event(
            OperatorMarked(task_id=self.run(run).id, state=state, clear=clear, by="me", key=f"mark-{next(self._numbers)}")
        )

    def pass_due(self, at: float) -> list[Deadline]:
        """Advances the clock, then passes all deadlines that are due, the earliest first; returns their kinds."""
        self._advance_clock(at)
        passed: list[Deadline] = []
        while due := [(when, kind, task.id) for task in self.tasks for kind, when in task.deadlines.items() if when <= self._now]:
            when, kind, task_id = min(due)
            self.apply_event(DeadlinePassed(task_id=task_id, kind=kind, due_at=when))
            passed.append(kind)
            assert len(passed) < 100, "a deadline that passed is due again"
        return passed

    def apply_event(self, event: Event, key: TaskKey | None = None) -> Decision:
        lineage = self.lineage or Lineage(key=key or _UNKNOWN)
        dialect = DIALECTS[lineage.key.vendor]
        kinds = [kind for kind in Kind if dialect.family_of(kind) == lineage.key.family]
        known = kinds[0] if len(kinds) == 1 else None
        decision = decide(lineage, event, self._now, lambda kind, _: dialect.rules(kind, self._params), kind=known)
        self.lineage = decision.lineage
        self.changes += decision.changes
        return decision

    def _receive_callback(self, vendor: str, body: Mapping[str, Any], received: float) -> Decision:
        number = str(next(self._numbers))
        raw = json.dumps(body).encode()
        self._advance_clock(received)
        reading = DIALECTS[vendor].read("app", raw, received_at=ms(received), source=number, dedupe_key=f"d{number}")
        assert reading.fact is not None, reading
        assert self.lineage is None or self.lineage.key == reading.key
        return self.apply_event(CallbackReceived(fact=reading.fact), reading.key)

    def _advance_clock(self, at: float) -> None:
        self._now = max(self._now, ms(at))

    # State.

    @property
    def _known_lineage(self) -> Lineage:
        assert self.lineage is not None
        return self.lineage

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.lineage.tasks if self.lineage else ()

    @property
    def task(self) -> Task:
        """The only task."""
        (task,) = self.tasks
        return task

    def run(self, number: int) -> Task:
        return next(task for task in self.tasks if task.run == number)

    @property
    def ends(self) -> list[str]:
        """State and reason of each run; an inferred one has a question mark."""
        return [state_in_words(task) for task in self.tasks]

    @property
    def outputs(self) -> dict[str | None, str]:
        return {output.url: output.state.value for output in self.task.view.outputs}

    @property
    def files(self) -> dict[str | None, str]:
        return {file.name or file.file_id: file.state.value for file in self.task.view.files}

    @property
    def due(self) -> dict[Deadline, float]:
        """Due times of the only task's deadlines, seconds after T0."""
        return {kind: (at - T0) / 1000 for kind, at in self.task.deadlines.items()}


_UNKNOWN = TaskKey(vendor="volcengine", app_id="app", room_id="", vendor_task_id="", family="push")


def ms(at: float) -> int:
    return T0 + round(at * 1000)


def state_in_words(task: Task) -> str:
    view = task.view
    return view.state.value + (f"/{view.reason.value}" if view.reason else "") + ("?" if view.inferred else "")
