"""Tasks that turn out to be the same: the vendor's id becomes known, or callbacks came first; and surplus tasks."""

import pytest

from statemachine.calls import CallOutcome, Sign
from statemachine.states import Deadline, Kind, Origin, State
from tests.unit.statemachine.lineage_scenario import ms
from tests.unit.statemachine.managed_lineage import (
    INSPECT,
    START,
    STOP,
    UPDATE,
    ManagedLineage,
    key_of,
    receive_media_sign,
    running,
)


def unnamed(kind: Kind = Kind.PUSH) -> ManagedLineage:
    """Returns a start of ours that may have happened."""
    story = ManagedLineage("tencent", kind)
    story.start(0, robot="robot")
    story.lose_answer(START, 30)
    return story


def observed(kind: Kind = Kind.PUSH) -> ManagedLineage:
    """Returns the task that it started, observed before the two are matched."""
    story = ManagedLineage("tencent", kind)
    receive_media_sign(story, 3)
    assert story.task.origin is Origin.OBSERVED
    return story


def merged(story: ManagedLineage) -> list[tuple[str, str]]:
    return [(c.after.id, c.after.merged_into) for c in story.changes if c.after.merged_into is not None]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_start_is_adopted_by_what_was_observed(kind):
    story, twin = unnamed(kind), observed(kind)
    story.name(into=twin)
    assert (story.end, story.task.id, story.task.origin, story.task.kind) == ("running", "task-1", Origin.MANAGED, kind)
    assert story.task.key == key_of("tencent", kind)
    assert (story.under_way, START in story.task.calls) == ([], False)
    assert merged(story) == [(twin.task.id, "task-1")]


def test_an_adopted_task_goes_on_under_the_vendors_id():
    story = unnamed()
    story.name(into=observed())
    story.stop(40)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def test_an_answer_after_the_adoption_says_when_it_was_accepted():
    story = unnamed()
    story.name(into=observed())
    story.answer(START, serial=1, at=41, sent=0, task="t")
    assert (story.end, story.task.view.accepted_at, len(story.tasks)) == ("running", ms(0), 1)


def test_a_task_that_was_given_up_is_adopted_by_what_comes_later():
    story = unnamed()
    story.advance(630)
    assert story.end == "failed/start_unknown?"
    twin = ManagedLineage("tencent")
    receive_media_sign(twin, 700)
    story.name(into=twin)
    assert (story.end, story.task.id) == ("running", "task-1")


def test_what_ended_before_it_was_adopted_has_ended():
    story, twin = unnamed(Kind.INGEST), observed(Kind.INGEST)
    twin.tencent(702, 20, Status=0)
    story.name(into=twin)
    assert (story.end, story.under_way) == ("completed/unstated", [])


def test_the_vendors_id_before_anything_was_heard_of_it_joins_nothing():
    story = unnamed()
    story.answer(START, serial=1, at=31, sent=0, task="t")
    assert (story.end, merged(story)) == ("accepted", [])


# Pending calls of the twin are kept.


def test_a_stop_of_the_twin_is_called_after_it_was_merged():
    story, twin = unnamed(), observed()
    twin.stop(31)
    assert twin.under_way == [STOP]
    story.name(into=twin)
    assert (story.end, story.under_way) == ("stopping", [STOP])
    assert next(iter(story.calls.values())).task_id == "task-1"


def test_a_stop_of_the_twin_that_waits_for_its_next_attempt_goes_on():
    story, twin = unnamed(), observed()
    twin.stop(31)
    twin.answer(STOP, CallOutcome.RETRY, 32)
    story.name(into=twin)
    story.advance(100)
    assert (story.end, story.call_count(STOP)) == ("stopping", 1)


def test_an_update_of_the_twin_is_called_after_it_was_merged():
    story, twin = unnamed(), observed()
    twin.update(31, a=1)
    story.name(into=twin)
    assert (story.under_way, story.pending_call(UPDATE).params) == ([UPDATE], {"a": 1})


# Ids that we choose.


def test_an_observed_task_that_is_asked_for_is_one_with_the_managed_one():
    story = ManagedLineage()
    receive_media_sign(story, 0)
    twin = story.task.id
    story.start(10)
    assert (story.ends, story.task.id, story.task.origin) == (["running"], "task-1", Origin.MANAGED)
    assert merged(story) == [(twin, "task-1")]
    assert story.under_way == []


def test_a_question_about_the_observed_task_is_dropped_with_it():
    story = ManagedLineage()
    receive_media_sign(story, 0)
    story.advance(1000)
    assert story.under_way == [INSPECT]
    story.start(1001)
    assert [drop.serial for drop in story.cancelled_calls] == [1]
    story.answer(INSPECT, serial=1, at=1002)
    assert story.end == "running"


def test_an_observed_task_that_is_finishing_is_not_the_one_that_is_asked_for():
    story = ManagedLineage(kind=Kind.RECORD)
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStopped", 5, Code=0, RecordFileList=[{"ObjectKey": "a"}])
    story.start(10)
    assert story.ends == ["finishing", "requested"]
    assert [make.task_id for make in story.calls.values()] == ["task-1"]


def test_a_run_that_was_inferred_to_have_ended_is_not_the_one_that_is_asked_for():
    story = running()
    story.mark(State.LOST, at=5)
    story.start(10)
    assert (story.ends, story.under_way) == (["lost/unknown_to_vendor?", "requested"], [START])


def test_callbacks_of_the_run_before_stay_with_it():
    story = running()
    story.volc("TranscodeStopped", 5, Code=0)
    story.inspected(Sign.GONE, 6)
    story.start(10)
    story.volc("TranscodeStateChanged", 4, received=11, TaskState=1, Code=2, FinishTime=ms(4) // 1000)
    assert story.ends == ["failed/bad_source", "requested"]


# Surplus tasks.


def surplus() -> ManagedLineage:
    """Returns a recording whose second start was answered with an id of its own."""
    first = running("tencent", Kind.RECORD)
    story = ManagedLineage("tencent", Kind.RECORD)
    story.surplus(first.task, 50, sent=40)
    return story


def test_what_the_vendor_runs_beyond_what_was_wanted_is_stopped():
    story = surplus()
    assert (story.end, story.under_way, story.task.wiped) == ("stopping", [STOP], True)


def test_a_surplus_task_that_was_observed_before_is_stopped_too():
    first = running("tencent", Kind.RECORD)
    story = ManagedLineage("tencent", Kind.RECORD)
    story.tencent(301, 41, task="u", Status=0)
    known = story.task.id
    story.surplus(first.task, 50, sent=40)
    assert (story.end, story.under_way, story.task.id) == ("stopping", [STOP], known)


def test_a_surplus_task_ends_like_any_other():
    story = surplus()
    story.answer(STOP, at=51)
    story.tencent(302, 52, task="u", LeaveCode=0)
    story.advance_to(Deadline.FINISH)
    story.inspected(Sign.GONE)
    assert (story.end, story.due) == ("stopped/stop_requested?", {})
