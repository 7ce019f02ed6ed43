"""After a clock setback no call waits too long, no ambiguous start is repeated, and the vendor's times stay."""

import pytest

from statemachine.calls import CallOutcome
from statemachine.events import ClockCorrected
from statemachine.states import Deadline, Kind
from tests.unit.statemachine.lineage_scenario import ms
from tests.unit.statemachine.managed_lineage import START, STOP, ManagedLineage, receive_media_sign

BACK_S = 8 * 3_600
AHEAD_S = BACK_S + 1_000


def correct(story: ManagedLineage, at: float):
    story._now = ms(at)
    return story.apply_event(ClockCorrected(task_id=story.task.id))


def ahead(vendor: str = "volcengine", **start) -> ManagedLineage:
    """Returns a task requested while the clock was eight hours ahead."""
    story = ManagedLineage(vendor, Kind.PUSH)
    story.start(AHEAD_S, **start)
    return story


@pytest.mark.parametrize(("failures", "within_s"), [(1, 1), (3, 4), (20, 60)])
def test_a_start_is_tried_again_after_the_pause_that_its_failures_give_it(failures: int, within_s: float) -> None:
    story = ahead(policy={"start": {"max_attempts": 100, "max_elapsed_s": 86_400}})
    for _ in range(failures):
        story.answer(START, CallOutcome.RETRY)
        if _ < failures - 1:
            story.advance_to(Deadline.START_RETRY)
    correct(story, 1_000)
    assert story.due[Deadline.START_RETRY] - 1_000 <= within_s
    assert story.advance_to(Deadline.START_RETRY) <= 1_000 + within_s
    assert story.under_way == [START]


def test_correcting_twice_changes_nothing_more() -> None:
    story = ahead()
    story.answer(START, CallOutcome.RETRY)
    correct(story, 1_000)
    decision = correct(story, 1_000)
    assert (decision.verdict, decision.changes) == ("stale", ())


def test_a_call_that_waits_as_it_should_is_left_alone() -> None:
    story = ManagedLineage("volcengine", Kind.PUSH)
    story.start(0)
    story.answer(START, CallOutcome.RETRY)
    decision = correct(story, 0)
    assert (decision.verdict, decision.changes) == ("stale", ())


def test_a_start_that_may_have_happened_is_not_repeated_and_given_up_in_its_own_time() -> None:
    story = ahead("tencent", policy={"start": {"max_elapsed_s": 600}})
    story.answer(START, CallOutcome.AMBIGUOUS)
    correct(story, 1_000)
    assert story.due[Deadline.START_RETRY] <= 1_600
    story.advance(1_700)
    assert (story.end, story.call_count(START)) == ("failed/start_unknown?", 1)


def test_a_stop_is_tried_again() -> None:
    story = ManagedLineage("volcengine", Kind.PUSH)
    story.start(0)
    story.answer(START, CallOutcome.ACCEPTED, 1)
    receive_media_sign(story, 2)
    story.stop(AHEAD_S)
    story.answer(STOP, CallOutcome.RETRY)
    correct(story, 1_000)
    assert story.due[Deadline.CALL_RETRY] <= 1_001
    story.advance_to(Deadline.CALL_RETRY)
    assert STOP in story.under_way


def test_deadlines_that_count_from_the_vendors_times_stay(  # a run that began before the clock was ahead
) -> None:
    story = ManagedLineage("volcengine", Kind.INGEST)
    story.start(0)
    story.answer(START, CallOutcome.ACCEPTED, 1)
    before = dict(story.due)
    correct(story, 2)
    assert story.due == before
