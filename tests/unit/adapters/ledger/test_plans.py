"""On a filled PostgreSQL ledger every query uses an index, and reads little more than its result.

The cost of a query is counted, not timed: rows that the scans of its plan read, whether or not they were filtered out.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from adapters.ledger import (
    Ledger,
    adoption_candidates,
    callbacks,
    deadlines,
    deliveries,
    delivery_lag,
    effects,
    events,
    facets,
    idempotency,
    inbox,
    lineages,
    replays,
    search,
    starts,
    stats,
    subscriptions,
    timeline,
)
from adapters.ledger.adoption_candidates import Robot
from adapters.ledger.callbacks import CallbackFilter
from adapters.ledger.deliveries import DeliveryFilter
from adapters.ledger.documents import task_text
from adapters.ledger.facets import facet_of
from adapters.ledger.inbox import AppliedRow
from adapters.ledger.positions import first_position
from adapters.ledger.replays import EventSelection
from adapters.ledger.search import TaskFilter
from statemachine.delivery_policy import DeliveryState
from statemachine.states import State
from tests.support.ledger_deliveries import LEASE, id_of, queued, result, subscription
from tests.support.ledger_rows import asked, key, save, task
from tests.support.ledgers import new_ledger
from tests.support.times import T0
from tests.unit.adapters.ledger.test_starts import start

ROWS = 20_000
#: Numbers of waiting callbacks, calls and due deadlines.
WAITING = 300
STATES = (State.RUNNING, State.STOPPED, State.COMPLETED, State.FAILED, State.LOST)
VENDORS = ("tencent", "volcengine")
#: Lineages that were saved in the normal way.
KNOWN = [key(f"known{number}") for number in range(100)]
#: No event has a position before this one; events follow one after the other.
EVENTS = first_position(T0)

_FILL = f"""
INSERT INTO inbox (kind, dedupe_key, vendor, app_id, event_type, received_at, headers, body, verdict, task_id, applied_at, shard)
SELECT 'callback', sha256(n::text::bytea), (ARRAY['tencent', 'volcengine'])[n % 2 + 1], 'app', 'type' || n % 7, {T0} + n,
    '{{}}', '{{}}',
    CASE WHEN n > {ROWS - WAITING} THEN '' ELSE (ARRAY['applied', 'stale', 'ignored'])[n % 3 + 1] END,
    CASE WHEN n > {ROWS - WAITING} THEN NULL ELSE lpad((n / 10)::text, 26, '0') END,
    CASE WHEN n > {ROWS - WAITING} THEN NULL ELSE {T0} END, n % 256
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO inbox_keys SELECT dedupe_key, id FROM inbox;
INSERT INTO lineages (key_hash, vendor, app_id, room_id, vendor_task_id, family, facts, sealed_runs, sealed_until, version)
SELECT substr(sha256(n::text::bytea), 1, 16), (ARRAY['tencent', 'volcengine'])[n % 2 + 1], 'app', 'room' || n % 2000, 't' || n,
    'push', '[]', 0, 0, 1
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO tasks (id, lineage_id, run, vendor, kind, app_id, room_id, vendor_task_id, origin, state, created_at, robot, facet, doc)
SELECT lpad(n::text, 26, '0'), n, 1, (ARRAY['tencent', 'volcengine'])[n % 2 + 1], 'push', 'app', 'room' || n % 2000, 't' || n,
    'observed', 'running', {T0},
    'bot' || n % 1000, (SELECT facet FROM facets ORDER BY facet LIMIT 1 OFFSET n % {len(STATES) * 2}), :doc
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO timeline (task_id, at, inbox_id, entries)
SELECT lpad((n % 500)::text, 26, '0'), {T0}, n, '[]' FROM generate_series(1, {ROWS}) AS n;
INSERT INTO deadlines
SELECT lpad(n::text, 26, '0'), 'silence', {T0} - {WAITING} + n, n % 256 FROM generate_series(1, {ROWS}) AS n;
INSERT INTO effects (task_id, serial, operation, vendor, app_id, family, bucket, due_at, lease_until)
SELECT lpad(n::text, 26, '0'), 1, 'start', 'tencent', 'app', 'push', 'bucket' || n % 3, {T0},
    CASE WHEN n % 100 = 0 THEN {T0} + n END
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO idempotency SELECT sha256(n::text::bytea), '', {T0} + n, 200, NULL, '' FROM generate_series(1, {ROWS}) AS n;
INSERT INTO events
SELECT {EVENTS} + n, lpad((n / 4)::text, 26, '0'), n % 4, 'tally.task.running', {T0} + n,
    (ARRAY['tencent', 'volcengine'])[n % 2 + 1], 'app', 'push', '{{"data": {{}}}}'
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO counters VALUES ('position', 'events', {EVENTS} + {ROWS});
INSERT INTO subscriptions
SELECT lpad(n::text, 26, '0'), '{{"type": "mailbox"}}', '["*"]', '{{}}', '', (ARRAY['active', 'paused'])[n % 2 + 1], NULL, '',
    NULL, NULL, {EVENTS} + {ROWS} - 50, NULL, NULL, NULL, {T0}, {T0}, 1
FROM generate_series(1, 20) AS n;
INSERT INTO deliveries
    (subscription_id, event_id, subject, type, origin, state, queued_at, due_at, tries, first_tried_at, done_at, attempts)
SELECT lpad((n % 2 + 1)::text, 26, '0'), {EVENTS} + n, lpad((n / 4)::text, 26, '0'), 'tally.task.running', 'event',
    CASE WHEN n % 100 < 70 THEN 'waiting' ELSE (ARRAY['delivered', 'dead', 'requeued'])[n % 3 + 1] END, {T0} + n,
    CASE WHEN n % 100 < 70 THEN {T0} END, 1, {T0}, CASE WHEN n % 100 >= 70 THEN {T0} END, '[]'
FROM generate_series(1, {ROWS}) AS n;
INSERT INTO counters SELECT 'undelivered', lpad(n::text, 26, '0'), {ROWS} / 2 FROM generate_series(1, 20) AS n;
INSERT INTO replays (subscription_id, since, until, dead, position, last, rate, next_at)
SELECT lpad((n % 20 + 1)::text, 26, '0'), 0, {T0}, 0, 0, {EVENTS} + {ROWS}, 100, {T0} FROM generate_series(1, 60) AS n;
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with new_ledger("postgresql", tmp_path_factory.mktemp("filled")) as ledger:
        with ledger.write() as connection:
            _fill(connection)
            _make_some_rare_and_old(connection)
        save(ledger, *(task(known) for known in KNOWN))
        with ledger.session() as connection:
            connection.execute(text("ANALYZE"))
        yield ledger


def _fill(connection: Connection) -> None:
    some = [facet_of(task(key(vendor=vendor), state=state)) for vendor in VENDORS for state in STATES]
    facets.add_counts(connection, {facet: ROWS // len(some) for facet in some if facet is not None})
    for statement in _FILL.split(";\n")[:-1]:
        connection.execute(text(statement), {"doc": task_text(task())} if ":doc" in statement else {})


def _make_some_rare_and_old(connection: Connection) -> None:
    """Makes some values rare and old: a search from the newest row on would find them last."""
    rare, other = connection.scalars(text("SELECT facet FROM facets WHERE vendor = 'tencent' ORDER BY facet LIMIT 2"))
    statement = "UPDATE tasks SET facet = :other WHERE facet = :rare AND id > :first"
    connection.execute(text(statement), {"other": other, "rare": rare, "first": f"{60:026d}"})
    statement = "UPDATE inbox SET verdict = 'applied' WHERE verdict = 'ignored' AND received_at > :first"
    connection.execute(text(statement), {"first": T0 + 60})


#: Name of a query -> its function.
Question = Callable[[Connection], object]


def _page(**wanted: Any) -> Question:
    return lambda connection: search.page(connection, TaskFilter(**wanted), before=None, limit=50)


def _callbacks(before: tuple[int, int] | None = None, **wanted: Any) -> Question:
    return lambda connection: callbacks.page(connection, CallbackFilter(**wanted), before=before, limit=50)


def _ids(connection: Connection) -> list[int]:
    return [row.id for row in inbox.unapplied(connection, 100)]


def _deliveries(**wanted: Any) -> Question:
    return lambda connection: deliveries.page(connection, WHOSE, DeliveryFilter(**wanted), before=ROWS // 2, limit=50)


def _claimed(connection: Connection) -> list[deliveries.Delivery]:
    return deliveries.claim(connection, WHOSE, T0, 100, T0 + LEASE)


def _dead_again(connection: Connection) -> None:
    replays.add(connection, subscription(2), EventSelection(since=T0, until=T0 + ROWS, dead=True), 100, T0 - 60_000)
    replays.advance(connection, subscription(2), T0)


#: Number of deliveries; half of them wait, all due at the same moment, as after a pause.
WHOSE = id_of(2)
MIDDLE = (T0 + ROWS // 2, 2**62)
ROBOT = Robot(vendor="tencent", app_id="app", room_id="room8", name="bot8", at=T0)
QUESTIONS: dict[str, Question] = {
    "any callbacks": _callbacks(),
    "older callbacks": _callbacks(MIDDLE),
    "callbacks of a vendor": _callbacks(vendor="tencent"),
    "callbacks of a verdict": _callbacks(verdict="stale"),
    "callbacks of a verdict that was rare and is old": _callbacks(verdict="ignored"),
    "older callbacks of a verdict": _callbacks(MIDDLE, verdict="stale"),
    "callbacks of a verdict that none has": _callbacks(verdict="anomaly"),
    "callbacks of a type and vendor": _callbacks(event_type="type3", vendor="tencent"),
    "callbacks of a task": _callbacks(task_id=f"{7:026d}"),
    "callbacks of a time": _callbacks(received_after=T0 + 500, received_before=T0 + 600, vendor="tencent"),
    "ids of callbacks": lambda connection: callbacks.ids_after(connection, CallbackFilter(task_id=f"{7:026d}"), after=0, limit=50),
    "any tasks": _page(),
    "older tasks": lambda connection: search.page(connection, TaskFilter(), before=f"{ROWS // 2:026d}", limit=50),
    "tasks of a vendor": _page(vendor="tencent"),
    "tasks of some states": _page(states=("running", "failed")),
    "live tasks of a vendor": _page(vendor="tencent", live=True),
    "tasks of a room": _page(room_id="room7"),
    "live tasks of a room": _page(room_id="room7", live=True),
    "tasks of a vendor's id": _page(vendor_task_id="t77"),
    "tasks whose rooms begin so": _page(q="room19"),
    "tasks of which nothing begins so": _page(q="nothing"),
    "one task": lambda connection: search.find(connection, f"{7:026d}"),
    "a timeline": lambda connection: timeline.page(connection, f"{7:026d}", after=0, limit=50),
    "what waits": lambda connection: inbox.unapplied(connection, 100, now=T0),
    "what waits of a shard": lambda connection: inbox.unapplied(connection, 100, now=T0, shards=[7]),
    "where something waits behind a backlog": lambda connection: inbox.places_behind(
        connection, 100, T0, None, after=9, without=[7]
    ),
    "which rows wait there": lambda connection: inbox.unapplied_of(connection, _ids(connection)),
    "whether anything waits": inbox.any_waiting,
    "how much waits": inbox.backlog,
    "which of them wait": lambda connection: inbox.still_waiting(connection, _ids(connection)),
    "settling": lambda connection: inbox.write_results(connection, [AppliedRow(id=id_, applied_at=T0) for id_ in _ids(connection)]),
    "lineages": lambda connection: lineages.load(connection, KNOWN),
    "keys of tasks": lambda connection: lineages.keys_of_tasks(connection, [f"{number:026d}" for number in range(100)]),
    "deadlines that are due": lambda connection: deadlines.due(connection, T0, 100),
    "how many are overdue": lambda connection: deadlines.overdue(connection, T0),
    "calls to be made": lambda connection: effects.claim(connection, T0, 32, 1_000, lambda _: 20),
    "calls whose lease is over": lambda connection: effects.expired(connection, T0 + 1_000, 50),
    "calls of tasks": lambda connection: effects.claimed(connection, [f"{number:026d}" for number in range(100)]),
    "a start": lambda connection: starts.post(connection, start(robot="bot"), T0),
    "a robot's start": lambda connection: adoption_candidates.starts_of_robots(connection, [ROBOT]),
    "starts without an id": lambda connection: adoption_candidates.starts_without_id(connection, task()),
    "statistics": lambda connection: stats.read(connection, T0),
    "events": lambda connection: events.page(connection, after=EVENTS + ROWS // 2, limit=100),
    "headings": lambda connection: events.headers(connection, after=EVENTS + ROWS // 2, limit=500),
    "headings up to one": lambda connection: events.headers(connection, after=EVENTS, last=EVENTS + ROWS // 2, limit=500),
    "headings of a subject": lambda connection: events.headers(connection, after=EVENTS, limit=500, subject=id_of(7)),
    "events by their positions": lambda connection: events.read_rows(connection, range(EVENTS, EVENTS + 100)),
    "versions by their positions": lambda connection: events.versions(connection, range(EVENTS, EVENTS + 100)),
    "whether anything is due": lambda connection: deliveries.due_subscriptions(connection, T0),
    "what is due": _claimed,
    "settling what was taken": lambda connection: deliveries.record_results(connection, [*map(result, _claimed(connection))], T0),
    "giving back what was taken": lambda connection: deliveries.release_leases(connection, T0, _claimed(connection)),
    "queueing": lambda connection: deliveries.queue(connection, WHOSE, [queued(id_of(n)) for n in range(500)], T0),
    "hastening one": lambda connection: deliveries.retry_now(connection, WHOSE, T0 + 1, _claimed(connection)[0]),
    "any deliveries": _deliveries(),
    "deliveries of a subject": _deliveries(subject=id_of(7)),
    "deliveries that are dead": _deliveries(state=DeliveryState.DEAD),
    "deliveries of a subject that wait": _deliveries(subject=id_of(7), state=DeliveryState.WAITING),
    "a delivery": lambda connection: deliveries.find(connection, WHOSE, 7),
    "the oldest that waits": lambda connection: deliveries.oldest_waiting(connection, WHOSE),
    "dead deliveries": lambda connection: deliveries.dead(connection, WHOSE, after=ROWS // 4, last=ROWS, limit=500),
    "the newest dead one": lambda connection: deliveries.newest_dead_id(connection, WHOSE),
    "old deliveries": lambda connection: deliveries.expired_ids(connection, WHOSE, T0 + 1, 500),
    "dropping some": lambda connection: deliveries.drop_some(connection, WHOSE, 500),
    "replays that are due": lambda connection: replays.due(connection, T0),
    "a replay of dead ones": _dead_again,
    "how far others are behind": delivery_lag.read,
    "active subscriptions": subscriptions.active,
    "names whose day is over": lambda connection: idempotency.delete_expired(connection, T0 + idempotency.RETENTION_MS + 500),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_query_reads_a_tenth_of_a_table_or_scans_a_large_one(filled: Ledger, question: str) -> None:
    said: list[tuple[str, Any]] = []
    with filled.write() as connection:
        with asked(connection, lambda *each: said.append(each)):
            QUESTIONS[question](connection)
        scans = [scan for statement, parameters in said for scan in _scans(connection, statement, parameters)]
        connection.rollback()
    assert max(map(_rows_read, scans)) < ROWS / 10, scans
    assert [scan for scan in scans if scan["Node Type"] == "Seq Scan" and _rows_read(scan) > 100] == []


def _rows_read(scan: dict[str, Any]) -> int:
    return int(scan["Actual Loops"] * (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)))


def _scans(connection: Connection, statement: str, parameters: Any) -> Iterator[dict[str, Any]]:
    """Returns the table scans in the plan of an executed statement; inserts are skipped, because they cannot run twice."""
    if "INSERT INTO" not in statement:
        explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
        plan = (json.loads(explained) if isinstance(explained, str) else explained)[0]["Plan"]
        yield from (node for node in _nodes(plan) if "Relation Name" in node and "Scan" in node["Node Type"])


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
