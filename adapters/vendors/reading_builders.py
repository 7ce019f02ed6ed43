"""Builders of `Reading`s and of the fields of facts, shared by the dialects."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.json_fields import UnreadableError, as_bytes, as_integer
from adapters.vendors.protocol import Reading
from statemachine.facts import Ending, Fact, FactKind
from statemachine.states import Reason, State, Verdict
from statemachine.tasks import TaskKey

#: The fields of a Fact that an event itself decides.
FactFields = dict[str, Any]

#: Longest id, bytes: ids are part of database keys. The longest documented one, a client SDK's `userId@@taskId`, has 258.
ID_LIMIT_BYTES = 512
#: Longest plausible duration, s: ten years, longer than any task lives.
_LONGEST_S = 10 * 366 * 24 * 3600

#: A refused start; it ends only a run that shows nothing else (rank 1).
REFUSED: FactFields = {
    "kind": FactKind.REFUSED,
    "outcome": Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=1),
}
#: A start that also shows media; a run has one at most.
STARTED_WITH_MEDIA: FactFields = {"kind": FactKind.START, "media": True, "opens": True, "one_off": True}


def ended(state: State, reason: Reason, **more: Any) -> FactFields:
    """Returns the fields of an event that ends the task."""
    return {"kind": FactKind.END, "outcome": Ending(state=state, reason=reason, **more)}


def capture_ended(state: State, reason: Reason, **more: Any) -> FactFields:
    """Returns the fields of an event that ends the recording; its files may follow."""
    return {"kind": FactKind.CAPTURE_END, "outcome": Ending(state=state, reason=reason, **more)}


def fields_for(table: Mapping[int, FactFields], value: int) -> FactFields:
    """Returns the fields that a table has for this value. Raises UnreadableError for any other."""
    if value not in table:
        raise UnreadableError(f"{value} is not among {sorted(table)}")
    return table[value]


def ignored(event_at: int, reason: str) -> Reading:
    """Returns the reading of a known event that concerns no task."""
    return Reading(event_at=event_at, verdict=Verdict.IGNORED, reason=reason)


def unknown(event_at: int, reason: str) -> Reading:
    """Returns the reading of an event that is not documented, or cannot be read."""
    return Reading(event_at=event_at, verdict=Verdict.UNKNOWN, reason=reason)


def task_reading(key: TaskKey, fields: FactFields, *, at: int, received_at: int, source: str, dedupe_key: str) -> Reading:
    """Returns the reading of an event that concerns a task. Raises UnreadableError if an id is too long."""
    for name, part in (("TaskId", key.vendor_task_id), ("RoomId", key.room_id)):
        if len(as_bytes(part)) > ID_LIMIT_BYTES:
            raise UnreadableError(f"{name} is longer than {ID_LIMIT_BYTES} bytes")
    return Reading(
        event_at=at,
        key=key,
        fact=Fact(at=at, received_at=received_at, key=dedupe_key, source=source, **fields),
    )


def positive_param(params: Mapping[str, Any], *path: str) -> int | None:
    """Returns the positive number at this path of a start call's parameters; None if there is none, or it is implausibly large."""
    value: Any = params
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    number = as_integer(value)
    return number if number is not None and 0 < number <= _LONGEST_S else None
