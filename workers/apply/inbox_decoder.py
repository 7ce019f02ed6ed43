"""Turns an inbox row into what the state machine is asked."""

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
    Row,
)
from adapters.ledger.starts import start_of
from adapters.vendors import DIALECTS, Reading
from statemachine.calls import Operation, Outcome, inspection_from_doc
from statemachine.events import (
    Answered,
    ClockCorrected,
    Event,
    Heard,
    Marked,
    Passed,
    Restored,
    RetryAsked,
    StartAsked,
    StopAsked,
    Succeeded,
    UpdateAsked,
    Withdrawn,
)
from statemachine.facts import TaskKey
from statemachine.states import Anomaly, Deadline, Kind, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An event for one lineage. `event` None: only something is to be adopted."""

    key: TaskKey
    event: Event | None
    #: What is known under this key joins the lineage first: it is the same task.
    adopts: TaskKey | None = None
    #: The vendor's own id, that the answer to a start told.
    named: TaskKey | None = None
    #: Attempts of the task's calls that are on the wire: taken to be made, and not answered yet.
    on_the_wire: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an inbox row asks, and which callback it is about (None: none)."""

    row: Row
    questions: tuple[Question, ...] = ()
    callback_id: int | None = None
    reading: Reading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What must be looked up before rows can be read."""

    #: Callbacks that are to be read again, by id.
    callbacks: Mapping[int, Row]
    #: The task that each of them gave its facts to.
    task_of_callback: Mapping[int, str]
    #: Where tasks stand.
    keys: Mapping[str, TaskKey]
    #: Calls that were taken to be made: (task id, serial).
    taken: frozenset[tuple[str, int]] = frozenset()


def kind_of_key(key: TaskKey) -> Kind | None:
    """The kind that a key's family stands for; None where only the events tell it."""
    return _kind_of(key.vendor, key.named_family)


@cache
def _kind_of(vendor: str, family: str) -> Kind | None:
    kinds = [kind for kind in Kind if DIALECTS[vendor].family_of(kind) == family]
    return kinds[0] if len(kinds) == 1 else None


def ask(row: Row, known: Known) -> Asked:
    """What this row asks. Never raises for what a vendor sent."""
    return _READERS[row.kind](row, known)


def _read(row: Row) -> Reading:
    dialect = DIALECTS[row.vendor]
    source = str(row.id)
    return dialect.read(row.app_id, row.body, received_at=row.received_at, source=source, dedupe_key=row.dedupe_key)


def _callback(row: Row, known: Known) -> Asked:
    reading = _read(row)
    questions: tuple[Question, ...] = ()
    if reading.key is not None and reading.fact is not None:
        questions = (Question(key=reading.key, event=Heard(fact=reading.fact)),)
    return Asked(row=row, questions=questions, callback_id=row.id, reading=reading)


def _replay(row: Row, known: Known) -> Asked:
    callback = known.callbacks.get(int(row.payload["callback_id"]))
    if callback is None:
        return Asked(row=row)
    reading = _read(callback)
    source = str(callback.id)
    before = known.keys.get(known.task_of_callback.get(callback.id, ""))
    questions = []
    if before is not None and before != reading.key:
        questions.append(Question(key=before, event=Withdrawn(source=source)))
    if reading.key is not None and reading.fact is not None:
        questions.append(Question(key=reading.key, event=Heard(fact=reading.fact, replaces=source)))
    return Asked(row=row, questions=tuple(questions), callback_id=callback.id, reading=reading)


def _deadline(row: Row, known: Known) -> Asked:
    task_id = str(row.payload["task_id"])
    key = known.keys.get(task_id)
    if key is None:
        return Asked(row=row)
    event = Passed(task_id=task_id, kind=Deadline(row.payload["kind"]), due_at=int(row.payload["due_at"]))
    return Asked(row=row, questions=(Question(key=key, event=event),))


def _mark(row: Row, known: Known) -> Asked:
    said = row.payload
    key = known.keys.get(str(said["task_id"]))
    if key is None:
        return Asked(row=row)
    event = Marked(
        task_id=str(said["task_id"]),
        state=State(said["state"]) if said["state"] else None,
        clear=tuple(Anomaly(word) for word in said["clear"]),
        note=said["note"],
        by=said["by"],
        key=f"mark {row.id}",
    )
    return Asked(row=row, questions=(Question(key=key, event=event),))


def _start(row: Row, known: Known) -> Asked:
    start = start_of(row.payload)
    event = StartAsked(
        task_id=start.task_id,
        kind=start.kind,
        action=start.action,
        api_version=start.version,
        params=start.params,
        policy=start.policy,
        room_id=start.room_id,
        robot=start.robot,
        scheduled_at=start.scheduled_at,
        asked_at=row.received_at,
        by=start.by,
        doubted=start.doubted,
        renews=start.renews,
        restarts=start.restarts,
        restart_count=start.restart_count,
        key=f"start {start.task_id}",
    )
    return Asked(row=row, questions=(Question(key=start.key, event=event),))


def _stop(row: Row, known: Known) -> Asked:
    task_id, said = str(row.payload["task_id"]), row.payload
    taken = frozenset(serial for of_task, serial in known.taken if of_task == task_id)
    return _of_task(row, known, StopAsked(task_id=task_id, by=said["by"], doubted=_doubted(row), taken=taken, key=f"stop {row.id}"))


def _update(row: Row, known: Known) -> Asked:
    said = row.payload
    event = UpdateAsked(task_id=str(said["task_id"]), params=said["params"], by=said["by"], doubted=_doubted(row))
    return _of_task(row, known, event)


def _retry(row: Row, known: Known) -> Asked:
    return _of_task(row, known, RetryAsked(task_id=str(row.payload["task_id"]), by=row.payload["by"]))


def _succession(row: Row, known: Known) -> Asked:
    said = row.payload
    event = Succeeded(
        task_id=said["task_id"], successor=said["successor"], runs=said["runs"], doubted=_doubted(row), key=said["key"]
    )
    return _of_task(row, known, event)


def _restored(row: Row, known: Known) -> Asked:
    said = row.payload
    return _of_task(row, known, Restored(task_id=said["task_id"], at=said["at"], sent_at=said["sent_at"]))


def _clock(row: Row, known: Known) -> Asked:
    return _of_task(row, known, ClockCorrected(task_id=str(row.payload["task_id"])))


def _doubted(row: Row) -> bool:
    """Whether it waited already when a backup was made that was restored since."""
    return bool(row.payload.get("doubted"))


def _of_task(row: Row, known: Known, event: StopAsked | UpdateAsked | RetryAsked | Succeeded | Restored | ClockCorrected) -> Asked:
    key = known.keys.get(event.task_id)
    return Asked(row=row) if key is None else Asked(row=row, questions=(Question(key=key, event=event),))


def _answer(row: Row, known: Known) -> Asked:
    said = dict(row.payload)
    key = known.keys.get(str(said["task_id"]))
    if key is None:
        return Asked(row=row)
    inspection = said.pop("inspection")
    event = Answered(
        **{
            **said,
            "operation": Operation(said["operation"]),
            "outcome": Outcome(said["outcome"]),
            "inspection": inspection_from_doc(inspection) if inspection else None,
        }
    )
    wire = frozenset(serial for of_task, serial in known.taken if of_task == event.task_id)
    return Asked(row=row, questions=(Question(key=key, event=event, named=_named(key, event), on_the_wire=wire),))


def _named(key: TaskKey, event: Answered) -> TaskKey | None:
    """The key under which the vendor tells of the task from now on, where it minted the id."""
    if event.vendor_task_id is None or not (key.pending or event.operation is Operation.START):
        return None
    return TaskKey(vendor=key.vendor, app_id=key.app_id, room_id="", vendor_task_id=event.vendor_task_id, family=key.named_family)


#: Kinds of rows that speak of one task, in their payload.
OF_A_TASK = frozenset({DEADLINE, MARK, STOP, UPDATE, RETRY, ANSWER, SUCCESSION, RESTORED, CLOCK})

_READERS: Mapping[str, Callable[[Row, Known], Asked]] = {
    CALLBACK: _callback,
    REPLAY: _replay,
    DEADLINE: _deadline,
    MARK: _mark,
    START: _start,
    STOP: _stop,
    UPDATE: _update,
    RETRY: _retry,
    ANSWER: _answer,
    SUCCESSION: _succession,
    RESTORED: _restored,
    CLOCK: _clock,
}
