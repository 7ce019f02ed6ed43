"""Calls are built from the task, the operation and the step."""

from typing import Any

import pytest

from adapters.vendors import DIALECTS
from adapters.vendors.calls import Call, CallAnswer, TaskRef, to_doc
from statemachine.calls import CallOutcome, Inspection, Operation, PendingCall, Sign
from statemachine.states import Kind, Origin
from statemachine.tasks import Task
from tests.support.start_calls import STARTS, params
from tests.support.times import T0
from tests.unit.workers.call.caller_harness import task_of
from workers.call.call_builder import build_call, next_step, record_id, ref_of

INSPECT, START, STOP, UPDATE = Operation.INSPECT, Operation.START, Operation.STOP, Operation.UPDATE
NEXT = Call(operation=INSPECT, action="ListRelayStream", version="v", method="GET", app_id="a", params={"Offset": 100})


def observed_push() -> Task:
    """A push that may be mixed or single: either of two queries may know it."""
    return task_of("volcengine", "StartPushMixedStreamToCDN", operation=INSPECT, origin=Origin.OBSERVED, action=None, params={})


def action_of(task: Task, operation: Operation, step: Any = None) -> str | None:
    call = build_call(task, operation, step)
    return call.action if call is not None else None


def test_a_reference_has_all_that_is_known() -> None:
    task = task_of("volcengine", "StartWebcast", api_version="2023-11-01")
    assert ref_of(task) == TaskRef(
        kind=Kind.PAGE,
        app_id=task.key.app_id,
        room_id="r1",
        vendor_task_id="t1",
        robot="robot",
        action="StartWebcast",
        version="2023-11-01",
        params=params("volcengine", "StartWebcast"),
        record_id=f"{task.id}-1",
        started_at=None,
    )


def test_a_provisional_id_is_no_vendor_id() -> None:
    unknown, known = task_of("tencent", "StartStreamIngest"), task_of("tencent", "StartStreamIngest", known="-m9l")
    assert [(ref_of(task).vendor_task_id, ref_of(task).room_id) for task in (unknown, known)] == [(None, "1"), ("-m9l", "1")]


@pytest.mark.parametrize(("vendor", "action"), STARTS)
def test_each_start_call_has_the_requested_parameters(vendor: str, action: str) -> None:
    task = task_of(vendor, action)
    call = build_call(task, START)
    assert call is not None
    ours = {"RecordId": f"{task.id}-1"} if action == "StartWebRecord" else {}
    assert (call.action, call.params) == (action, params(vendor, action) | ours)
    assert DIALECTS[vendor].check(call.action, call.version, call.params) == []


def test_no_start_is_built_from_unknown_parameters_or_without_their_secrets() -> None:
    assert action_of(task_of("volcengine", "StartRecord", wiped=True), START) is None
    assert action_of(task_of("volcengine", "StartRecord", action=None, params={}), START) is None


def test_an_update_has_the_requested_parameters() -> None:
    task = task_of("volcengine", "StartRecord", operation=UPDATE, pending={"params": {"Layout": {"LayoutMode": 1}}})
    call = build_call(task, UPDATE)
    assert call is not None
    assert (call.action, call.params["Layout"], call.params["TaskId"]) == ("UpdateRecord", {"LayoutMode": 1}, "t1")
    assert action_of(task, STOP) == "StopRecord"
    assert action_of(task_of("volcengine", "StartRecord"), UPDATE) is None


def test_a_task_without_an_id_can_neither_be_stopped_nor_queried() -> None:
    task = task_of("tencent", "CreateCloudRecording")
    assert [action_of(task, operation) for operation in (STOP, INSPECT)] == [None, None]


def test_the_first_query_is_built_unless_the_step_names_another_or_a_further_page() -> None:
    task = observed_push()
    actions = [action_of(task, INSPECT, step) for step in (None, {"index": 0}, {"index": 1}, {"index": 2})]
    assert actions == ["GetPushMixedStreamToCDNTask", "GetPushMixedStreamToCDNTask", "GetPushSingleStreamToCDNTask", None]
    assert build_call(task, INSPECT, {"index": 0, "call": to_doc(NEXT)}) == NEXT


@pytest.mark.parametrize(
    ("pending", "serial"),
    [
        ({"serial": 1}, 1),
        ({"serial": 4, "failures": 3}, 4),
        ({"serial": 2, "failures": 1, "ambiguous": (1,)}, 1),
        ({"serial": 5, "failures": 4, "ambiguous": (3, 4)}, 3),
        ({"serial": None, "ambiguous": (2,)}, 2),
    ],
)
def test_our_id_stays_while_an_earlier_attempt_is_ambiguous(pending: dict[str, Any], serial: int) -> None:
    task = task_of("tencent", "StartWebRecord", pending=pending)
    assert record_id(task) == f"{task.id}-{serial}"


def test_a_page_is_queried_by_the_id_of_the_ambiguous_start() -> None:
    start, ask = PendingCall(since=T0, failures=1, ambiguous=(1,)), PendingCall(since=T0, serial=2)
    task = task_of("tencent", "StartWebRecord", calls={START: start, INSPECT: ask}, serial=2)
    call = build_call(task, INSPECT)
    assert call is not None
    assert call.params["RecordId"] == f"{task.id}-1"


def test_our_id_fits() -> None:
    assert len(record_id(task_of("tencent", "StartWebRecord", pending={"serial": 123_456})).encode()) == 31


# What is asked next.

GONE = CallAnswer(outcome=CallOutcome.ALREADY_GONE, inspection=Inspection(sign=Sign.GONE))


@pytest.mark.parametrize(
    ("step", "answer", "failures", "following"),
    [
        (None, GONE, 0, {"index": 1}),
        ({"index": 0}, CallAnswer(outcome=CallOutcome.REFUSED), 0, {"index": 1}),
        (None, CallAnswer(outcome=CallOutcome.RETRY), 1, None),
        (None, CallAnswer(outcome=CallOutcome.RETRY), 2, {"index": 1}),
        (None, CallAnswer(outcome=CallOutcome.THROTTLED), 9, None),
        (None, CallAnswer(outcome=CallOutcome.ACCEPTED, inspection=Inspection(sign=Sign.RUNNING)), 0, None),
        ({"index": 1}, GONE, 0, None),
        ({"index": 1}, CallAnswer(outcome=CallOutcome.RETRY), 9, None),
        (None, CallAnswer(outcome=CallOutcome.ACCEPTED, next_call=NEXT), 0, {"index": 0, "call": to_doc(NEXT)}),
        ({"index": 1}, CallAnswer(outcome=CallOutcome.ACCEPTED, next_call=NEXT), 0, {"index": 1, "call": to_doc(NEXT)}),
    ],
)
def test_another_query_follows_one_that_knows_nothing(step: Any, answer: CallAnswer, failures: int, following: Any) -> None:
    asking = {INSPECT: PendingCall(since=T0, serial=1, failures=failures)}
    task = task_of("volcengine", "StartPushMixedStreamToCDN", action=None, params={}, calls=asking)
    assert next_step(task, step, answer) == following


def test_after_the_only_query_none_follows() -> None:
    assert next_step(task_of("volcengine", "StartRecord", operation=INSPECT), None, GONE) is None
