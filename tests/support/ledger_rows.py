"""Puts tasks, facts and callbacks into a ledger, with default values."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from adapters.ledger import Ledger, inbox, lineages
from adapters.ledger.inbox import AppliedRow, Arrival
from adapters.ledger.lineages import LineageSave, StoredLineage
from statemachine.facts import Fact, FactKind
from statemachine.folding.run_view import View
from statemachine.states import Kind, Origin, Reason, State
from statemachine.tasks import Lineage, Task, TaskKey, task_id
from tests.support.times import T0


def key(name: str = "t1", **more: str) -> TaskKey:
    parts = {"vendor": "volcengine", "app_id": "app", "room_id": "room", "vendor_task_id": name, "family": "push"}
    return TaskKey(**{**parts, **more})


def task(of: TaskKey | None = None, *, at: int = T0, anchor: str = "k1", **more: Any) -> Task:
    """more: fields of the task, or `state` and `reason` of its view."""
    of = of or key()
    view = View(state=more.pop("state", State.RUNNING), reason=more.pop("reason", None), evidence_at=at, heard_at=at)
    values = {"run": 1, "kind": Kind.PUSH, "origin": Origin.OBSERVED, "view": view, "updated_at": at, **more}
    return Task(id=task_id(of, anchor, at), key=of, anchor=anchor, created_at=at, **values)


def fact(name: str = "k1", at: int = T0) -> Fact:
    return Fact(kind=FactKind.MEDIA, at=at, received_at=at, key=name)


def save(ledger: Ledger, *tasks: Task) -> None:
    """Saves new tasks or new versions, with the other tasks of each lineage."""
    with ledger.write() as connection:
        for one in tasks:
            stored = lineages.load(connection, [one.key])[one.key]
            before = next((known for known in stored.lineage.tasks if known.id == one.id), None)
            others = [known for known in stored.lineage.tasks if known.id != one.id]
            after = Lineage(key=one.key, facts=stored.lineage.facts, tasks=(*others, one))
            lineages.save_if_version(connection, [LineageSave(stored=stored, lineage=after, changed=[(before, one)])])


def new(lineage: Lineage) -> LineageSave:
    """Returns the save of a lineage that is not stored yet."""
    empty = StoredLineage(id=None, version=0, lineage=Lineage(key=lineage.key))
    return LineageSave(stored=empty, lineage=lineage, changed=[(None, each) for each in lineage.tasks])


def arrival(number: int = 1, **more: Any) -> Arrival:
    values = {
        "vendor": "volcengine",
        "app_id": "app",
        "event_type": "RecordStarted",
        "received_at": T0,
        "headers": {},
        "body": b"{}",
    }
    return Arrival(**{**values, "dedupe_key": f"{number:064x}", **more})


def settle(ledger: Ledger, *settled: AppliedRow) -> None:
    with ledger.write() as connection:
        inbox.write_results(connection, settled)


def waiting_ids(ledger: Ledger) -> Sequence[int]:
    with ledger.read() as connection:
        return [row.id for row in inbox.unapplied(connection, 1_000)]


@contextmanager
def statements(connection: Connection) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    said: list[str] = []
    with asked(connection, lambda statement, _parameters: said.append(statement)):
        yield said


@contextmanager
def asked(connection: Connection, note: Callable[[str, Any], object]) -> Iterator[None]:
    """Notes each statement and its parameters before it is executed."""

    def heard(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        note(statement, parameters)

    event.listen(connection, "before_cursor_execute", heard)
    yield
    event.remove(connection, "before_cursor_execute", heard)


#: A final state for tests that need one.
DONE = {"state": State.COMPLETED, "reason": Reason.SOURCE_FINISHED}
