"""(c, d) A ledger that is full: filled in minutes, asked for pages and timelines while callbacks come.

While a steady load of half of what it can do comes in, pages of tasks under several filters and timelines are asked for, one after
the other, a hundred times a second at most. What counts is the 99th percentile of the time until the whole answer is there.
"""

import http.client
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
from sqlalchemy import func, select, text

from adapters.clock import to_rfc3339
from adapters.ledger import Ledger, postgresql
from adapters.ledger.counters import add
from adapters.ledger.schema import inbox, tasks
from tests.benchmarks.copies import DAY, TABLES, Chunk, Copier, count_facets, templates_in
from tests.benchmarks.load import Load, Sending
from tests.benchmarks.report import Figure, Report, Target
from tests.benchmarks.rounds import Spread
from tests.benchmarks.stack import Stack
from tests.benchmarks.stream import Stream

_BELOW = Target(least=50, below=True)
#: Fewer samples say nothing of a 99th percentile.
ENOUGH = 200
#: From one question to the next, at least, s.
_EVERY_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is in the ledger; `took_s`: how long it took to fill it."""

    tasks: int
    callbacks: int
    took_s: float
    disk_bytes: int


def fill(ledger: Ledger, folder: Path, *, tasks_wanted: int, callbacks_wanted: int) -> Size:
    """Fills an empty PostgreSQL ledger that has the newest schema."""
    began = time.monotonic()
    templates = templates_in(folder, length=callbacks_wanted / tasks_wanted)
    copier = Copier(templates, number=tasks_wanted, telling_time=True)
    with ledger.write() as connection:
        for at in range(copier.oldest, copier.oldest + 60 * DAY, 28 * DAY):
            postgresql.make_partitions(connection, at)
    url = ledger.url
    with psycopg.connect(url) as connection:
        _copy_all(connection, ledger, copier)
        # Nobody may be given a position that was passed by.
        connection.execute("INSERT INTO counters SELECT 'position', 'events', max(id) FROM events")
        connection.execute("SELECT setval(pg_get_serial_sequence('lineages', 'id'), (SELECT max(id) FROM lineages))")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return _size(ledger, time.monotonic() - began)


def _copy_all(connection: "psycopg.Connection[tuple[object, ...]]", ledger: Ledger, copier: Copier) -> None:
    """One chunk is made while the server takes in the one before."""
    with ThreadPoolExecutor(max_workers=1) as writer:
        written = None
        for chunk in copier.chunks():
            if written is not None:
                written.result()
            written = writer.submit(_copy_in, connection, copier, chunk)
            _count(ledger, chunk)
        if written is not None:
            written.result()


def _copy_in(connection: "psycopg.Connection[tuple[object, ...]]", copier: Copier, chunk: Chunk) -> None:
    for table in TABLES:
        _copy_rows(connection, table.name, copier.columns[table.name], chunk.rows[table.name])
    columns = copier.columns[inbox.name]
    key, number = columns.index("dedupe_key"), columns.index("id")
    keys = [(row[key], row[number]) for row in chunk.rows[inbox.name]]
    _copy_rows(connection, postgresql.inbox_keys.name, ["dedupe_key", "inbox_id"], keys)
    connection.commit()


def _copy_rows(
    connection: "psycopg.Connection[tuple[object, ...]]", table: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _count(ledger: Ledger, chunk: Chunk) -> None:
    with ledger.write() as connection:
        count_facets(connection, chunk.facets)
        add(connection, "verdict", chunk.verdicts)
        add(connection, "moves", chunk.moves)
        add(connection, "received", {"all": len(chunk.rows[inbox.name])})


def _size(ledger: Ledger, took_s: float) -> Size:
    with ledger.read() as connection:
        return Size(
            tasks=connection.scalar(select(func.count()).select_from(tasks)) or 0,
            callbacks=connection.scalar(select(func.count()).select_from(inbox)) or 0,
            took_s=took_s,
            disk_bytes=connection.scalar(text("SELECT pg_database_size(current_database())")) or 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Times until the answer was there, ms, by name of the question; and the load beside it."""

    times: Mapping[str, Sequence[float]]
    load: Load


def ask(stack: Stack, stream: Stream, *, rate: float, seconds: float, seed: int = 1) -> Asked:
    """Asks for so long, beside a load of so many callbacks a second."""
    known = _known(stack.ledger, random.Random(seed))
    sending = Sending(stack.door, stream, stack.sent, seconds=seconds, rate=rate)
    try:
        times = _times(stack.origin, known, seconds)
    except BaseException:
        sending.give_up()
        raise
    load = sending.result()
    stack.sent += load.sent
    stack.unacknowledged += load.sent - load.acked
    stack.drain()
    return Asked(times=times, load=load)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Some tasks of the ledger: (id, the vendor's id, room), anywhere in it."""

    some: Sequence[tuple[str, str, str]]
    newest_at: int


def _known(ledger: Ledger, rng: random.Random) -> Known:
    with ledger.read() as connection:
        last = connection.scalar(text("SELECT max(id) FROM lineages")) or 1
        wanted = rng.sample(range(1, last + 1), min(500, last))
        found = connection.execute(
            select(tasks.c.id, tasks.c.vendor_task_id, tasks.c.room_id).where(tasks.c.lineage_id.in_(wanted), tasks.c.room_id != "")
        )
        some = [(row.id, row.vendor_task_id, row.room_id) for row in found]
        return Known(some=some, newest_at=connection.scalar(select(func.max(tasks.c.created_at))) or 0)


def _questions(known: Known, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(name, path) of each question in turn."""
    task_id, vendor_task_id, room_id = rng.choice(known.some)
    days_ago = [to_rfc3339(known.newest_at - days * DAY) for days in (5, 6)]
    for name, query in (
        ("newest", {}),
        ("state", {"state": "completed"}),
        ("state, live", {"state": "running", "live": "true"}),
        ("vendor, kind", {"vendor": "tencent", "kind": "record", "limit": "100"}),
        ("reason", {"reason": "stop_requested"}),
        ("room_id", {"room_id": room_id}),
        ("vendor_task_id", {"vendor_task_id": vendor_task_id}),
        ("q, a prefix", {"q": room_id[:8]}),
        ("q, whole", {"q": vendor_task_id}),
        ("a day, state", {"created_after": days_ago[1], "created_before": days_ago[0], "state": "stopped"}),
    ):
        yield f"page: {name}", f"/v1/tasks?{urlencode(query)}"
    for _ in range(2):
        yield "timeline", f"/v1/tasks/{rng.choice(known.some)[0]}/timeline"
    yield "task", f"/v1/tasks/{task_id}"


def _times(origin: str, known: Known, seconds: float) -> dict[str, list[float]]:
    rng = random.Random(2)
    target = urlsplit(origin)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
    times: dict[str, list[float]] = {}
    end_at = time.monotonic() + seconds
    while time.monotonic() < end_at:
        for name, path in _questions(known, rng):
            began = time.monotonic()
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            took = time.monotonic() - began
            if answer.status != 200:
                raise RuntimeError(f"{path} was answered {answer.status}")
            times.setdefault(name, []).append(took * 1_000)
            time.sleep(max(0.0, _EVERY_S - took))
    connection.close()
    return times


def report(asked: Asked, size: Size, into: Report) -> None:
    groups: Counter[str] = Counter()
    every: dict[str, list[float]] = {}
    for name, times in asked.times.items():
        group = name.partition(":")[0]
        groups[group] += 1
        every.setdefault(group, []).extend(times)
    beside = f"beside {asked.load.rate:,.0f} callbacks/s, at {size.tasks:,} tasks and {size.callbacks:,} callbacks"
    for group, times in every.items():
        into.figures.append(_figure(group, times, _BELOW, beside))
    for name, times in asked.times.items():
        if name not in every:
            into.figures.append(_figure(name, times, _BELOW))


def _figure(name: str, times: Sequence[float], target: Target, more: str = "") -> Figure:
    few = "" if len(times) >= ENOUGH else ", TOO FEW"
    said = f"p50 {percentile(times, 0.5):.1f} ms, {len(times)} samples{few}"
    value = Spread.of([percentile(times, 0.99)])
    said = f"{said}; {more}" if more else said
    return Figure(question="d", name=f"{name}, p99", value=value, unit="ms", target=target, more=said)


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
