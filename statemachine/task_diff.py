"""Compares a task before and after an event: its anomalies, the lines for its timeline, and whether its users see a difference."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from statemachine.folding.run_view import View
from statemachine.reaction import Reaction
from statemachine.states import Anomaly, Deadline
from statemachine.tasks import Task
from statemachine.transition_table import Move

_Entry = Mapping[str, Any]


def update_anomalies(
    task: Task, view: View, reaction: Reaction
) -> tuple[tuple[Anomaly, ...], Mapping[Anomaly, int], tuple[_Entry, ...]]:
    """Returns (open anomalies, anomaly -> time of its newest sign in ms, lines for the timeline).

    An anomaly that an operator cleared is opened again only by a newer sign. task: before the event; view: after it.
    """
    signs = _signs_of_anomalies(view)
    if not signs and reaction.raised is None and not reaction.cleared:
        return task.anomalies, task.raised, ()
    opened = [anomaly for anomaly, at in signs.items() if at > task.raised.get(anomaly, -1)]
    if reaction.raised is not None:
        opened.append(reaction.raised)
    cleared = [anomaly for anomaly in reaction.cleared if anomaly in task.anomalies]
    kept = [anomaly for anomaly in task.anomalies if anomaly not in cleared]
    new = [anomaly for anomaly in opened if anomaly not in kept]
    entries = (
        *({"kind": "anomaly_raised", "anomaly": anomaly.value} for anomaly in new),
        *({"kind": "anomaly_cleared", "anomaly": anomaly.value} for anomaly in cleared),
    )
    return tuple(sorted({*kept, *new})), {**task.raised, **signs}, entries


def _signs_of_anomalies(view: View) -> dict[Anomaly, int]:
    signs: dict[Anomaly, int] = {}
    if view.zombie_at is not None:
        signs[Anomaly.ZOMBIE] = view.zombie_at
    if view.stop_failed_at is not None:
        signs[Anomaly.STOP_FAILED] = view.stop_failed_at
    if view.revoked is Deadline.EXPIRY and view.revoked_at is not None:
        signs[Anomaly.OVERDUE] = view.revoked_at
    return signs


def deadline_entries(before: Task | None, after: Task) -> tuple[_Entry, ...]:
    """Returns a line for the timeline for each deadline that was armed or moved."""
    old: Mapping[Deadline, int] = before.deadlines if before else {}
    if old == after.deadlines:
        return ()
    return tuple(
        {"kind": "deadline_armed", "deadline": kind.value, "due_at": at}
        for kind, at in after.deadlines.items()
        if old.get(kind) != at
    )


def move_entries(move: Move | None, after: Task) -> tuple[_Entry, ...]:
    """Returns the line for the timeline for a change of state or reason, if there is one."""
    if move is None:
        return ()
    entry: dict[str, Any] = {"kind": "move", "from": move.before.value if move.before else None, "to": move.after.value}
    if after.view.reason is not None:
        entry["reason"] = after.view.reason.value
    if after.view.inferred:
        entry["inferred"] = True
    if move.corrects:
        entry["corrects"] = True
    return (entry,)


_visible_view_fields = attrgetter(
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
_visible_fields = attrgetter(
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
    """Returns whether users of the task see a difference. deadlines: those of the task after the event."""
    if before.deadlines != deadlines or _visible_fields(before) != _visible_fields(after):
        return True
    return bool(_visible_view_fields(before.view) != _visible_view_fields(after.view))
