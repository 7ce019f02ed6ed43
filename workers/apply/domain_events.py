"""Builds the domain events that subscribers get: one for each version of a task, with its cause."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from adapters.contract.cloud_events import TASK_PREFIX
from adapters.ledger.events import TaskEvent
from adapters.ledger.inbox import CALLBACK, DEADLINE, InboxRow
from statemachine.decision import Change
from statemachine.tasks import Task
from workers.apply.secret_wiping import event_task


def events_of(changes: Sequence[Change], row: InboxRow, now: int, epoch: int = 0) -> Iterator[TaskEvent]:
    """Yields the events of the changes that an inbox row made. now: ms. epoch: the ledger's."""
    for change in changes:
        if change.is_visible:
            yield TaskEvent(
                task=event_task(change.after),
                type=TASK_PREFIX + _type_suffix(change),
                at=now,
                previous_state=change.before.view.state.value if change.before is not None else None,
                cause=_cause_of(row),
                epoch=epoch,
            )


def _type_suffix(change: Change) -> str:
    """Returns the new state; without a new state, the suffix of the first part of the task that changed."""
    before, after = change.before, change.after
    if change.move is not None or before is None:
        return after.view.state.value
    return next((suffix for suffix, part in _PART_SUFFIXES if part(before) != part(after)), "updated")


_PART_SUFFIXES: Sequence[tuple[str, Callable[[Task], object]]] = (
    ("outputs", lambda task: task.view.outputs),
    ("files", lambda task: task.view.files),
    ("anomaly", lambda task: task.anomalies),
)


def _cause_of(row: InboxRow) -> Mapping[str, Any]:
    cause: dict[str, Any] = {"kind": row.kind, "id": str(row.id)}
    if row.kind == CALLBACK:
        return cause
    if row.kind == DEADLINE:
        return {**cause, "deadline": row.payload.get("kind")}
    return {**cause, **{name: row.payload[name] for name in ("operation", "outcome", "by") if row.payload.get(name)}}
