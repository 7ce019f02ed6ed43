"""Turns an inbox row into what the state machine is asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from adapters.ledger.inbox import CALLBACK, DEADLINE, MARK, REPLAY, Row
from adapters.vendors import DIALECTS, Reading
from statemachine.events import Event, Heard, Marked, Passed, Withdrawn
from statemachine.facts import Rules, TaskKey
from statemachine.states import Anomaly, Deadline, Kind, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An event for one lineage."""

    key: TaskKey
    event: Event


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


@cache
def rules_of(vendor: str) -> Callable[[Kind, Mapping[str, Any]], Rules]:
    """The rules of a vendor's tasks; those of tasks whose parameters nobody knows are made once."""
    dialect = DIALECTS[vendor]
    bare = {kind: dialect.rules(kind, {}) for kind in Kind}
    return lambda kind, params: dialect.rules(kind, params) if params else bare[kind]


@cache
def kind_of_key(key: TaskKey) -> Kind | None:
    """The kind that a key's family stands for; None where only the events tell it."""
    kinds = [kind for kind in Kind if DIALECTS[key.vendor].family_of(kind) == key.family]
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


_READERS: Mapping[str, Callable[[Row, Known], Asked]] = {
    CALLBACK: _callback,
    REPLAY: _replay,
    DEADLINE: _deadline,
    MARK: _mark,
}
