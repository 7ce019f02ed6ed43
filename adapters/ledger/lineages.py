"""Lineages with their tasks: read together, saved together, and only by who has read the newest."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, select

from adapters.ledger import bulk, deadlines, facets
from adapters.ledger.documents import TaskTexts, facts_of, facts_text, task_of
from adapters.ledger.engine import ConflictError
from adapters.ledger.facets import Facet, facet_of
from adapters.ledger.inbox import shard_of
from adapters.ledger.schema import lineages, tasks
from statemachine.tasks import ArchivedRuns, Lineage, Task, TaskKey


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLineage:
    """A lineage as it was read. `id` None: there is none yet."""

    id: int | None
    version: int
    lineage: Lineage


def key_hash(key: TaskKey) -> bytes:
    parts = (key.vendor, key.app_id, key.room_id, key.vendor_task_id, key.family)
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).digest()[:16]


def shard_of_key(key: TaskKey) -> int:
    """As `inbox.shard_of`."""
    return shard_of(key.app_id, key.vendor_task_id)


def load(connection: Connection, keys: Iterable[TaskKey]) -> dict[TaskKey, StoredLineage]:
    """The lineages of these keys; an empty one where nothing is known."""
    wanted = {key_hash(key): key for key in keys}
    found = list(connection.execute(select(lineages).where(lineages.c.key_hash.in_(list(wanted)))).mappings())
    by_id: dict[int, list[Task]] = {row["id"]: [] for row in found}
    keys_by_id = {row["id"]: wanted[row["key_hash"]] for row in found}
    statement = (
        select(tasks.c.lineage_id, tasks.c.doc)
        .join(lineages, lineages.c.id == tasks.c.lineage_id)
        .where(tasks.c.lineage_id.in_(list(by_id)), tasks.c.run > lineages.c.sealed_runs, tasks.c.merged_into.is_(None))
    )
    for lineage_id, doc in connection.execute(statement):
        by_id[lineage_id].append(task_of(keys_by_id[lineage_id], doc))
    stored = {key: StoredLineage(id=None, version=0, lineage=Lineage(key=key)) for key in wanted.values()}
    for row in found:
        key = keys_by_id[row["id"]]
        runs = tuple(sorted(by_id[row["id"]], key=lambda task: task.run))
        sealed = ArchivedRuns(runs=row["sealed_runs"], until=row["sealed_until"])
        lineage = Lineage(key=key, facts=facts_of(row["facts"]), tasks=runs, sealed=sealed)
        stored[key] = StoredLineage(id=row["id"], version=row["version"], lineage=lineage)
    return stored


def keys_of_tasks(connection: Connection, task_ids: Sequence[str]) -> dict[str, TaskKey]:
    """The keys under which tasks stand; without those that do not exist."""
    columns = (lineages.c.vendor, lineages.c.app_id, lineages.c.room_id, lineages.c.vendor_task_id, lineages.c.family)
    statement = select(tasks.c.id, *columns).join(tasks, tasks.c.lineage_id == lineages.c.id).where(tasks.c.id.in_(task_ids))
    return {task_id: _key(key) for task_id, *key in connection.execute(statement)}


def _key(parts: Sequence[str]) -> TaskKey:
    vendor, app_id, room_id, vendor_task_id, family = parts
    return TaskKey(vendor=vendor, app_id=app_id, room_id=room_id, vendor_task_id=vendor_task_id, family=family)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSave:
    """A lineage to be saved over what was read, and the tasks of it that changed: (as they were, as they are)."""

    stored: StoredLineage
    lineage: Lineage
    changed: Sequence[tuple[Task | None, Task]]


def require_unchanged(connection: Connection, read: Sequence[StoredLineage]) -> None:
    """These are still what was read, and stay so until this transaction ends. Raises ConflictError."""
    versions = {stored.id: stored.version for stored in read if stored.id is not None}
    if not versions:
        return
    statement = select(lineages.c.id, lineages.c.version).where(lineages.c.id.in_(list(versions))).order_by(lineages.c.id)
    if {row.id: row.version for row in connection.execute(statement.with_for_update(read=True))} != versions:
        raise ConflictError


def save_if_version(
    connection: Connection, saves: Sequence[LineageSave], texts: TaskTexts | None = None
) -> dict[TaskKey, StoredLineage]:
    """Saves each lineage if it still is what was read, all or none; what `load` would give once that is committed.

    texts: documents of tasks that somebody has made already. Raises ConflictError.
    """
    texts = texts or TaskTexts()
    _save_facts(connection, [save for save in saves if save.stored.id is not None])
    ids = _insert_lineages(connection, [save for save in saves if save.stored.id is None])
    changed = [(before, after, save.stored.id or ids[save.lineage.key]) for save in saves for before, after in save.changed]
    _save_tasks(connection, changed, texts)
    _drop_emptied(connection, saves)
    _save_deadlines(connection, [(before, after) for before, after, _ in changed])
    facets.add_counts(connection, _facet_changes([(before, after) for before, after, _ in changed]))
    return {save.lineage.key: _as_saved(save, save.stored.id or ids[save.lineage.key]) for save in saves if not _is_emptied(save)}


def _as_saved(save: LineageSave, lineage_id: int) -> StoredLineage:
    lineage = save.lineage
    read = [task for task in lineage.tasks if task.run > lineage.sealed.runs and task.merged_into is None]
    tasks_ = tuple(sorted(read, key=lambda task: task.run))
    lineage = lineage if tasks_ == lineage.tasks else replace(lineage, tasks=tasks_)
    return StoredLineage(id=lineage_id, version=save.stored.version + 1, lineage=lineage)


def _is_emptied(save: LineageSave) -> bool:
    """A key under which a task waited for the vendor's id, and does no more."""
    return save.lineage.key.is_provisional and not save.lineage.facts and not save.lineage.tasks


def _save_facts(connection: Connection, saves: Sequence[LineageSave]) -> None:
    """Only of lineages that still have the version that was read. Raises ConflictError."""
    rows = [{"id": save.stored.id, "version": save.stored.version + 1, **_changing_columns(save.lineage)} for save in saves]
    if bulk.update(connection, lineages, rows, key=("id",), counts="version") != len(rows):
        raise ConflictError


def _drop_emptied(connection: Connection, saves: Sequence[LineageSave]) -> None:
    emptied = [save.stored.id for save in saves if _is_emptied(save)]
    if emptied:
        connection.execute(delete(lineages).where(lineages.c.id.in_([each for each in emptied if each is not None])))


def _changing_columns(lineage: Lineage) -> dict[str, Any]:
    """The columns that change."""
    sealed = lineage.sealed
    return {"facts": facts_text(lineage.facts), "sealed_runs": sealed.runs, "sealed_until": sealed.until}


def _insert_lineages(connection: Connection, saves: Sequence[LineageSave]) -> dict[TaskKey, int]:
    """Their ids. Raises ConflictError where somebody else has made one of them meanwhile."""
    keys = {key_hash(save.lineage.key): save.lineage for save in saves}
    rows = [_lineage_row(hashed, lineage) for hashed, lineage in keys.items()]
    made = bulk.insert_returning(connection, lineages, rows, key=("key_hash",), returning=("id", "key_hash"))
    ids = {keys[hashed].key: lineage_id for lineage_id, hashed in made}
    if len(ids) != len(saves):
        raise ConflictError
    return ids


def _lineage_row(hashed: bytes, lineage: Lineage) -> dict[str, Any]:
    key = lineage.key
    return {
        "key_hash": hashed,
        "vendor": key.vendor,
        "app_id": key.app_id,
        "room_id": key.room_id,
        "vendor_task_id": key.vendor_task_id,
        "family": key.family,
        "version": 1,
        **_changing_columns(lineage),
    }


def _save_tasks(connection: Connection, changed: Sequence[tuple[Task | None, Task, int]], texts: TaskTexts) -> None:
    new = [_task_row(after, lineage_id, texts) for before, after, lineage_id in changed if before is None]
    bulk.insert(connection, tasks, new)
    for rows in _changed_columns(changed, texts).values():
        bulk.update(connection, tasks, rows, key=("id",))


def _changed_columns(
    changed: Sequence[tuple[Task | None, Task, int]], texts: TaskTexts
) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """What is to be written of tasks that are there, by the columns that differ.

    SQLite writes the indexes of all columns that are named, and those are pages all over the file.
    """
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for before, after, lineage_id in changed:
        if before is None or before == after:
            continue
        was, row = _filter_columns(before), _filter_columns(after)
        differing = {name: value for name, value in row.items() if value != was[name]} | {"doc": texts.text_of(after)}
        if before.key != after.key:
            differing["lineage_id"] = lineage_id
        found.setdefault(tuple(differing), []).append({"id": after.id, **differing})
    return found


def _task_row(task: Task, lineage_id: int, texts: TaskTexts) -> dict[str, Any]:
    new = {"id": task.id, "lineage_id": lineage_id, "created_at": task.created_at, "doc": texts.text_of(task)}
    return new | _filter_columns(task)


def _filter_columns(task: Task) -> dict[str, Any]:
    """Those that say in part what the document says."""
    facet = facet_of(task)
    return {
        "run": task.run,
        "vendor": task.key.vendor,
        "kind": task.kind.value,
        "app_id": task.key.app_id,
        "room_id": task.key.room_id or task.view.room_id,
        "vendor_task_id": "" if task.key.is_provisional else task.key.vendor_task_id,
        "robot": task.view.robot,
        "origin": task.origin.value,
        "state": task.view.state.value,
        "reason": task.view.reason.value if task.view.reason else None,
        "facet": facet.number if facet else None,
        "merged_into": task.merged_into,
    }


def _save_deadlines(connection: Connection, changed: Sequence[tuple[Task | None, Task]]) -> None:
    gone: list[deadlines.DeadlineId] = []
    armed: dict[deadlines.DeadlineId, tuple[int, int]] = {}
    for before, after in changed:
        was: Mapping[Any, int] = before.deadlines if before else {}
        gone += [(after.id, kind.value) for kind in was if kind not in after.deadlines]
        shard = shard_of_key(after.key)
        armed |= {(after.id, kind.value): (at, shard) for kind, at in after.deadlines.items() if was.get(kind) != at}
    deadlines.disarm(connection, gone)
    deadlines.arm(connection, armed)


def _facet_changes(changed: Sequence[tuple[Task | None, Task]]) -> Counter[Facet]:
    """How many tasks more each facet has."""
    tally: Counter[Facet] = Counter()
    for before, after in changed:
        was, now = facet_of(before) if before is not None else None, facet_of(after)
        if was is not None:
            tally[was] -= 1
        if now is not None:
            tally[now] += 1
    return tally
