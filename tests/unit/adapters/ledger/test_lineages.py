"""Lineages are saved completely, and only over the version that was loaded."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from sqlalchemy import select

from adapters.ledger import Ledger, deadlines, facets, lineages, search
from adapters.ledger.deadlines import DueDeadline
from adapters.ledger.engine import ConflictError
from adapters.ledger.lineages import LineageSave, StoredLineage
from adapters.ledger.schema import tasks
from statemachine.states import Deadline, State
from statemachine.tasks import ArchivedRuns, Lineage
from tests.support.ledger_rows import DONE, fact, key, new, save, statements, task
from tests.support.times import T0


def _stored(ledger: Ledger, name: str = "t1") -> StoredLineage:
    with ledger.read() as connection:
        return lineages.load(connection, [key(name)])[key(name)]


def test_an_unknown_key_has_an_empty_lineage(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert lineages.load(connection, []) == {}
    assert _stored(ledger) == StoredLineage(id=None, version=0, lineage=Lineage(key=key()))


def test_a_saved_lineage_is_loaded(ledger: Ledger) -> None:
    second = replace(task(anchor="k2", at=T0 + 9, **DONE), run=2)
    lineage = Lineage(key=key(), facts=(fact(), fact("k2", T0 + 9)), tasks=(task(), second))
    with ledger.write() as connection:
        lineages.save_if_version(connection, [new(lineage)])
    stored = _stored(ledger)
    assert stored == StoredLineage(id=stored.id, version=1, lineage=lineage)
    assert stored.id is not None


def test_a_save_returns_what_the_next_load_returns(ledger: Ledger) -> None:
    """A worker that caches it need not load it: archived and merged tasks are left out of both."""
    runs = [replace(task(anchor=f"k{run}", at=T0 + run, **DONE), run=run) for run in (1, 2, 3)]
    lineage = Lineage(key=key(), facts=(fact(),), tasks=(runs[0],))
    with ledger.write() as connection:
        first = lineages.save_if_version(connection, [new(lineage)])
    assert first == {key(): _stored(ledger)}
    merged = replace(runs[2], merged_into=runs[1].id)
    grown = replace(lineage, tasks=(merged, *runs[:2]), sealed=ArchivedRuns(runs=1, until=T0 + 1))
    with ledger.write() as connection:
        save_ = LineageSave(stored=first[key()], lineage=grown, changed=[(None, runs[1]), (None, merged)])
        second = lineages.save_if_version(connection, [save_])
    assert second == {key(): _stored(ledger)}
    assert [each.run for each in second[key()].lineage.tasks] == [2]


def test_a_provisional_key_without_tasks_is_not_returned(ledger: Ledger) -> None:
    waiting = key("").provisional_key("t")
    with ledger.write() as connection:
        told = lineages.save_if_version(connection, [new(Lineage(key=waiting, facts=(fact(),)))])
    with ledger.write() as connection:
        emptied = LineageSave(stored=told[waiting], lineage=Lineage(key=waiting), changed=[])
        assert lineages.save_if_version(connection, [emptied]) == {}


def test_a_second_save_of_the_same_read_is_a_conflict_and_changes_nothing(ledger: Ledger) -> None:
    save(ledger, task())
    read = _stored(ledger)
    done = task(deadlines={Deadline.SILENCE: T0}, **DONE)
    save(ledger, task(version=2))
    before = _stored(ledger)
    other = Lineage(key=key("t2"), facts=(fact(),), tasks=(task(key("t2")),))
    late = LineageSave(stored=read, lineage=replace(read.lineage, tasks=(done,)), changed=[(task(), done)])
    with pytest.raises(ConflictError), ledger.write() as connection:
        lineages.save_if_version(connection, [new(other), late])
    assert _stored(ledger) == before
    assert _stored(ledger, "t2").id is None
    with ledger.read() as connection:
        assert deadlines.due(connection, T0, 9) == []


def test_two_workers_that_found_no_lineage_cannot_both_create_it(ledger: Ledger) -> None:
    save(ledger, task())
    with pytest.raises(ConflictError), ledger.write() as connection:
        lineages.save_if_version(connection, [new(Lineage(key=key(), tasks=(task(),)))])


def test_keys_differ_wherever_their_parts_are_divided(ledger: Ledger) -> None:
    near = [key(), key("t", room_id="roomt1"), key(family="record"), key(app_id="ap", room_id="proom"), key(room_id="")]
    assert len({lineages.key_hash(each) for each in near}) == len(near)


def test_keys_of_tasks_are_found(ledger: Ledger) -> None:
    save(ledger, task(), task(key("t2")))
    with ledger.read() as connection:
        found = lineages.keys_of_tasks(connection, [task().id, "no such task"])
    assert found == {task().id: key()}


def test_only_the_columns_that_differ_are_written(ledger: Ledger) -> None:
    """SQLite rewrites an index as soon as an update names its column."""
    save(ledger, task())
    read, heard = _stored(ledger), task(updated_at=T0 + 1, version=2)
    with ledger.write() as connection, statements(connection) as said:
        lineages.save_if_version(
            connection, [LineageSave(stored=read, lineage=replace(read.lineage, tasks=(heard,)), changed=[(task(), heard)])]
        )
    (written,) = [statement for statement in said if "UPDATE tasks" in statement]
    assert re.findall(r"(\w+) = ", written.partition(" WHERE ")[0]) == ["doc"]
    assert _stored(ledger).lineage.tasks == (heard,)


def test_a_task_that_moves_to_another_key_is_found_there_with_all_changes(ledger: Ledger) -> None:
    save(ledger, task(key("p1", family="push/pending")), task(key("t2")))
    here, there = _stored(ledger, "t2"), key("t2")
    with ledger.read() as connection:
        before = lineages.load(connection, [key("p1", family="push/pending")]).popitem()[1].lineage.tasks[0]
    moved = replace(before, key=there, run=2, version=2)
    with ledger.write() as connection:
        lineage = replace(here.lineage, tasks=(*here.lineage.tasks, moved))
        lineages.save_if_version(connection, [LineageSave(stored=here, lineage=lineage, changed=[(before, moved)])])
    assert _stored(ledger, "t2").lineage.tasks[1] == moved
    with ledger.read() as connection:
        assert lineages.keys_of_tasks(connection, [moved.id]) == {moved.id: there}


def test_deadlines_follow_the_task(ledger: Ledger) -> None:
    save(ledger, task(deadlines={Deadline.SILENCE: T0 + 1, Deadline.EXPIRY: T0 + 2}))
    save(ledger, task(deadlines={Deadline.SILENCE: T0 + 3}, version=2))
    with ledger.read() as connection:
        shard = lineages.shard_of_key(key())
        assert deadlines.due(connection, T0 + 9, 9) == [DueDeadline(task_id=task().id, kind="silence", due_at=T0 + 3, shard=shard)]


def test_a_merged_task_leaves_its_lineage_and_every_list_but_is_found(ledger: Ledger) -> None:
    save(ledger, task())
    merged = task(merged_into="0" * 26, version=2)
    save(ledger, merged)
    assert _stored(ledger).lineage.tasks == ()
    with ledger.read() as connection:
        assert search.page(connection, search.TaskFilter(), before=None, limit=9) == []
        assert search.page(connection, search.TaskFilter(room_id="room"), before=None, limit=9) == []
        assert search.page(connection, search.TaskFilter(states=(State.RUNNING,)), before=None, limit=9) == []
        assert search.find(connection, merged.id) == merged


def _columns(ledger: Ledger, task_id: str) -> dict[str, object]:
    with ledger.read() as connection:
        named = (tasks.c[name] for name in ("lineage_id", "vendor_task_id", "room_id", "robot"))
        return dict(connection.execute(select(*named).where(tasks.c.id == task_id)).mappings().one())


def test_a_task_without_a_vendor_id_yet_has_none(ledger: Ledger) -> None:
    waits = task(key("").provisional_key("ours"))
    waits = replace(waits, view=replace(waits.view, room_id="red", robot="bot"))
    save(ledger, waits)
    with ledger.read() as connection:
        assert search.find(connection, waits.id) == waits
        stored = lineages.load(connection, [waits.key])[waits.key]
    assert stored.lineage.tasks == (waits,)
    assert _columns(ledger, waits.id) == {"lineage_id": stored.id, "vendor_task_id": "", "room_id": "red", "robot": "bot"}


def test_a_task_can_move_to_another_lineage(ledger: Ledger) -> None:
    waits = task(key("").provisional_key("ours"))
    save(ledger, waits)
    with ledger.read() as connection:
        stored = lineages.load(connection, [waits.key, key()])
    told = replace(waits, key=key(), version=2)
    left = LineageSave(stored=stored[waits.key], lineage=Lineage(key=waits.key), changed=[])
    joined = LineageSave(stored=stored[key()], lineage=Lineage(key=key(), tasks=(told,)), changed=[(waits, told)])
    with ledger.write() as connection:
        lineages.save_if_version(connection, [left, joined])
    assert _columns(ledger, told.id)["vendor_task_id"] == "t1"
    with ledger.read() as connection:
        found = lineages.load(connection, [waits.key, key()])
        assert lineages.keys_of_tasks(connection, [told.id]) == {told.id: key()}
    assert (found[waits.key].lineage.tasks, found[key()].lineage.tasks) == ((), (told,))


# Concurrent saves.


def _save_at_once(ledger: Ledger, *each: Sequence[LineageSave]) -> list[str]:
    ready = Barrier(len(each))

    def save_all(saves: Sequence[LineageSave]) -> str:
        ready.wait()
        try:
            with ledger.write() as connection:
                lineages.save_if_version(connection, saves)
        except ConflictError:
            return "conflict"
        return "saved"

    with ThreadPoolExecutor(len(each)) as pool:
        return sorted(pool.map(save_all, each))


def _saves(ledger: Ledger, *names: str, at: int) -> list[LineageSave]:
    saves = []
    for name in names:
        read = _stored(ledger, name)
        (before,) = read.lineage.tasks
        after = replace(before, updated_at=at, version=before.version + 1)
        saves.append(LineageSave(stored=read, lineage=replace(read.lineage, tasks=(after,)), changed=[(before, after)]))
    return saves


def test_of_two_saves_of_the_same_version_one_succeeds_in_any_order(ledger: Ledger) -> None:
    names = [f"t{number}" for number in range(20)]
    save(ledger, *(task(key(name)) for name in names))
    first, second = _saves(ledger, *names, at=T0 + 1), _saves(ledger, *names[::-1], at=T0 + 2)
    assert _save_at_once(ledger, first, second) == ["conflict", "saved"]
    found = [_stored(ledger, name) for name in names]
    assert {stored.version for stored in found} == {2}
    assert len({stored.lineage.tasks[0].updated_at for stored in found}) == 1


def test_of_two_that_create_the_same_lineages_one_succeeds_in_any_order(ledger: Ledger) -> None:
    made = [new(Lineage(key=key(f"t{number}"), tasks=(task(key(f"t{number}")),))) for number in range(20)]
    assert _save_at_once(ledger, made, made[::-1]) == ["conflict", "saved"]
    with ledger.read() as connection:
        assert len(search.page(connection, search.TaskFilter(), before=None, limit=99)) == 20
        assert sum(facets.by_state(connection).values()) == 20


def test_saves_of_different_lineages_of_one_facet_do_not_conflict(ledger: Ledger) -> None:
    save(ledger, *(task(key(f"t{number}")) for number in range(4)))
    saves = [_saves(ledger, f"t{number}", at=T0 + 1) for number in range(4)]
    assert _save_at_once(ledger, *saves) == ["saved"] * 4


def test_text_that_no_column_can_store_is_read_back_from_facts_and_documents(ledger: Ledger) -> None:
    odd = "\x00 \ud800 \udfff é"
    one = task(params={odd: [odd]}, policy={"note": odd})
    lineage = Lineage(key=key(), facts=(fact(odd),), tasks=(one,))
    with ledger.write() as connection:
        lineages.save_if_version(connection, [new(lineage)])
    assert _stored(ledger).lineage == lineage


@pytest.mark.parametrize("size", [1, 1_000])
def test_a_batch_of_any_size_is_saved_and_loaded(ledger: Ledger, size: int) -> None:
    keys = [key(f"t{number}") for number in range(size)]
    with ledger.write() as connection:
        lineages.save_if_version(connection, [new(Lineage(key=each, tasks=(task(each),))) for each in keys])
    with ledger.read() as connection:
        found = lineages.load(connection, keys)
    assert [found[each].lineage.tasks for each in keys] == [(task(each),) for each in keys]
