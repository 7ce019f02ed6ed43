"""How a dialect puts into words what it read."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.json_fields import UnreadableError, as_bytes, as_integer
from adapters.vendors.protocol import Reading
from statemachine.facts import Ending, Fact, FactKind
from statemachine.states import Reason, State, Verdict
from statemachine.tasks import TaskKey

#: What an event says: the fields of its Fact that the event itself decides.
Says = dict[str, Any]

#: Ids are part of database keys; the longest documented one, a client SDK's `userId@@taskId`, has 258 bytes.
ID_LIMIT_BYTES = 512
#: Longer than any task lives: a larger number of seconds in a parameter is no duration.
_LONGEST_S = 10 * 366 * 24 * 3600

#: A refused start (mapping.md: it ends only a run that shows nothing else).
REFUSED: Says = {
    "kind": FactKind.REFUSED,
    "outcome": Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=1),
}
#: A start that also shows media and that a run has once.
STARTED_WITH_MEDIA: Says = {"kind": FactKind.START, "media": True, "opens": True, "one_off": True}


def ended(state: State, reason: Reason, **more: Any) -> Says:
    return {"kind": FactKind.END, "outcome": Ending(state=state, reason=reason, **more)}


def captured(state: State, reason: Reason, **more: Any) -> Says:
    return {"kind": FactKind.CAPTURE_END, "outcome": Ending(state=state, reason=reason, **more)}


def row(table: Mapping[int, Says], value: int) -> Says:
    """What the table says of this value."""
    if value not in table:
        raise UnreadableError(f"{value} is not among {sorted(table)}")
    return table[value]


def ignored(event_at: int, reason: str) -> Reading:
    return Reading(event_at=event_at, verdict=Verdict.IGNORED, reason=reason)


def unknown(event_at: int, reason: str) -> Reading:
    return Reading(event_at=event_at, verdict=Verdict.UNKNOWN, reason=reason)


def told(key: TaskKey, says: Says, *, at: int, received_at: int, source: str, dedupe_key: str) -> Reading:
    """The reading of an event that concerns a task."""
    for name, part in (("TaskId", key.vendor_task_id), ("RoomId", key.room_id)):
        if len(as_bytes(part)) > ID_LIMIT_BYTES:
            raise UnreadableError(f"{name} is longer than {ID_LIMIT_BYTES} bytes")
    return Reading(
        event_at=at,
        key=key,
        fact=Fact(at=at, received_at=received_at, key=dedupe_key, source=source, **says),
    )


def param(params: Mapping[str, Any], *path: str) -> int | None:
    """The positive number at this path of a start call's parameters, where there is a sensible one."""
    value: Any = params
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    number = as_integer(value)
    return number if number is not None and 0 < number <= _LONGEST_S else None
