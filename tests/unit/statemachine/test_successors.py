"""Successors: renewals before the maximum lifetime is over, and restarts after certain ends (docs/deadlines.md)."""

import pytest

from statemachine.calls import CallOutcome
from statemachine.events import StartRequested, SuccessorReported
from statemachine.states import Deadline, Kind, State
from tests.unit.statemachine.lineage_scenario import DAY_S, HOUR_S, ms
from tests.unit.statemachine.managed_lineage import START, STOP, ManagedLineage, receive_media_sign, running

RENEW, RESTART = Deadline.RENEW, Deadline.RESTART
ONE = {"TaskId": "one"}
OTHER = {"TaskId": "other"}
RENEWING = {"renew": {"params": OTHER}}
LIFE = 72 * HOUR_S


def relay(policy=RENEWING, params=ONE, **more) -> ManagedLineage:
    return running(kind=Kind.INGEST, policy=policy, params=params, rules={"silence_s": 90 * DAY_S}, **more)


def posted(story: ManagedLineage) -> StartRequested:
    (post,) = story.posted_events
    assert post.vendor == "volcengine"
    assert isinstance(post.event, StartRequested)
    return post.event


def successor(event: StartRequested, at: float, *, kind: Kind = Kind.INGEST) -> ManagedLineage:
    """Returns the scenario of the requested task."""
    story = ManagedLineage(kind=kind)
    story._advance_clock(at)
    story.apply_event(event)
    return story


def succession(story: ManagedLineage) -> list[tuple[str, str, bool]]:
    events = [post.event for post in story.posted_events]
    return [(event.task_id, event.successor, event.runs) for event in events if isinstance(event, SuccessorReported)]


# renew


def test_a_task_is_renewed_ten_minutes_before_its_allowed_life_is_over():
    story = relay()
    assert story.due[RENEW] == 1 + LIFE - 600


def test_a_policy_says_how_long_before():
    story = relay({"renew": {"params": OTHER, "lead_s": 3600}})
    assert story.due[RENEW] == 1 + LIFE - HOUR_S


def test_a_successor_is_asked_for_with_the_other_parameters():
    story = relay()
    story.advance_to(RENEW)
    event = posted(story)
    assert (event.params, event.renews, event.action) == (OTHER, story.task.id, story.task.action)
    assert story.task.renewed_by == event.task_id
    assert (story.end, story.call_count(STOP), RENEW in story.due) == ("running", 0, False)


def test_the_two_sets_of_parameters_alternate():
    story = relay({"renew": {"params": OTHER, "lead_s": 1000}, "start": {"max_attempts": 3}})
    story.advance_to(RENEW)
    event = posted(story)
    assert event.policy == {"renew": {"params": ONE, "lead_s": 1000}, "start": {"max_attempts": 3}}
    next_one = successor(event, 0)
    next_one.answer(START, at=1)
    next_one.advance(next_one.due[RENEW] - 1)
    next_one.calls.clear()
    next_one.advance_to(RENEW)
    again = [post.event for post in next_one.posted_events if isinstance(post.event, StartRequested)]
    assert [(one.params, one.policy["renew"]["params"]) for one in again] == [(ONE, OTHER)]


def test_the_predecessor_is_stopped_only_when_the_successor_runs():
    story = relay()
    story.advance_to(RENEW)
    assert story.end == "running"
    story.succeeded(LIFE, runs=True)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def test_what_is_not_its_successor_stops_nothing():
    story = relay()
    story.advance_to(RENEW)
    story.succeeded(LIFE, runs=True, successor="another")
    assert (story.end, story.call_count(STOP)) == ("running", 0)


def test_a_successor_that_runs_after_its_predecessor_ended_stops_nothing():
    story = relay()
    story.advance_to(RENEW)
    story.volc("RelayStreamStateChanged", LIFE - 500, Status=4, Reason=3)
    story.succeeded(LIFE, runs=True)
    assert (story.end, story.call_count(STOP)) == ("completed/source_finished", 0)


def test_a_failed_successor_is_followed_by_another_one_later():
    story = relay()
    at = story.advance_to(RENEW)
    first = posted(story)
    story.succeeded(at + 10, runs=False)
    assert (story.task.renewed_by, story.due[RENEW]) == (None, at + 60)
    story.advance_to(RENEW)
    again = story.posted_events[-1].event
    assert again.params == OTHER
    assert again.task_id == story.task.renewed_by != first.task_id


def test_a_successor_tells_once_that_it_runs():
    story = relay()
    story.advance_to(RENEW)
    event = posted(story)
    next_one = successor(event, LIFE)
    next_one.answer(START, at=LIFE + 1)
    assert succession(next_one) == []
    receive_media_sign(next_one, LIFE + 2)
    receive_media_sign(next_one, LIFE + 3)
    next_one.volc("RelayStreamStateChanged", LIFE + 4, Status=4, Reason=4)
    assert succession(next_one) == [(story.task.id, event.task_id, True)]


def test_a_successor_tells_once_that_it_failed_before_it_ran():
    story = relay()
    story.advance_to(RENEW)
    event = posted(story)
    next_one = successor(event, LIFE)
    next_one.answer(START, CallOutcome.REFUSED, LIFE + 1)
    assert succession(next_one) == [(story.task.id, event.task_id, False)]


def test_a_task_that_is_to_be_stopped_is_not_renewed():
    story = relay()
    story.stop(10)
    assert RENEW not in story.due


def test_a_task_without_an_allowed_life_is_not_renewed():
    assert RENEW not in running(policy=RENEWING, params=ONE).due


def test_a_renewal_that_passes_late_is_asked_for_once():
    story = relay()
    story.pass_due(1 + LIFE - 100)
    assert len(story.posted_events) == 1


def test_a_renewed_task_is_not_restarted():
    story = relay({**RENEWING, "restart": {"on": ["completed"]}})
    story.advance_to(RENEW)
    story.volc("RelayStreamStateChanged", LIFE - 500, Status=4, Reason=3)
    assert (story.end, story.due) == ("completed/source_finished", {})


# restart


def restarting(**policy) -> ManagedLineage:
    return running(policy={"restart": {"on": ["failed"]} | policy}, params=ONE)


def fail(story: ManagedLineage, at: float):
    story.volc("TranscodeStateChanged", at, TaskState=1, Code=2, FinishTime=ms(at) // 1000)


def test_a_task_that_ended_as_named_is_started_again_after_a_pause():
    story = restarting()
    fail(story, 100)
    assert story.due == {RESTART: 105}
    story.advance_to(RESTART)
    event = posted(story)
    assert (event.params, event.policy, event.restarts) == (ONE, story.task.policy, story.task.id)
    assert (event.restart_count, story.task.restarted_by, story.due) == (1, event.task_id, {})


def test_a_policy_says_how_long_the_pause_is():
    story = restarting(pause_s=60)
    fail(story, 100)
    assert story.due == {RESTART: 160}


def test_a_task_that_ended_otherwise_is_not_started_again():
    story = restarting()
    story.volc("TranscodeStateChanged", 10, TaskState=1, Code=0, FinishTime=ms(10) // 1000)
    assert RESTART not in story.due


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.LOST])
@pytest.mark.parametrize("on", ["stopped", "failed", "lost", "expired"])
def test_only_the_states_that_are_named_count(state, on):
    story = restarting(on=[on])
    story.mark(state, at=5)
    assert (RESTART in story.due) == (state.value == on)


def test_a_task_is_started_again_at_most_so_often():
    story = restarting(max=2)
    ids = [story.task.id]
    for count in (1, 2):
        fail(story, 100)
        story.advance_to(RESTART)
        event = posted(story)
        assert event.restart_count == count
        ids.append(event.task_id)
        story = successor(event, 0, kind=Kind.PUSH)
        story.answer(START, at=1)
        receive_media_sign(story, 2)
    fail(story, 100)
    assert story.due == {}
    assert len(set(ids)) == 3


def test_a_task_that_is_to_be_stopped_is_not_started_again():
    story = restarting(on=["failed", "stopped"])
    story.stop(50)
    fail(story, 100)
    assert (story.end, story.due) == ("failed/bad_source", {})


def test_a_start_that_was_refused_can_be_tried_again_by_policy():
    story = ManagedLineage()
    story.start(0, policy={"restart": {"on": ["failed"]}})
    story.answer(START, CallOutcome.REFUSED, 1)
    story.advance_to(RESTART)
    assert posted(story).restarts == story.task.id


def test_an_id_of_ours_that_is_started_again_is_a_new_run():
    story = restarting()
    fail(story, 100)
    story.advance_to(RESTART)
    story.apply_event(posted(story))
    assert (story.ends, story.run(2).restart_count) == (["failed/bad_source", "requested"], 1)
    assert [make.task_id for make in story.calls.values()] == [story.run(2).id]


def test_a_task_whose_key_has_a_newer_run_is_not_started_again():
    story = restarting()
    fail(story, 100)
    story.volc("TranscodeStarted", 102, Code=0)
    assert RESTART not in story.run(1).deadlines


def test_a_revoked_end_is_not_started_again():
    story = restarting(on=["lost"])
    story.mark(State.LOST, at=5)
    assert RESTART in story.due
    receive_media_sign(story, 6)
    assert (story.end, RESTART in story.due) == ("running", False)


def test_without_an_account_nothing_is_started_again():
    story = restarting()
    story._overrides |= {"callable": False, "askable": False}
    fail(story, 100)
    assert story.due == {}
