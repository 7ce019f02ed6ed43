"""A search agrees with a filter that looks at each task, whichever way it chooses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ledger import Ledger, search
from adapters.ledger.search import SearchThresholds, TaskFilter
from statemachine.folding.run_view import View
from statemachine.states import LIVE, Anomaly, Kind, Origin, Reason, State
from statemachine.tasks import Task
from tests.support.ledger_rows import DONE, key, save, task
from tests.support.ledgers import empty, examples
from tests.support.times import T0

VENDORS, APPS, ROOMS = ("volcengine", "tencent"), ("a1", "a2", "b"), ("", "r", "r1", "r1%", "R1", "é")
NAMES, REASONS = ("1", "10", "a", "01HF7Y"), (None, Reason.UNSTATED, Reason.SILENT)
STATES, ANOMALIES = (State.RUNNING, State.STOPPED, State.FINISHING), (Anomaly.ZOMBIE, Anomaly.OVERDUE)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    of = key(
        f"{draw(st.sampled_from(NAMES))}",
        vendor=draw(st.sampled_from(VENDORS)),
        app_id=draw(st.sampled_from(APPS)),
        room_id=draw(st.sampled_from(ROOMS)),
    )
    at = T0 + draw(st.integers(0, 40))
    made = task(
        of,
        at=at,
        anchor=f"k{draw(st.integers(0, 10**9))}",
        kind=draw(st.sampled_from([Kind.PUSH, Kind.RECORD])),
        origin=draw(st.sampled_from(Origin)),
        anomalies=tuple(sorted(draw(st.sets(st.sampled_from(ANOMALIES))))),
        merged_into=draw(st.sampled_from([None] * 9 + ["0" * 26])),
    )
    # Where the key has no room, its callbacks may report one.
    view = View(
        state=draw(st.sampled_from(STATES)),
        reason=draw(st.sampled_from(REASONS)),
        room_id=draw(st.sampled_from([None, "r1"])),
        evidence_at=at,
        heard_at=at,
    )
    return replace(made, view=view)


def _maybe(values: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


FILTERS = st.builds(
    TaskFilter,
    vendor=_maybe(VENDORS),
    kind=_maybe(["push", "record", "page"]),
    states=st.lists(st.sampled_from(STATES), max_size=2, unique=True).map(tuple),
    app_id=_maybe(APPS),
    room_id=_maybe(ROOMS[1:]),
    vendor_task_id=_maybe(NAMES),
    reason=_maybe(REASONS[1:]),
    origin=_maybe(["managed", "observed"]),
    anomaly=_maybe(ANOMALIES),
    live=st.none() | st.booleans(),
    created_after=st.none() | st.integers(T0 - 1, T0 + 41),
    created_before=st.none() | st.integers(T0 - 1, T0 + 41),
    q=_maybe(["r", "r1", "R", "1", "a", "b", "01", "01HF7YAT", "0", "%", "é", "nobody"]),
)
#: A few of the filters at once, because many together find nothing.
SPARSE = st.tuples(FILTERS, st.sets(st.sampled_from(TaskFilter.__slots__), max_size=3)).map(
    lambda drawn: TaskFilter(**{name: getattr(drawn[0], name) for name in drawn[1]})
)


def _passes(wanted: TaskFilter, one: Task) -> bool:
    """Filters as the contract says, in the simplest way."""
    room = one.key.room_id or one.view.room_id
    ids = (one.id, one.key.vendor_task_id, room or "", one.key.app_id)
    return (
        one.merged_into is None
        and wanted.vendor in (None, one.key.vendor)
        and wanted.kind in (None, one.kind)
        and (not wanted.states or one.view.state in wanted.states)
        and wanted.app_id in (None, one.key.app_id)
        and wanted.room_id in (None, room)
        and wanted.vendor_task_id in (None, one.key.vendor_task_id)
        and wanted.reason in (None, one.view.reason)
        and wanted.origin in (None, one.origin)
        and (wanted.anomaly is None or wanted.anomaly in one.anomalies)
        and wanted.live in (None, one.view.state in LIVE)
        and (wanted.created_after is None or one.created_at >= wanted.created_after)
        and (wanted.created_before is None or one.created_at < wanted.created_before)
        and (wanted.q is None or any(each.startswith(wanted.q) for each in ids))
    )


def _pages(
    ledger: Ledger, wanted: TaskFilter, limit: int, arriving: Sequence[Task] = (), thresholds: SearchThresholds | None = None
) -> list[Task]:
    """Returns all pages, one after the other; a task arrives after each."""
    found: list[Task] = []
    before = None
    coming = list(arriving)
    while True:
        with ledger.read() as connection:
            page = search.page(connection, wanted, before=before, limit=limit, thresholds=thresholds or SearchThresholds())
        found += page
        if len(page) < limit:
            return found
        before = page[-1].id
        if coming:
            save(ledger, coming.pop())


@pytest.mark.parametrize(
    "thresholds",
    [SearchThresholds(), SearchThresholds(few=0, window=4), SearchThresholds(few=0, window=1), SearchThresholds(few=2, window=5)],
)
def test_all_pages_together_hold_the_matching_tasks(kept_ledger: Ledger, thresholds: SearchThresholds) -> None:
    """Tests each way of searching: the thresholds are set so that each is chosen."""

    @examples(kept_ledger, 25)
    @given(
        made=st.lists(tasks(), max_size=25, unique_by=lambda one: one.id),
        wanted=st.lists(SPARSE | FILTERS, min_size=6, max_size=6),
    )
    def holds(made: list[Task], wanted: list[TaskFilter]) -> None:
        empty(kept_ledger)
        save(kept_ledger, *made)
        for each in wanted:
            passing = sorted((one for one in made if _passes(each, one)), key=lambda one: one.id, reverse=True)
            assert _pages(kept_ledger, each, 3, thresholds=thresholds) == passing, each
            assert _pages(kept_ledger, each, 50, thresholds=thresholds) == passing, each

    holds()


def test_no_task_is_shown_twice_or_missed_while_others_arrive(kept_ledger: Ledger) -> None:
    @examples(kept_ledger, 25)
    @given(made=st.lists(tasks(), min_size=4, max_size=25, unique_by=lambda one: one.id), wanted=SPARSE, limit=st.integers(1, 4))
    def holds(made: list[Task], wanted: TaskFilter, limit: int) -> None:
        there, arriving = made[: len(made) // 2], made[len(made) // 2 :]
        empty(kept_ledger)
        save(kept_ledger, *there)
        found = [one.id for one in _pages(kept_ledger, wanted, limit, arriving)]
        assert found == sorted(set(found), reverse=True)
        assert {one.id for one in there if _passes(wanted, one)} <= set(found)
        assert set(found) <= {one.id for one in made if _passes(wanted, one)}

    holds()


def test_a_task_is_listed_as_it_is_now(ledger: Ledger) -> None:
    save(ledger, task())
    save(ledger, task(version=2, **DONE))
    with ledger.read() as connection:
        assert search.page(connection, TaskFilter(states=("running",)), before=None, limit=9) == []
        assert search.page(connection, TaskFilter(states=("completed",)), before=None, limit=9) == [task(version=2, **DONE)]
        assert search.find(connection, task().id) == task(version=2, **DONE)


def test_an_unknown_task_is_not_found(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert search.find(connection, "0" * 26) is None
