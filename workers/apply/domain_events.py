"""What others are told: one event for each version of a task, with what made it so."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from adapters.contract.cloud_events import TASK_PREFIX
from adapters.ledger.events import Told
from adapters.ledger.inbox import CALLBACK, DEADLINE, Row
from statemachine.events import Change
from statemachine.tasks import Task
from workers.apply.secret_wiping import as_told


def events_of(changes: Sequence[Change], row: Row, now: int, epoch: int = 0) -> Iterator[Told]:
    """The events of what an inbox row did. now: ms. epoch: the ledger's."""
    for change in changes:
        if change.visible:
            yield Told(
                task=as_told(change.after),
                type=TASK_PREFIX + _word(change),
                at=now,
                previous_state=change.before.view.state.value if change.before is not None else None,
                cause=_cause(row),
                epoch=epoch,
            )


def _word(change: Change) -> str:
    """The state that it came to; else the first of what changed that has a word of its own."""
    before, after = change.before, change.after
    if change.move is not None or before is None:
        return after.view.state.value
    return next((word for word, part in _WORDS if part(before) != part(after)), "updated")


_WORDS: Sequence[tuple[str, Callable[[Task], object]]] = (
    ("outputs", lambda task: task.view.outputs),
    ("files", lambda task: task.view.files),
    ("anomaly", lambda task: task.anomalies),
)


def _cause(row: Row) -> Mapping[str, Any]:
    cause: dict[str, Any] = {"kind": row.kind, "id": str(row.id)}
    if row.kind == CALLBACK:
        return cause
    if row.kind == DEADLINE:
        return {**cause, "deadline": row.payload.get("kind")}
    return {**cause, **{name: row.payload[name] for name in ("operation", "outcome", "by") if row.payload.get(name)}}
