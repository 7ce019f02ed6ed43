"""Decodes inbox rows into events of the state machine, each addressed to one lineage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from adapters.ledger.inbox import (
    ANSWER,
    CALLBACK,
    CLOCK,
    DEADLINE,
    MARK,
    REPLAY,
    RESTORED,
    RETRY,
    START,
    STOP,
    SUCCESSION,
    UPDATE,
    InboxRow,
)
from adapters.ledger.starts import event_of, request_of
from adapters.vendors import DIALECTS, Reading
from statemachine.calls import CallOutcome, Operation, inspection_from_doc
from statemachine.events import (
    CallAnswered,
    CallbackReceived,
    CallbackWithdrawn,
    ClockCorrected,
    DeadlinePassed,
    Event,
    LedgerRestored,
    OperatorMarked,
    RetryRequested,
    StopRequested,
    SuccessorReported,
    UpdateRequested,
)
from statemachine.states import Anomaly, Deadline, Kind, State
from statemachine.tasks import TaskKey


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageEvent:
    """An event for one lineage. event: None if the lineage only adopts another one."""

    key: TaskKey
    event: Event | None
    #: Key of a lineage that this one adopts first: both are the same task.
    adopts: TaskKey | None = None
    #: The key with the vendor's own id, which the answer to a start contains.
    assigned_key: TaskKey | None = None
    #: Serials of the task's calls in flight: claimed, and not answered yet.
    in_flight: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedRow:
    """An inbox row with its events. callback_id, reading: of the callback that it is about; None if it is about none."""

    row: InboxRow
    events: tuple[LineageEvent, ...] = ()
    callback_id: int | None = None
    reading: Reading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """Data from the ledger that decoding needs."""

    #: id -> callback that is replayed.
    callbacks: Mapping[int, InboxRow]
    #: id of a replayed callback -> id of the task that has its facts.
    task_of_callback: Mapping[int, str]
    #: task id -> key of its lineage.
    keys: Mapping[str, TaskKey]
    #: Calls in flight: (task id, serial).
    claimed: frozenset[tuple[str, int]] = frozenset()


def kind_of_key(key: TaskKey) -> Kind | None:
    """Returns the kind of task that a key's family stands for; None if only the events show it."""
    return _kind_of(key.vendor, key.final_family)


@cache
def _kind_of(vendor: str, family: str) -> Kind | None:
    kinds = [kind for kind in Kind if DIALECTS[vendor].family_of(kind) == family]
    return kinds[0] if len(kinds) == 1 else None


def decode(row: InboxRow, lookups: Lookups) -> DecodedRow:
    """Returns the row with its events. Never raises because of what a vendor sent."""
    return _DECODERS[row.kind](row, lookups)


def _read_callback(row: InboxRow) -> Reading:
    dialect = DIALECTS[row.vendor]
    source = str(row.id)
    return dialect.read(row.app_id, row.body, received_at=row.received_at, source=source, dedupe_key=row.dedupe_key)


def _decode_callback(row: InboxRow, lookups: Lookups) -> DecodedRow:
    reading = _read_callback(row)
    events: tuple[LineageEvent, ...] = ()
    if reading.key is not None and reading.fact is not None:
        events = (LineageEvent(key=reading.key, event=CallbackReceived(fact=reading.fact)),)
    return DecodedRow(row=row, events=events, callback_id=row.id, reading=reading)


def _decode_replay(row: InboxRow, lookups: Lookups) -> DecodedRow:
    callback = lookups.callbacks.get(int(row.payload["callback_id"]))
    if callback is None:
        return DecodedRow(row=row)
    reading = _read_callback(callback)
    source = str(callback.id)
    before = lookups.keys.get(lookups.task_of_callback.get(callback.id, ""))
    events = []
    if before is not None and before != reading.key:
        events.append(LineageEvent(key=before, event=CallbackWithdrawn(source=source)))
    if reading.key is not None and reading.fact is not None:
        events.append(LineageEvent(key=reading.key, event=CallbackReceived(fact=reading.fact, replaces=source)))
    return DecodedRow(row=row, events=tuple(events), callback_id=callback.id, reading=reading)


def _decode_deadline(row: InboxRow, lookups: Lookups) -> DecodedRow:
    task_id = str(row.payload["task_id"])
    key = lookups.keys.get(task_id)
    if key is None:
        return DecodedRow(row=row)
    event = DeadlinePassed(task_id=task_id, kind=Deadline(row.payload["kind"]), due_at=int(row.payload["due_at"]))
    return DecodedRow(row=row, events=(LineageEvent(key=key, event=event),))


def _decode_mark(row: InboxRow, lookups: Lookups) -> DecodedRow:
    payload = row.payload
    key = lookups.keys.get(str(payload["task_id"]))
    if key is None:
        return DecodedRow(row=row)
    event = OperatorMarked(
        task_id=str(payload["task_id"]),
        state=State(payload["state"]) if payload["state"] else None,
        clear=tuple(Anomaly(name) for name in payload["clear"]),
        note=payload["note"],
        by=payload["by"],
        key=f"mark {row.id}",
    )
    return DecodedRow(row=row, events=(LineageEvent(key=key, event=event),))


def _decode_start(row: InboxRow, lookups: Lookups) -> DecodedRow:
    start = request_of(row.payload)
    event = event_of(start, row.received_at)
    return DecodedRow(row=row, events=(LineageEvent(key=start.key, event=event),))


def _decode_stop(row: InboxRow, lookups: Lookups) -> DecodedRow:
    task_id, payload = str(row.payload["task_id"]), row.payload
    claimed = frozenset(serial for owner, serial in lookups.claimed if owner == task_id)
    return _decode_task_event(
        row,
        lookups,
        StopRequested(task_id=task_id, by=payload["by"], doubted=_is_doubted(row), claimed=claimed, key=f"stop {row.id}"),
    )


def _decode_update(row: InboxRow, lookups: Lookups) -> DecodedRow:
    payload = row.payload
    event = UpdateRequested(task_id=str(payload["task_id"]), params=payload["params"], by=payload["by"], doubted=_is_doubted(row))
    return _decode_task_event(row, lookups, event)


def _decode_retry(row: InboxRow, lookups: Lookups) -> DecodedRow:
    return _decode_task_event(row, lookups, RetryRequested(task_id=str(row.payload["task_id"]), by=row.payload["by"]))


def _decode_succession(row: InboxRow, lookups: Lookups) -> DecodedRow:
    payload = row.payload
    event = SuccessorReported(
        task_id=payload["task_id"],
        successor=payload["successor"],
        runs=payload["runs"],
        doubted=_is_doubted(row),
        key=payload["key"],
    )
    return _decode_task_event(row, lookups, event)


def _decode_restored(row: InboxRow, lookups: Lookups) -> DecodedRow:
    payload = row.payload
    return _decode_task_event(
        row, lookups, LedgerRestored(task_id=payload["task_id"], at=payload["at"], sent_at=payload["sent_at"])
    )


def _decode_clock(row: InboxRow, lookups: Lookups) -> DecodedRow:
    return _decode_task_event(row, lookups, ClockCorrected(task_id=str(row.payload["task_id"])))


def _is_doubted(row: InboxRow) -> bool:
    """Returns whether the row already waited in a backup from which the ledger was restored since."""
    return bool(row.payload.get("doubted"))


def _decode_task_event(
    row: InboxRow,
    lookups: Lookups,
    event: StopRequested | UpdateRequested | RetryRequested | SuccessorReported | LedgerRestored | ClockCorrected,
) -> DecodedRow:
    key = lookups.keys.get(event.task_id)
    return DecodedRow(row=row) if key is None else DecodedRow(row=row, events=(LineageEvent(key=key, event=event),))


def _decode_answer(row: InboxRow, lookups: Lookups) -> DecodedRow:
    payload = dict(row.payload)
    key = lookups.keys.get(str(payload["task_id"]))
    if key is None:
        return DecodedRow(row=row)
    inspection = payload.pop("inspection")
    event = CallAnswered(
        **{
            **payload,
            "operation": Operation(payload["operation"]),
            "outcome": CallOutcome(payload["outcome"]),
            "inspection": inspection_from_doc(inspection) if inspection else None,
        }
    )
    in_flight = frozenset(serial for owner, serial in lookups.claimed if owner == event.task_id)
    return DecodedRow(
        row=row, events=(LineageEvent(key=key, event=event, assigned_key=_assigned_key(key, event), in_flight=in_flight),)
    )


def _assigned_key(key: TaskKey, event: CallAnswered) -> TaskKey | None:
    """Returns the key of the vendor's later callbacks about the task, if the vendor creates the id; else None."""
    if event.vendor_task_id is None or not (key.is_provisional or event.operation is Operation.START):
        return None
    return TaskKey(vendor=key.vendor, app_id=key.app_id, room_id="", vendor_task_id=event.vendor_task_id, family=key.final_family)


#: Kinds of rows that are about one task, whose id is in the payload.
TASK_ROW_KINDS = frozenset({DEADLINE, MARK, STOP, UPDATE, RETRY, ANSWER, SUCCESSION, RESTORED, CLOCK})

_DECODERS: Mapping[str, Callable[[InboxRow, Lookups], DecodedRow]] = {
    CALLBACK: _decode_callback,
    REPLAY: _decode_replay,
    DEADLINE: _decode_deadline,
    MARK: _decode_mark,
    START: _decode_start,
    STOP: _decode_stop,
    UPDATE: _decode_update,
    RETRY: _decode_retry,
    ANSWER: _decode_answer,
    SUCCESSION: _decode_succession,
    RESTORED: _decode_restored,
    CLOCK: _decode_clock,
}
