"""The end of a run: ranks, reasons, and ends that depend on our own stop or on the maximum lifetime."""

import pytest

from statemachine.facts import Ending, Fact, FactKind
from statemachine.rules import Rules
from statemachine.states import Anomaly, Reason, State
from tests.unit.statemachine.lineage_scenario import HOUR_S, MINUTE_S, URL, LineageScenario, ms
from tests.unit.statemachine.test_order import heard

H72 = 72 * HOUR_S


def send_state(story: LineageScenario, code: int, at: float):
    return story.volc("TranscodeStateChanged", at, TaskState=1, Code=code, FinishTime=ms(at), ErrorMessage=f"code {code}")


# Push.


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (0, "stopped/unstated"),
        (2, "failed/bad_source"),
        (1, "failed/vendor_error"),
        (3, "failed/vendor_error"),
        (9999, "failed/vendor_error"),
    ],
)
def test_a_push_ends_by_its_code(code, end):
    story = LineageScenario()
    send_state(story, code, 10)
    assert story.ends == [end]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_error_ranks_before_a_stop(order):
    story = LineageScenario()
    ends = [lambda: story.volc("TranscodeStopped", 5, Code=0), lambda: send_state(story, 2, 20)]
    for index in order:
        ends[index]()
    assert story.ends == ["failed/bad_source"]
    assert story.task.view.vendor_message == "code 2"
    assert story.task.view.ended_at == ms(20)


def test_a_stop_ranks_before_an_end_without_a_code():
    story = LineageScenario()
    send_state(story, 0, 5)
    story.volc("TranscodeStopped", 20, Code=0, ErrorMessage="bye")
    assert story.task.view.ended_at == ms(20)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_within_a_rank_the_earliest_end_counts(order):
    story = LineageScenario()
    for index in order:
        send_state(story, (2, 3)[index], (10, 20)[index])
    assert story.ends == ["failed/bad_source"]


def test_finish_time_is_when_it_ended_and_nothing_else():
    story = LineageScenario()
    story.volc("TranscodeStateChanged", 30, TaskState=1, Code=0, FinishTime=ms(10))
    assert story.task.view.ended_at == ms(10)
    assert story.task.view.evidence_at == ms(30)


def test_a_failed_stop_leaves_the_task_alive_and_is_an_anomaly():
    story = LineageScenario()
    story.volc("TranscodeStateChanged", 0, TaskState=3, Code=0)
    decision = story.volc("TranscodeStopped", 5, Code=1, ErrorMessage="busy")
    assert story.ends == ["running"]
    assert (decision.verdict, story.task.anomalies) == ("anomaly", (Anomaly.STOP_FAILED,))


@pytest.mark.parametrize(
    ("event", "data"), [("TranscodeUpdated", {"Code": 1}), ("TranscodeStateChanged", {"TaskState": 4, "Code": 0})]
)
def test_remarks_change_no_state(event, data):
    story = LineageScenario()
    story.volc("TranscodeStateChanged", 0, TaskState=2, Code=0)
    story.volc(event, 5, **data)
    assert story.ends == ["interrupted"]


def test_without_media_a_push_is_accepted_until_it_ran_and_interrupted_after():
    story = LineageScenario()
    story.volc("TranscodeStateChanged", 0, TaskState=1, Code=0, FinishTime=0)
    assert story.ends == ["accepted"]
    story.volc("TranscodeStateChanged", 1, TaskState=3, Code=0)
    story.volc("TranscodeStateChanged", 2, TaskState=1, Code=0, FinishTime=0)
    assert story.ends == ["interrupted"]


# Relay.


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        (1, "idle_timeout/max_idle_time"),
        (2, "stopped/stop_requested"),
        (3, "completed/source_finished"),
        (4, "failed/vendor_error"),
        (5, "failed/bad_source"),
        (6, "failed/unsupported_codec"),
        (7, "failed/token_error"),
        (8, "failed/no_permission"),
        (9, "stopped/removed_from_room"),
        (0, "stopped/unstated"),
        (77, "stopped/unstated"),
        (None, "stopped/unstated"),
    ],
)
def test_a_relay_ends_by_its_reason(reason, end):
    story = LineageScenario()
    story.volc("RelayStreamStateChanged", 0, Status=3)
    story.volc("RelayStreamStateChanged", 9, Status=4, **({} if reason is None else {"Reason": reason}))
    assert story.ends == [end]


@pytest.mark.parametrize(("at", "end"), [(H72 - 301, "stopped/unstated"), (H72 - 300, "expired/max_lifetime")])
@pytest.mark.parametrize("start_first", [True, False])
def test_an_unlisted_reason_after_72_hours_less_five_minutes_is_the_end_of_its_lifetime(at, end, start_first):
    story = LineageScenario()
    events = [{"at": 0, "Status": 3}, {"at": at, "Status": 4, "Reason": 0}]
    for event in events if start_first else reversed(events):
        story.volc("RelayStreamStateChanged", received=at, **event)
    assert story.ends == [end]


def test_the_life_of_a_relay_counts_from_its_start_time_stamp():
    story = LineageScenario()
    story.volc("RelayStreamStateChanged", 0, Status=4, Reason=0, StartTimeStamp=ms(-H72) // 1000)
    assert story.ends == ["expired/max_lifetime"]


def test_a_listed_reason_counts_before_the_maximum_lifetime():
    story = LineageScenario()
    story.volc("RelayStreamStateChanged", 0, Status=4, Reason=3, StartTimeStamp=ms(-H72) // 1000)
    assert story.ends == ["completed/source_finished"]


# Webcast and ingest.


@pytest.mark.parametrize(
    ("status", "end"),
    [(2, "completed/source_finished"), (3, "failed/vendor_error"), (4, "running"), (5, "interrupted")],
)
def test_a_webcast_moves_by_its_status(status, end):
    story = LineageScenario()
    story.volc("Webcast", 0, Status=1)
    story.volc("Webcast", 5, Status=status, Reason="PageCrash")
    assert story.ends == [end]


@pytest.mark.parametrize("ran", [True, False])
def test_an_ingest_that_fails_tries_on(ran):
    story = LineageScenario()
    if ran:
        story.tencent(701, 0, Status=0)
    story.tencent(701, 1, Status=1)
    story.tencent(701, 2, Status=2)
    assert story.ends == ["interrupted" if ran else "accepted"]


def test_an_ingest_ends_as_completed():
    story = LineageScenario()
    story.tencent(701, 0, Status=0)
    story.tencent(702, 60, Status=0)
    assert story.ends == ["completed/unstated"]


@pytest.mark.parametrize(("at", "end"), [(9 * MINUTE_S - 1, "completed/unstated"), (9 * MINUTE_S, "expired/max_lifetime")])
def test_an_ingest_that_ends_a_minute_before_its_max_duration_expired(at, end):
    story = LineageScenario(MaxDuration=10)
    story.tencent(701, 0, Status=0)
    story.tencent(702, at, Status=0)
    assert story.ends == [end]


# Pages and recordings.


@pytest.mark.parametrize(
    ("status", "end"), [(2, "failed/start_refused"), (5, "failed/vendor_error"), (3, "interrupted"), (4, "interrupted")]
)
def test_a_page_moves_by_its_start_status(status, end):
    story = LineageScenario()
    if status != 2:
        story.tencent(801, 0, Status=1)
    story.tencent(801, 5, Status=status)
    assert story.ends == [end]


@pytest.mark.parametrize(("status", "end"), [(1, "running"), (2, "interrupted"), (3, "running")])
def test_a_page_moves_by_its_update_status(status, end):
    story = LineageScenario()
    story.tencent(801, 0, Status=1)
    story.tencent(803, 5, Status=status)
    assert story.ends == [end]


def test_a_record_that_fails_to_stop_failed():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStopped", 5, Code=1, ErrorMessage="disk")
    assert story.ends == ["failed/vendor_error"]


# Our own stop (facts only, no calls).

STOPPABLE = Ending(state=State.STOPPED, reason=Reason.UNSTATED, rank=3, stop_wins=True)


def ours(kind: FactKind, at: float) -> Fact:
    return Fact(kind=kind, at=ms(at), received_at=ms(at), key=f"{kind}@{at}")


def vendors(kind: FactKind, at: float, **says) -> Fact:
    return Fact(kind=kind, at=ms(at), received_at=ms(at), key=f"{kind}@{at}", **says)


def view(*facts: Fact):
    return heard(list(facts), Rules()).tasks[-1].view


def test_an_end_after_our_stop_request_was_requested():
    end = view(vendors(FactKind.MEDIA, 0), ours(FactKind.STOP_ASKED, 5), vendors(FactKind.END, 9, outcome=STOPPABLE))
    assert (end.state, end.reason) == ("stopped", "stop_requested")


def test_an_end_before_our_stop_request_was_not_requested():
    end = view(vendors(FactKind.MEDIA, 0), ours(FactKind.STOP_ASKED, 50), vendors(FactKind.END, 9, outcome=STOPPABLE))
    assert (end.state, end.reason) == ("stopped", "unstated")


def test_between_our_stop_request_and_an_end_signs_of_life_change_nothing():
    assert view(ours(FactKind.STOP_ASKED, 5), vendors(FactKind.MEDIA, 0), vendors(FactKind.MEDIA, 9)).state is State.STOPPING


def test_an_error_after_our_stop_request_is_an_error():
    error = Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR, rank=1)
    end = view(vendors(FactKind.MEDIA, 0), ours(FactKind.STOP_ASKED, 5), vendors(FactKind.END, 9, outcome=error))
    assert (end.state, end.reason) == ("failed", "vendor_error")


def test_the_only_output_of_an_ended_push_ended():
    story = LineageScenario()
    story.volc("TranscodeStateChanged", 0, TaskState=3, Code=0, PushURL=URL)
    send_state(story, 0, 9)
    assert story.outputs == {URL: "ended"}


def test_the_only_output_of_a_failed_push_failed():
    story = LineageScenario()
    story.volc("TranscodeStateChanged", 0, TaskState=3, Code=0, PushURL=URL)
    send_state(story, 3, 9)
    assert story.outputs == {URL: "failed"}


def test_an_updated_url_replaces_the_only_output():
    story = LineageScenario()
    story.volc("TranscodeStateChanged", 0, TaskState=3, Code=0, PushURL=URL)
    story.volc("TranscodeUpdated", 5, Code=0, PushURL="rtmp://other/b")
    assert story.outputs == {"rtmp://other/b": "running"}
