"""Lineages with their tasks: loaded together, and saved together only over the version that was loaded (optimistic locking)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, delete, select

from adapters.ledger import bulk, deadlines, facets
from adapters.ledger.documents import TaskTexts, facts_of, facts_text, task_of
from adapters.ledger.engine import ConflictError
from adapters.ledger.facets import Facet, facet_of
from adapters.ledger.inbox import shard_of, unique_key
from adapters.ledger.schema import lineages, tasks
from statemachine.tasks import ArchivedRuns, Lineage, Task, TaskKey

#: The columns of a task's key, in the order of `task_key`.
KEY_COLUMNS = (lineages.c.vendor, lineages.c.app_id, lineages.c.room_id, lineages.c.vendor_task_id, lineages.c.family)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLineage:
    """A lineage as it was loaded, with its version. `id` None: the ledger has none yet."""

    id: int | None
    version: int
    lineage: Lineage


def key_hash(key: TaskKey) -> bytes:
    return unique_key(key.vendor, key.app_id, key.room_id, key.vendor_task_id, key.family)[:16]


def shard_of_key(key: TaskKey) -> int:
    """Returns the shard of a key's tasks (`inbox.shard_of`)."""
    return shard_of(key.app_id, key.vendor_task_id)


def task_key(values: Sequence[str]) -> TaskKey:
    """Returns the key that the values of `KEY_COLUMNS` make."""
    vendor, app_id, room_id, vendor_task_id, family = values
    return TaskKey(vendor=vendor, app_id=app_id, room_id=room_id, vendor_task_id=vendor_task_id, family=family)


def select_tasks() -> Select[Any]:
    """Selects the columns that `read_tasks` needs, from tasks with their lineages."""
    return select(tasks.c.doc, *KEY_COLUMNS).join(lineages, lineages.c.id == tasks.c.lineage_id)


def read_tasks(connection: Connection, statement: Select[Any]) -> list[Task]:
    """Runs a statement that `select_tasks` began; returns its tasks."""
    return [task_of(task_key(key), doc) for doc, *key in connection.execute(statement)]


def load(connection: Connection, keys: Iterable[TaskKey]) -> dict[TaskKey, StoredLineage]:
    """Returns the lineages of these keys; an empty one where the ledger has none."""
    by_hash = {key_hash(key): key for key in keys}
    rows = list(connection.execute(select(lineages).where(lineages.c.key_hash.in_(list(by_hash)))).mappings())
    by_id: dict[int, list[Task]] = {row["id"]: [] for row in rows}
    keys_by_id = {row["id"]: by_hash[row["key_hash"]] for row in rows}
    statement = (
        select(tasks.c.lineage_id, tasks.c.doc)
        .join(lineages, lineages.c.id == tasks.c.lineage_id)
        .where(tasks.c.lineage_id.in_(list(by_id)), tasks.c.run > lineages.c.sealed_runs, tasks.c.merged_into.is_(None))
    )
    for lineage_id, doc in connection.execute(statement):
        by_id[lineage_id].append(task_of(keys_by_id[lineage_id], doc))
    stored = {key: StoredLineage(id=None, version=0, lineage=Lineage(key=key)) for key in by_hash.values()}
    for row in rows:
        key = keys_by_id[row["id"]]
        runs = tuple(sorted(by_id[row["id"]], key=lambda task: task.run))
        sealed = ArchivedRuns(runs=row["sealed_runs"], until=row["sealed_until"])
        lineage = Lineage(key=key, facts=facts_of(row["facts"]), tasks=runs, sealed=sealed)
        stored[key] = StoredLineage(id=row["id"], version=row["version"], lineage=lineage)
    return stored


def keys_of_tasks(connection: Connection, task_ids: Sequence[str]) -> dict[str, TaskKey]:
    """Returns the keys of tasks by task id; ids that do not exist are left out."""
    statement = select(tasks.c.id, *KEY_COLUMNS).join(tasks, tasks.c.lineage_id == lineages.c.id).where(tasks.c.id.in_(task_ids))
    return {task_id: task_key(key) for task_id, *key in connection.execute(statement)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSave:
    """A lineage to be saved over the version that was loaded, and its changed tasks as (before, after)."""

    stored: StoredLineage
    lineage: Lineage
    changed: Sequence[tuple[Task | None, Task]]


def require_unchanged(connection: Connection, read: Sequence[StoredLineage]) -> None:
    """Locks these lineages until the transaction ends. Raises ConflictError if one has changed since it was loaded."""
    versions = {stored.id: stored.version for stored in read if stored.id is not None}
    if not versions:
        return
    statement = select(lineages.c.id, lineages.c.version).where(lineages.c.id.in_(list(versions))).order_by(lineages.c.id)
    if {row.id: row.version for row in connection.execute(statement.with_for_update(read=True))} != versions:
        raise ConflictError


def save_if_version(
    connection: Connection, saves: Sequence[LineageSave], texts: TaskTexts | None = None
) -> dict[TaskKey, StoredLineage]:
    """Saves the lineages, all or none; returns what `load` would return after the commit.

    texts: documents of tasks that the caller has made already. Raises ConflictError if a lineage has changed since it was loaded.
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
    loaded = [task for task in lineage.tasks if task.run > lineage.sealed.runs and task.merged_into is None]
    tasks_ = tuple(sorted(loaded, key=lambda task: task.run))
    lineage = lineage if tasks_ == lineage.tasks else replace(lineage, tasks=tasks_)
    return StoredLineage(id=lineage_id, version=save.stored.version + 1, lineage=lineage)


def _is_emptied(save: LineageSave) -> bool:
    """Returns whether the key is provisional and its task has moved to the key with the vendor's id."""
    return save.lineage.key.is_provisional and not save.lineage.facts and not save.lineage.tasks


def _save_facts(connection: Connection, saves: Sequence[LineageSave]) -> None:
    """Saves the facts of lineages that still have the version that was loaded. Raises ConflictError."""
    rows = [{"id": save.stored.id, "version": save.stored.version + 1, **_changing_columns(save.lineage)} for save in saves]
    if bulk.update(connection, lineages, rows, key=("id",), counts="version") != len(rows):
        raise ConflictError


def _drop_emptied(connection: Connection, saves: Sequence[LineageSave]) -> None:
    emptied = [save.stored.id for save in saves if _is_emptied(save)]
    if emptied:
        connection.execute(delete(lineages).where(lineages.c.id.in_([id_ for id_ in emptied if id_ is not None])))


def _changing_columns(lineage: Lineage) -> dict[str, Any]:
    """Returns the columns that change in a lineage's life."""
    sealed = lineage.sealed
    return {"facts": facts_text(lineage.facts), "sealed_runs": sealed.runs, "sealed_until": sealed.until}


def _insert_lineages(connection: Connection, saves: Sequence[LineageSave]) -> dict[TaskKey, int]:
    """Inserts lineages; returns their ids. Raises ConflictError if another worker has inserted one of them meanwhile."""
    keys = {key_hash(save.lineage.key): save.lineage for save in saves}
    rows = [_lineage_row(hashed, lineage) for hashed, lineage in keys.items()]
    inserted = bulk.insert_returning(connection, lineages, rows, key=("key_hash",), returning=("id", "key_hash"))
    ids = {keys[hashed].key: lineage_id for lineage_id, hashed in inserted}
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
    """Returns the updates of existing tasks, grouped by the set of columns that differ.

    SQLite rewrites the indexes of all columns that an update names, and those are pages all over the file.
    """
    updates: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for before, after, lineage_id in changed:
        if before is None or before == after:
            continue
        was, row = _filter_columns(before), _filter_columns(after)
        differing = {name: value for name, value in row.items() if value != was[name]} | {"doc": texts.text_of(after)}
        if before.key != after.key:
            differing["lineage_id"] = lineage_id
        updates.setdefault(tuple(differing), []).append({"id": after.id, **differing})
    return updates


def _task_row(task: Task, lineage_id: int, texts: TaskTexts) -> dict[str, Any]:
    new = {"id": task.id, "lineage_id": lineage_id, "created_at": task.created_at, "doc": texts.text_of(task)}
    return new | _filter_columns(task)


def _filter_columns(task: Task) -> dict[str, Any]:
    """Returns the columns that repeat parts of the document, so that tasks can be filtered by them."""
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
    """Returns facet -> change of its number of tasks."""
    tally: Counter[Facet] = Counter()
    for before, after in changed:
        was, now = facet_of(before) if before is not None else None, facet_of(after)
        if was is not None:
            tally[was] -= 1
        if now is not None:
            tally[now] += 1
    return tally
