"""Searches for callbacks agree with a filter that looks at each of them."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.ledger import Ledger, callbacks, inbox
from adapters.ledger.callbacks import CallbackFilter, CallbackSummary, RecordedCallback
from adapters.ledger.inbox import MARK, AppliedRow, Arrival
from tests.support.ledger_rows import arrival, settle, waiting_ids
from tests.support.ledgers import empty, examples
from tests.support.times import T0

VENDORS, TYPES, TASKS = ("volcengine", "tencent"), ("", "401", "RecordStarted"), (None, "t1", "t2")
VERDICTS = (None, "applied", "stale", "unknown")
#: (arrival, its result; None: it waits)
Heard = tuple[dict[str, Any], dict[str, Any] | None]

HEARD = st.tuples(
    st.fixed_dictionaries(
        {
            "vendor": st.sampled_from(VENDORS),
            "event_type": st.sampled_from(TYPES),
            "received_at": st.integers(T0, T0 + 9),
        }
    ),
    st.none() | st.fixed_dictionaries({"verdict": st.sampled_from(VERDICTS), "task_id": st.sampled_from(TASKS)}),
)


def _maybe(values: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


FILTERS = st.builds(
    CallbackFilter,
    vendor=_maybe([*VENDORS, "nobody"]),
    verdict=_maybe([*VERDICTS[1:], "anomaly"]),
    event_type=_maybe([*TYPES, "Nothing"]),
    task_id=_maybe(["t1", "t3"]),
    received_after=_maybe(range(T0 - 1, T0 + 11)),
    received_before=_maybe(range(T0 - 1, T0 + 11)),
)


def _passes(wanted: CallbackFilter, one: RecordedCallback) -> bool:
    return (
        wanted.vendor in (None, one.vendor)
        and wanted.verdict in (None, one.verdict)
        and wanted.event_type in (None, one.event_type)
        and wanted.task_id in (None, one.task_id)
        and (wanted.received_after is None or one.received_at >= wanted.received_after)
        and (wanted.received_before is None or one.received_at < wanted.received_before)
    )


def _hear(ledger: Ledger, heard: Sequence[Heard], first: int = 0) -> list[RecordedCallback]:
    """Records callbacks, and a row of another kind after each; returns them as they must be read."""
    with ledger.write() as connection:
        for number, (told, _) in enumerate(heard, first):
            inbox.record(connection, [arrival(number, **told)])
            inbox.post(connection, MARK, (str(number),), {}, T0)
        ids = [row.id for row in inbox.unapplied(connection, 1_000) if row.kind == inbox.CALLBACK][-len(heard) :] if heard else []
    settle(ledger, *(AppliedRow(id=id_, applied_at=T0, **how) for id_, (_, how) in zip(ids, heard, strict=True) if how is not None))
    with ledger.read() as connection:
        found = [callbacks.find(connection, id_) for id_ in ids]
    return [one for one in found if one is not None]


def _listed(one: RecordedCallback) -> CallbackSummary:
    return CallbackSummary(**{field.name: getattr(one, field.name) for field in fields(CallbackSummary)})


def _pages(ledger: Ledger, wanted: CallbackFilter, limit: int, arriving: Sequence[Heard] = ()) -> list[CallbackSummary]:
    found: list[CallbackSummary] = []
    before = None
    coming = list(enumerate(arriving, 10_000))
    while True:
        with ledger.read() as connection:
            page = callbacks.page(connection, wanted, before=before, limit=limit)
        found += page
        if len(page) < limit:
            return found
        before = (page[-1].received_at, page[-1].id)
        if coming:
            number, heard = coming.pop()
            _hear(ledger, [heard], number)


def _newest_first(found: Sequence[RecordedCallback]) -> list[CallbackSummary]:
    return sorted(map(_listed, found), key=lambda one: (one.received_at, one.id), reverse=True)


def test_pages_counts_and_ids_are_those_of_the_matching_callbacks(kept_ledger: Ledger) -> None:
    @examples(kept_ledger, 40)
    @given(heard=st.lists(HEARD, max_size=25), wanted=st.lists(FILTERS, min_size=6, max_size=6), limit=st.integers(1, 5))
    def holds(heard: list[Heard], wanted: list[CallbackFilter], limit: int) -> None:
        empty(kept_ledger)
        known = _hear(kept_ledger, heard)
        for each in wanted:
            _is_right(kept_ledger, each, known, limit)

    holds()


def _is_right(ledger: Ledger, wanted: CallbackFilter, known: Sequence[RecordedCallback], limit: int) -> None:
    passing = [one for one in known if _passes(wanted, one)]
    assert _pages(ledger, wanted, limit) == _newest_first(passing), wanted
    middle = known[len(known) // 2].id if known else 0
    ids = [one.id for one in passing]
    with ledger.read() as connection:
        assert callbacks.count(connection, wanted) == len(passing)
        assert callbacks.ids_after(connection, wanted, after=0, limit=100) == ids
        assert callbacks.ids_after(connection, wanted, after=0, limit=limit) == ids[:limit]
        assert callbacks.ids_after(connection, wanted, after=middle, limit=100) == [id_ for id_ in ids if id_ > middle]


def test_no_callback_is_shown_twice_or_missed_while_others_arrive(kept_ledger: Ledger) -> None:
    @examples(kept_ledger, 25)
    @given(heard=st.lists(HEARD, max_size=15), arriving=st.lists(HEARD, max_size=8), wanted=FILTERS, limit=st.integers(1, 4))
    def holds(heard: list[Heard], arriving: list[Heard], wanted: CallbackFilter, limit: int) -> None:
        empty(kept_ledger)
        known = _hear(kept_ledger, heard)
        found = _pages(kept_ledger, wanted, limit, arriving)
        assert found == _newest_first(found)
        assert len({one.id for one in found}) == len(found)
        assert {one.id for one in known if _passes(wanted, one)} <= {one.id for one in found}

    holds()


def test_a_callback_is_found_as_it_was_received(ledger: Ledger) -> None:
    sent: Arrival = arrival(1, headers={"Sign": "é"}, body=b"\x00\xff{")
    with ledger.write() as connection:
        inbox.record(connection, [sent])
    (id_,) = waiting_ids(ledger)
    settle(ledger, AppliedRow(id=id_, applied_at=T0 + 3, event_at=T0 - 5, verdict="ignored", reason="no_task", error="E()"))
    with ledger.read() as connection:
        assert callbacks.find(connection, id_) == RecordedCallback(
            id=id_,
            vendor=sent.vendor,
            app_id=sent.app_id,
            event_type=sent.event_type,
            received_at=T0,
            headers={"Sign": "é"},
            body=b"\x00\xff{",
            event_at=T0 - 5,
            verdict="ignored",
            reason="no_task",
            task_id=None,
            applied_at=T0 + 3,
            error="E()",
        )


def test_rows_of_other_kinds_are_not_callbacks(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.post(connection, MARK, ("a",), {}, T0)
        (posted,) = inbox.unapplied(connection, 9)
        assert callbacks.find(connection, posted.id) is None
        assert callbacks.page(connection, CallbackFilter(), before=None, limit=9) == []


def test_a_callback_that_waits_has_no_verdict(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1)])
        (one,) = callbacks.page(connection, CallbackFilter(event_type="RecordStarted"), before=None, limit=9)
    assert (one.verdict, one.applied_at) == (None, None)


def test_callbacks_name_the_tasks_that_they_concerned(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1), arrival(2)])
    first, second = waiting_ids(ledger)
    settle(ledger, AppliedRow(id=first, applied_at=T0, task_id="t1"), AppliedRow(id=second, applied_at=T0))
    with ledger.read() as connection:
        assert callbacks.tasks_of(connection, [first, second, second + 1]) == {first: "t1"}
