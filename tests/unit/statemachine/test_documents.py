"""Pending calls and inspections as JSON data and back."""

import json

from hypothesis import given
from hypothesis import strategies as st

from statemachine.calls import (
    Inspection,
    PendingCall,
    Sign,
    inspection_from_doc,
    inspection_to_doc,
    pending_call_from_doc,
    pending_call_to_doc,
)
from statemachine.facts import Ending, File, FilesDelivered, Output
from statemachine.states import Deadline, FileState, OutputState, Reason, State
from tests.support.hypothesis_effort import effort

TIMES = st.integers(0, 2**43)
TEXTS = st.text(max_size=8)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), TEXTS, st.lists(TEXTS, max_size=2))
PARAMS = st.dictionaries(TEXTS, VALUES, max_size=2)

PURSUITS = st.builds(
    PendingCall,
    since=TIMES,
    serial=st.none() | st.integers(1, 99),
    retry_at=st.none() | TIMES,
    failures=st.integers(0, 99),
    failing_since=st.none() | TIMES,
    ambiguous=st.lists(st.integers(1, 99), max_size=3).map(tuple),
    ambiguous_at=st.none() | TIMES,
    asks=st.none() | st.sampled_from(Deadline),
    step=st.none() | st.builds(lambda index: {"index": index}, st.integers(0, 9)),
    params=PARAMS,
    queued=st.none() | PARAMS,
)
FILES = st.builds(
    File,
    name=st.none() | TEXTS,
    file_id=st.none() | TEXTS,
    url=st.none() | TEXTS,
    state=st.sampled_from(FileState),
    started_at=st.none() | TIMES,
    size_bytes=st.none() | TIMES,
)
ENDINGS = st.builds(
    Ending,
    state=st.sampled_from(State),
    reason=st.sampled_from(Reason),
    rank=st.integers(1, 4),
    stop_wins=st.booleans(),
    life_wins=st.booleans(),
)
INSPECTIONS = st.builds(
    Inspection,
    sign=st.sampled_from(Sign),
    ending=st.none() | ENDINGS,
    started_at=st.none() | TIMES,
    ended_at=st.none() | TIMES,
    files=st.lists(FILES, max_size=2).map(tuple),
    delivery=st.none() | st.sampled_from(FilesDelivered),
    output=st.none() | st.builds(Output, url=st.none() | TEXTS, state=st.sampled_from(OutputState)),
)


@effort(150)
@given(PURSUITS)
def test_a_pending_call_is_decoded_as_it_was_encoded(call):
    assert pending_call_from_doc(json.loads(json.dumps(pending_call_to_doc(call)))) == call


@effort(150)
@given(INSPECTIONS)
def test_an_inspection_is_decoded_as_it_was_encoded(inspection):
    assert inspection_from_doc(json.loads(json.dumps(inspection_to_doc(inspection)))) == inspection


def test_a_pending_call_leaves_out_defaults():
    assert pending_call_to_doc(PendingCall(since=5)) == {"since": 5}
    assert pending_call_to_doc(PendingCall(since=5, serial=2, asks=Deadline.IDLE)) == {"since": 5, "serial": 2, "asks": "idle"}
