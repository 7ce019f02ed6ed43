"""What differs between a task before and after, in words for its timeline."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from statemachine.events import Touch
from statemachine.folding.run_view import View
from statemachine.states import Anomaly, Deadline
from statemachine.tasks import Task
from statemachine.transition_table import Move


def updated_anomalies(
    task: Task, view: View, touch: Touch | None
) -> tuple[tuple[Anomaly, ...], Mapping[Anomaly, int], list[Mapping[str, Any]]]:
    """The open anomalies, what raised each last, and lines for the timeline."""
    if touch is None and view.zombie_at is None and view.stop_failed_at is None and view.revoked is not Deadline.EXPIRY:
        return task.anomalies, task.raised, []
    signs = {Anomaly.ZOMBIE: view.zombie_at, Anomaly.STOP_FAILED: view.stop_failed_at}
    if view.revoked is Deadline.EXPIRY:
        signs[Anomaly.OVERDUE] = view.revoked_at
    opened = [a for a, at in signs.items() if at is not None and at > task.raised.get(a, -1)]
    raised = {**task.raised, **{a: at for a, at in signs.items() if at is not None}}
    if touch is not None and touch.raise_ is not None:
        opened.append(touch.raise_)
    cleared = [a for a in (touch.clear if touch else ()) if a in task.anomalies]
    kept = [a for a in task.anomalies if a not in cleared]
    fresh = [a for a in opened if a not in kept]
    lines: list[Mapping[str, Any]] = [{"kind": "anomaly_raised", "anomaly": a.value} for a in fresh]
    lines += [{"kind": "anomaly_cleared", "anomaly": a.value} for a in cleared]
    return tuple(sorted({*kept, *fresh})), raised, lines


def deadline_entries(before: Task | None, after: Task) -> tuple[Mapping[str, Any], ...]:
    old: Mapping[Deadline, int] = before.deadlines if before else {}
    if old == after.deadlines:
        return ()
    return tuple(
        {"kind": "deadline_armed", "deadline": kind.value, "due_at": at}
        for kind, at in after.deadlines.items()
        if old.get(kind) != at
    )


def move_entries(moved: Move | None, after: Task) -> tuple[Mapping[str, Any], ...]:
    if moved is None:
        return ()
    line: dict[str, Any] = {"kind": "move", "from": moved.before.value if moved.before else None, "to": moved.after.value}
    if after.view.reason is not None:
        line["reason"] = after.view.reason.value
    if after.view.inferred:
        line["inferred"] = True
    if moved.corrects:
        line["corrects"] = True
    return (line,)


_shown_of_view = attrgetter(
    "state",
    "reason",
    "inferred",
    "vendor_code",
    "vendor_message",
    "outputs",
    "files",
    "room_id",
    "accepted_at",
    "running_at",
    "ended_at",
)
_shown = attrgetter(
    "key",
    "run",
    "kind",
    "anomalies",
    "merged_into",
    "attempts",
    "params",
    "policy",
    "renews",
    "renewed_by",
    "restarts",
    "restarted_by",
)


def is_visible_change(before: Task, after: Task, deadlines: Mapping[Deadline, int]) -> bool:
    """Whether the task's users see a difference. deadlines: of the task after."""
    if before.deadlines != deadlines or _shown(before) != _shown(after):
        return True
    return bool(_shown_of_view(before.view) != _shown_of_view(after.view))
