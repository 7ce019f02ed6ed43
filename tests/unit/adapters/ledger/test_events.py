"""Events are stored with their positions, and read back unchanged."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from adapters.ledger import Ledger, events
from adapters.ledger.events import Event, EventHeader, SystemEvent, TaskEvent
from adapters.ledger.positions import first_position
from adapters.ledger.schema import events as table
from statemachine.states import Kind, State
from tests.support.ledger_deliveries import note, subject_of, tell, told
from tests.support.ledger_rows import key, task
from tests.support.ledgers import empty, examples
from tests.support.times import T0
from tests.unit.adapters.ledger.test_documents import JSON, TASKS, TEXTS

FIRST = first_position(T0) + 1


def heading(position: int, name: str = "t1", **more: object) -> EventHeader:
    values = {"subject": subject_of(name), "type": "tally.task.running", "at": T0}
    about = {"vendor": "volcengine", "app_id": "app", "kind": "push"}
    return EventHeader(**{"position": position, **values, **about, **more})


def add_note(ledger: Ledger, *notes: SystemEvent) -> None:
    with ledger.write() as connection:
        events.append_system_events(connection, notes)


def test_a_row_has_the_columns_that_select_it_and_the_rest_is_its_document(ledger: Ledger) -> None:
    tell(ledger, told("t1", 3))
    with ledger.read() as connection:
        row = dict(connection.execute(select(table)).mappings().one())
    doc = row.pop("doc")
    assert row == {
        "id": FIRST,
        "subject": subject_of("t1"),
        "version": 3,
        "type": "tally.task.running",
        "at": T0,
        "vendor": "volcengine",
        "app_id": "app",
        "kind": "push",
    }
    assert doc.startswith('{"key":["volcengine","app","room","t1","push"],"previous_state":null,"cause":{"kind":"callback"')


def test_the_row_of_a_system_event_has_no_vendor(ledger: Ledger) -> None:
    add_note(ledger, note(2))
    with ledger.read() as connection:
        found = events.headers(connection, after=0, limit=9)
    assert found == [
        EventHeader(
            position=FIRST, subject=note().subject, type="tally.subscription.disabled", at=T0, vendor="", app_id="", kind=""
        )
    ]


def test_events_are_read_back_in_the_order_in_which_they_were_appended(ledger: Ledger) -> None:
    tell(ledger, told("t1", 1), told("t2", 1))
    add_note(ledger, note())
    tell(ledger, told("t1", 2))
    with ledger.read() as connection:
        found = events.page(connection, after=0, limit=9)
    assert found == [
        Event(position=FIRST, content=told("t1", 1)),
        Event(position=FIRST + 1, content=told("t2", 1)),
        Event(position=FIRST + 2, content=note()),
        Event(position=FIRST + 3, content=told("t1", 2)),
    ]


def test_a_page_has_the_events_after_a_position(ledger: Ledger) -> None:
    tell(ledger, *(told("t1", version) for version in range(1, 6)))
    with ledger.read() as connection:
        pages = [events.page(connection, after=after, limit=2) for after in (0, FIRST + 1, FIRST + 3, FIRST + 4)]
    assert [[event.content.version for event in page] for page in pages] == [[1, 2], [3, 4], [5], []]


def test_appending_no_event_allocates_no_position(ledger: Ledger) -> None:
    tell(ledger)
    add_note(ledger)
    tell(ledger, told())
    with ledger.read() as connection:
        assert [event.position for event in events.page(connection, after=0, limit=9)] == [FIRST]


def test_a_batch_has_the_second_of_its_newest_event(ledger: Ledger) -> None:
    tell(ledger, told("t1", at=T0 + 5_000), told("t2", at=T0))
    with ledger.read() as connection:
        found = events.headers(connection, after=0, limit=9)
    first = first_position(T0 + 5_000) + 1
    assert found == [heading(first, "t1", at=T0 + 5_000), heading(first + 1, "t2")]


def test_headers_end_at_the_last_position(ledger: Ledger) -> None:
    tell(ledger, *(told(f"t{number}") for number in range(5)))
    with ledger.read() as connection:
        found = events.headers(connection, after=FIRST, last=FIRST + 3, limit=2)
        assert events.headers(connection, after=FIRST + 3, last=FIRST + 3, limit=2) == []
    assert found == [heading(FIRST + 1, "t1"), heading(FIRST + 2, "t2")]


def test_headers_of_one_subject_are_in_the_order_of_positions(ledger: Ledger) -> None:
    for version in range(8, 12):
        tell(ledger, told("t1", version), told("t2", version))
    with ledger.read() as connection:
        found = events.headers(connection, after=FIRST, limit=9, subject=subject_of("t1"))
        some = events.headers(connection, after=FIRST, last=FIRST + 5, limit=1, subject=subject_of("t1"))
    assert [each.position for each in found] == [FIRST + 2, FIRST + 4, FIRST + 6]
    assert some == found[:1]


def test_rows_of_events_are_found_by_their_positions(ledger: Ledger) -> None:
    tell(ledger, told("t1", 4), told("t2"), told("t3"))
    with ledger.read() as connection:
        rows = events.read_rows(connection, {FIRST, FIRST + 2, 7})
        assert events.read_rows(connection, []) == {}
        assert events.versions(connection, [FIRST, FIRST + 2, 7]) == {FIRST: 4, FIRST + 2: 1}
        assert events.versions(connection, []) == {}
    assert {place: events.event_of(row).content for place, row in rows.items()} == {FIRST: told("t1", 4), FIRST + 2: told("t3")}


def test_events_after_a_position_are_counted_up_to_a_limit(ledger: Ledger) -> None:
    tell(ledger, told("t1", at=T0), told("t2", at=T0 + 9))
    tell(ledger, told("t3", at=T0 + 4))
    with ledger.read() as connection:
        found = [events.backlog_after(connection, after=after, most=2) for after in (0, FIRST, FIRST + 1, FIRST + 2)]
    assert found == [(2, T0), (2, T0 + 4), (1, T0 + 4), (0, None)]


def test_each_version_of_a_task_is_kept_as_it_was(ledger: Ledger) -> None:
    first = told()
    second = replace(first, task=task(key("t1"), version=2, state=State.STOPPED, kind=Kind.INGEST), previous_state="running")
    tell(ledger, first, second)
    with ledger.read() as connection:
        assert [event.content for event in events.page(connection, after=0, limit=9)] == [first, second]


ANY_TOLD = st.builds(
    TaskEvent,
    task=TASKS.map(lambda task: replace(task, id="t")),
    type=st.just("tally.task.updated"),
    at=st.integers(0, 2**41),
    previous_state=st.none(),
    cause=st.just({}),
)
ANY_NOTE = st.builds(
    SystemEvent,
    subject=st.just("s"),
    version=st.integers(1, 9),
    type=st.just("tally.x"),
    at=st.integers(0, 2**41),
    data=st.dictionaries(TEXTS, JSON, max_size=3),
)


def test_any_event_is_read_back_equal(kept_ledger: Ledger) -> None:
    @settings(examples(kept_ledger, 40), suppress_health_check=[HealthCheck.too_slow])
    @given(tasks=st.lists(ANY_TOLD, max_size=2), notes=st.lists(ANY_NOTE, max_size=2))
    def check(tasks: list[TaskEvent], notes: list[SystemEvent]) -> None:
        empty(kept_ledger)
        tell(kept_ledger, *tasks)
        add_note(kept_ledger, *notes)
        with kept_ledger.read() as connection:
            assert [event.content for event in events.page(connection, after=0, limit=99)] == [*tasks, *notes]

    check()
