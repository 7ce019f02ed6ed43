"""Encoded tasks and facts are decoded unchanged."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.ledger import documents
from statemachine.calls import Operation, PendingCall
from statemachine.facts import Ending, Fact, FactKind, File, FilesDelivered, Output
from statemachine.folding.run_view import View
from statemachine.states import Anomaly, Deadline, FileState, Kind, Origin, OutputState, Reason, State
from statemachine.tasks import DeadlinePass, Task
from tests.support.ledger_rows import key

TIMES = st.integers(0, 2**53)
TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FILES = st.builds(
    File,
    name=st.none() | TEXTS,
    file_id=st.none() | TEXTS,
    url=st.none() | TEXTS,
    state=st.sampled_from(FileState),
    user_id=st.none() | TEXTS,
    track=st.none() | TEXTS,
    media=st.none() | TEXTS,
    started_at=st.none() | TIMES,
    ended_at=st.none() | TIMES,
    duration_ms=st.none() | TIMES,
    size_bytes=st.none() | TIMES,
    message=st.none() | TEXTS,
)
OUTPUTS = st.builds(Output, url=st.none() | TEXTS, state=st.sampled_from(OutputState))
_FIELDS = {
    "outcome": st.none()
    | st.builds(
        Ending,
        state=st.sampled_from(State),
        reason=st.sampled_from(Reason),
        rank=st.integers(0, 9),
        stop_wins=st.booleans(),
        life_wins=st.booleans(),
    ),
    "deadline": st.none() | st.sampled_from(Deadline),
    "delivery": st.none() | st.sampled_from(FilesDelivered),
    "output": st.none() | OUTPUTS,
    "files": st.lists(FILES, max_size=3).map(tuple),
    "file_state": st.none() | st.sampled_from(FileState),
    "kind_hint": st.none() | st.sampled_from(Kind),
}
FACTS = st.builds(
    Fact,
    kind=st.sampled_from(FactKind),
    at=TIMES,
    received_at=TIMES,
    key=TEXTS,
    source=TEXTS,
    opens=st.booleans(),
    media=st.booleans(),
    progress=st.none() | st.integers(0, 10_000),
    started_at=st.none() | TIMES,
    room_id=st.none() | TEXTS,
    code=st.none() | TEXTS,
    **_FIELDS,
)
VIEWS = st.builds(
    View,
    state=st.sampled_from(State),
    reason=st.none() | st.sampled_from(Reason),
    inferred=st.booleans(),
    vendor_code=st.none() | TEXTS,
    outputs=st.lists(OUTPUTS, max_size=3).map(tuple),
    files=st.lists(FILES, max_size=3).map(tuple),
    room_id=st.none() | TEXTS,
    evidence_at=TIMES,
    heard_at=TIMES,
    ended_at=st.none() | TIMES,
    revoked=st.none() | st.sampled_from(Deadline),
    fallback=st.none() | st.tuples(st.sampled_from(State), st.sampled_from(Reason)),
)
STEPS = st.none() | st.dictionaries(TEXTS, JSON, min_size=1, max_size=2)
PURSUITS = st.builds(
    PendingCall,
    since=TIMES,
    serial=st.none() | st.integers(0, 9),
    retry_at=st.none() | TIMES,
    failures=st.integers(0, 9),
    failing_since=st.none() | TIMES,
    ambiguous=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    ambiguous_at=st.none() | TIMES,
    asks=st.none() | st.sampled_from(Deadline),
    step=STEPS,
    params=st.dictionaries(TEXTS, JSON, max_size=3),
    queued=STEPS,
)
TASKS = st.builds(
    Task,
    id=TEXTS,
    key=st.just(key()),
    run=st.integers(1, 9),
    kind=st.sampled_from(Kind),
    origin=st.sampled_from(Origin),
    anchor=TEXTS,
    view=VIEWS,
    anomalies=st.lists(st.sampled_from(Anomaly), unique=True).map(tuple),
    deadlines=st.dictionaries(st.sampled_from(Deadline), TIMES),
    raised=st.dictionaries(st.sampled_from(Anomaly), TIMES),
    passed=st.dictionaries(st.sampled_from(Deadline), st.builds(DeadlinePass, base=TIMES, at=TIMES, times=st.integers(1, 9))),
    action=st.none() | TEXTS,
    params=st.dictionaries(TEXTS, JSON, max_size=3),
    policy=st.dictionaries(TEXTS, JSON, max_size=3),
    attempts=st.integers(0, 9),
    api_version=st.none() | TEXTS,
    wiped=st.booleans(),
    calls=st.dictionaries(st.sampled_from(Operation), PURSUITS, max_size=3),
    serial=st.integers(0, 9),
    **dict.fromkeys(("renews", "renewed_by", "restarts", "restarted_by"), st.none() | TEXTS),
    restart_count=st.integers(0, 9),
    created_at=TIMES,
    updated_at=TIMES,
    version=st.integers(1, 99),
    merged_into=st.none() | TEXTS,
)


@given(st.lists(FACTS, max_size=4).map(tuple))
def test_facts_are_read_back(facts: tuple[Fact, ...]) -> None:
    text = documents.facts_text(facts)
    assert documents.facts_of(text) == facts
    assert text.isascii()


@given(TASKS)
def test_a_task_is_read_back(task: Task) -> None:
    text = documents.task_text(task)
    back = documents.task_of(key(), text)
    assert back == task
    assert documents.task_text(back) == text
    assert text.isascii()


@given(TASKS)
def test_enum_values_are_read_back_as_members_of_their_enum(task: Task) -> None:
    back = documents.task_of(key(), documents.task_text(task))
    assert isinstance(back.view.state, State)
    assert all(isinstance(kind, Deadline) for kind in (*back.deadlines, *back.passed))
    assert all(isinstance(anomaly, Anomaly) for anomaly in (*back.anomalies, *back.raised))
    assert all(isinstance(output.state, OutputState) for output in back.view.outputs)
    assert all(isinstance(operation, Operation) for operation in back.calls)
