"""The audit: compares what was acknowledged with what the ledger has, by id. Nothing may be lost, nothing doubled.

A callback of the stream is known by its body, which no other one has; what the ledger made of it by the id of its inbox row. Of
callbacks that were sent and not acknowledged the ledger may have any: which ones those were, the load does not say.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import func, select

from adapters.ledger import Connection, Ledger
from adapters.ledger.schema import events, inbox, tasks, timeline
from statemachine.states import State
from tests.benchmarks.stream import told_by

#: How a task must stand after the last of its callbacks that was sent.
_STANDS = {301: State.RUNNING, 302: State.FINISHING, 305: State.COMPLETED, 310: State.COMPLETED}
_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """How far the ledger's tables went before: what lies behind is audited."""

    inbox: int
    timeline: int
    events: int


@dataclass(slots=True)
class Findings:
    """What is wrong, each with a sentence that names the id."""

    name: str
    #: How many callbacks were compared, and how many of them were not acknowledged.
    sent: int
    unacknowledged: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    @property
    def lost_at_least(self) -> int:
        """Each callback that was not acknowledged may be missing rightly."""
        return max(0, len(self.lost) - self.unacknowledged)

    @property
    def good(self) -> bool:
        return not self.lost_at_least and not self.doubled

    def examples(self) -> Iterator[str]:
        yield from self.lost[:_EXAMPLES]
        yield from self.doubled[:_EXAMPLES]


def marks(ledger: Ledger) -> Marks:
    with ledger.read() as connection:
        last = {table.name: connection.scalar(select(func.max(table.c.id))) or 0 for table in (inbox, timeline, events)}
    return Marks(**last)


def audit(ledger: Ledger, bodies: Iterable[bytes], since: Marks, *, name: str, unacknowledged: int = 0, applied: bool) -> Findings:
    """bodies: of all that was sent since. applied: whether it was to be applied too, or only to be recorded."""
    sent = list(bodies)
    findings = Findings(name=name, sent=len(sent), unacknowledged=unacknowledged)
    with ledger.read() as connection:
        rows = _rows(connection, since)
        _compare_recorded(findings, sent, rows)
        if applied:
            _compare_applied(findings, connection, since, rows)
            _compare_standing(findings, connection, sent, rows)
    return findings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """An inbox row, as far as the audit is concerned."""

    id: int
    task_id: str | None
    #: It was applied, and something came of it.
    settled: bool


def _rows(connection: Connection, since: Marks) -> dict[bytes, list[_Row]]:
    """body -> the inbox rows that have it."""
    columns = (inbox.c.id, inbox.c.body, inbox.c.task_id, inbox.c.verdict, inbox.c.applied_at, inbox.c.error)
    statement = select(*columns).where(inbox.c.id > since.inbox, inbox.c.kind == "callback")
    found: dict[bytes, list[_Row]] = defaultdict(list)
    for row in connection.execute(statement):
        settled = row.applied_at is not None and bool(row.verdict) and row.error is None
        found[bytes(row.body)].append(_Row(id=row.id, task_id=row.task_id, settled=settled))
    return found


def _compare_recorded(findings: Findings, sent: Iterable[bytes], rows: Mapping[bytes, list[_Row]]) -> None:
    for body in sent:
        have = rows.get(body, ())
        if not have:
            findings.lost.append(f"not recorded: {body!r}")
        elif len(have) > 1:
            findings.doubled.append(f"recorded {len(have)} times, as {[row.id for row in have]}: {body!r}")


def _compare_applied(findings: Findings, connection: Connection, since: Marks, rows: Mapping[bytes, list[_Row]]) -> None:
    every = [row for have in rows.values() for row in have]
    findings.lost += [f"callback {row.id} is not applied" for row in every if not row.settled]
    lines = _lines(connection, since)
    for row in every:
        if row.settled and (count := lines[row.id]) != 1:
            wrong = findings.doubled if count else findings.lost
            wrong.append(f"callback {row.id} stands in {count} lines of the timeline of task {row.task_id}")
    _compare_events(findings, connection, since, {row.task_id for row in every if row.task_id is not None})


def _lines(connection: Connection, since: Marks) -> Counter[int]:
    """inbox row -> how many timeline lines say that it was heard."""
    found: Counter[int] = Counter()
    statement = select(timeline.c.inbox_id, timeline.c.entries).where(timeline.c.id > since.timeline)
    for inbox_id, entries in connection.execute(statement):
        found[inbox_id] += sum(entry["kind"] == "callback" for entry in json.loads(entries))
    return found


def _compare_events(findings: Findings, connection: Connection, since: Marks, touched: set[str]) -> None:
    """Each task has one event for each of its versions, from the first to the newest."""
    told: dict[str, Counter[int]] = defaultdict(Counter)
    for task_id, version in connection.execute(select(events.c.subject, events.c.version).where(events.c.id > since.events)):
        told[task_id][version] += 1
    for task_id, newest in _versions(connection, since, touched):
        have = told.get(task_id, Counter())
        findings.lost += [f"task {task_id} has no event for version {each}" for each in range(1, newest + 1) if not have[each]]
        for each, count in have.items():
            if count > 1 or each > newest:
                findings.doubled.append(f"task {task_id}, at version {newest}, has {count} events for version {each}")


def _versions(connection: Connection, since: Marks, touched: set[str]) -> Iterator[tuple[str, int]]:
    for task_id, doc in connection.execute(select(tasks.c.id, tasks.c.doc).where(tasks.c.id.in_(_concerned(since)))):
        if task_id in touched:
            yield task_id, json.loads(doc).get("version", 1)


def _concerned(since: Marks):  # type: ignore[no-untyped-def]  # SQLAlchemy's own type is longer than the function
    return select(inbox.c.task_id).where(inbox.c.id > since.inbox, inbox.c.task_id.is_not(None))


def _compare_standing(findings: Findings, connection: Connection, sent: Iterable[bytes], rows: Mapping[bytes, list[_Row]]) -> None:
    """Each task stands as its callbacks say: whatever is missing elsewhere would show here too."""
    states = _states(connection, {row.task_id for have in rows.values() for row in have if row.task_id is not None})
    for vendor_task_id, event_type in _last_steps(sent).items():
        state, wanted = states.get(vendor_task_id), _STANDS[event_type].value
        if state is not None and state != wanted:
            findings.lost.append(f"the task that the vendor calls {vendor_task_id} is {state}, not {wanted}")


def _states(connection: Connection, touched: set[str]) -> dict[str, str]:
    """vendor's id -> state."""
    ids, found = sorted(touched), {}
    for start in range(0, len(ids), 5_000):
        columns = (tasks.c.vendor_task_id, tasks.c.state)
        found |= dict(connection.execute(select(*columns).where(tasks.c.id.in_(ids[start : start + 5_000]))).all())  # type: ignore[arg-type]
    return found


def _last_steps(sent: Iterable[bytes]) -> dict[str, int]:
    """The vendor's id of each task -> the type of the last of its callbacks that was sent."""
    return dict(map(told_by, sent))
