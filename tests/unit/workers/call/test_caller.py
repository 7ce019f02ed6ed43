"""Calls are made once, within their quotas, and their answers are posted."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.http import HttpReply, NoReply
from adapters.http_messages import HttpRequest, WireError
from adapters.ledger import LedgerUnavailableError, effects, quotas
from adapters.ledger.quotas import Bucket
from adapters.settings import Settings
from adapters.vendors import DIALECTS
from simulator.plan import Faults
from statemachine.calls import Operation, PendingCall, Sign, inspection_from_doc
from statemachine.states import State
from statemachine.tasks import Task
from tests.support import ledger_rows
from tests.support.start_calls import APPS, start_call
from tests.support.times import T0
from tests.unit.workers.call.caller_harness import SETTINGS, CallerHarness, task_of
from workers.call.call_attempt import LEASE_MS

START, STOP, UPDATE, INSPECT = Operation.START, Operation.STOP, Operation.UPDATE, Operation.INSPECT
RECORD, PAGE = ("volcengine", "StartRecord"), ("tencent", "StartWebRecord")


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[CallerHarness]:
    harness = CallerHarness(tmp_path)
    yield harness
    harness.caller.stop()
    harness.ledger.close()


def started(harness: CallerHarness, vendor: str, action: str, number: int = 1) -> str | None:
    """Starts a task at the vendor without the caller; returns the id that the vendor created."""
    task = task_of(vendor, action, number)
    harness.add_calls(task)
    harness.caller.run_once()
    minted: str | None = harness.answers()[-1]["vendor_task_id"]
    with harness.ledger.write() as connection:
        effects.delete_calls(connection, [(task.id, 1)])
    return minted


def told(answer: Any, *names: str) -> tuple[Any, ...]:
    return tuple(answer[name] for name in names)


# One call.


@pytest.mark.parametrize(
    ("vendor", "action"),
    [
        ("volcengine", "StartPushMixedStreamToCDN"),
        ("volcengine", "StartRelayStream"),
        RECORD,
        ("tencent", "StartPublishCdnStream"),
        PAGE,
    ],
)
def test_a_start_is_made_as_the_vendor_wants_it_and_its_answer_posted(harness: CallerHarness, vendor: str, action: str) -> None:
    task = task_of(vendor, action)
    harness.add_calls(task)

    assert harness.caller.run_once() == 1

    (truth,) = harness.world.truth()
    answer = harness.only_answer()
    minted = truth.vendor_task_id if vendor == "tencent" else None
    assert answer == {
        "task_id": task.id,
        "operation": "start",
        "serial": 1,
        "outcome": "accepted",
        "action": action,
        "code": None,
        "message": None,
        "request_id": answer["request_id"],
        "vendor_task_id": minted,
        "retry_after_s": None,
        "inspection": None,
        "step": None,
        "sent_at": T0,
        "duration_ms": 0,
        "lease": False,
    }
    assert harness.calls_in_ledger() == [(task.id, 1, True)]
    assert (harness.wake_ups, harness.caller.run_once()) == (1, 0)


def test_stop_and_update_name_the_task(harness: CallerHarness) -> None:
    mixed = ("volcengine", "StartPushMixedStreamToCDN")
    started(harness, *mixed)
    task = task_of(*mixed, operation=UPDATE, pending={"serial": 2, "params": {"Layout": {"LayoutMode": 2}}})
    harness.add_calls(replace(task, id="u"), replace(task, id="s", calls={STOP: PendingCall(since=T0, serial=3)}))

    assert harness.caller.run_once() == 2

    found = [told(answer, "operation", "serial", "outcome", "action") for answer in harness.answers()[1:]]
    assert found == [("update", 2, "accepted", "UpdatePushMixedStreamToCDN"), ("stop", 3, "accepted", "StopPushStreamToCDN")]
    assert json.loads(harness.sent[1].body)["Layout"] == {"LayoutMode": 2}


def test_the_answer_to_a_query_has_the_state_of_the_task(harness: CallerHarness) -> None:
    minted = started(harness, "tencent", "CreateCloudRecording")
    harness.now += 60_000
    harness.add_calls(replace(task_of("tencent", "CreateCloudRecording", operation=INSPECT, known=minted), id="i"))

    harness.caller.run_once()

    answer = harness.answers()[-1]
    assert told(answer, "operation", "outcome", "action", "sent_at") == (
        "inspect",
        "accepted",
        "DescribeCloudRecording",
        T0 + 60_000,
    )
    assert inspection_from_doc(answer["inspection"]).sign is Sign.RUNNING


def test_a_page_whose_start_was_lost_is_found_by_our_id(tmp_path: Path) -> None:
    harness = CallerHarness(tmp_path, faults=Faults(ambiguous=1.0))
    task = task_of(*PAGE)
    harness.add_calls(task)
    harness.caller.run_once()
    assert told(harness.only_answer(), "outcome", "code", "vendor_task_id") == ("ambiguous", "cut_off", None)

    harness.before = lambda request: replying(harness, request)
    asking = {START: PendingCall(since=T0, failures=1, ambiguous=(1,)), INSPECT: PendingCall(since=T0, serial=2)}
    harness.add_calls(replace(task, calls=asking))
    harness.caller.run_once()

    assert harness.answers()[-1]["vendor_task_id"] == harness.world.truth()[0].vendor_task_id
    harness.ledger.close()


def replying(harness: CallerHarness, request: HttpRequest) -> HttpReply:
    """Returns the vendor's reply, though the connection was dropped."""
    reply = harness.world.handle("tencent", "POST", "/", "", request.headers, request.body, harness.now)
    return HttpReply(status=reply.status, headers=reply.headers, body=reply.body)


@pytest.mark.parametrize(
    ("reply", "outcome", "code", "retry_after_s"),
    [
        (HttpReply(status=502, headers={}, body=b"<html>"), "ambiguous", "http_502", None),
        (HttpReply(status=429, headers={"Retry-After": "7"}, body=b""), "throttled", "http_429", 7.0),
        (HttpReply(status=302, headers={}, body=b""), "refused", "http_302", None),
        (HttpReply(status=200, headers={}, body=b"\xff"), "ambiguous", "unreadable", None),
        (WireError.NOT_SENT, "retry", "not_sent", None),
        (WireError.CUT_OFF, "ambiguous", "cut_off", None),
    ],
)
def test_any_reply_is_an_answer(harness: CallerHarness, reply: Any, outcome: str, code: str, retry_after_s: float | None) -> None:
    def instead(_: HttpRequest) -> HttpReply:
        if isinstance(reply, WireError):
            raise NoReply(reply, "no answer")
        found: HttpReply = reply
        return found

    harness.before = instead
    harness.add_calls(task_of(*RECORD))
    harness.caller.run_once()

    assert told(harness.only_answer(), "outcome", "code", "retry_after_s") == (outcome, code, retry_after_s)


def test_the_answer_has_the_duration_of_the_call(harness: CallerHarness) -> None:
    def slowly(_: HttpRequest) -> None:
        harness.now += 1_500

    harness.before = slowly
    harness.add_calls(task_of(*RECORD))
    harness.caller.run_once()
    assert told(harness.only_answer(), "sent_at", "duration_ms") == (T0, 1_500)


# What is not made.


@pytest.mark.parametrize(
    "change",
    [
        lambda task: replace(task, calls={}),
        lambda task: replace(task, calls={START: PendingCall(since=T0, serial=2)}),
        lambda task: replace(task, calls={START: PendingCall(since=T0, serial=None)}),
        lambda task: replace(task, calls={STOP: PendingCall(since=T0, serial=1)}),
        lambda task: replace(task, view=replace(task.view, stop_asked_at=T0)),
        lambda task: replace(task, view=replace(task.view, state=State.STOPPING)),
        lambda task: replace(task, view=replace(task.view, state=State.ACCEPTED)),
        lambda task: replace(task, wiped=True),
    ],
)
def test_a_start_that_is_not_pending_any_more_is_not_made(harness: CallerHarness, change: Callable[[Task], Task]) -> None:
    task = task_of(*RECORD)
    harness.add_calls(task)
    ledger_rows.save(harness.ledger, change(task))

    assert harness.caller.run_once() == 1

    assert harness.sent == []
    answer = harness.only_answer()
    assert told(answer, "operation", "serial", "outcome", "action", "duration_ms") == ("start", 1, "not_made", "", None)
    assert harness.calls_in_ledger() == [(task.id, 1, True)]


def test_other_calls_are_made_in_any_state(harness: CallerHarness) -> None:
    harness.add_calls(task_of(*RECORD, operation=STOP, view=replace(task_of(*RECORD).view, state=State.FAILED, stop_asked_at=T0)))
    harness.caller.run_once()
    assert harness.only_answer()["outcome"] == "already_gone"


def test_a_call_of_an_unknown_task_is_not_made(harness: CallerHarness) -> None:
    task = task_of(*RECORD)
    with harness.ledger.write() as connection:
        effects.add(connection, [harness.new_call(task, START, task.calls[START])])
    harness.caller.run_once()
    assert told(harness.only_answer(), "task_id", "outcome") == (task.id, "not_made")


def test_without_an_account_no_call_is_made(tmp_path: Path) -> None:
    harness = CallerHarness(tmp_path, settings=Settings(apps=tuple(replace(app, account=None) for app in SETTINGS.apps)))
    harness.add_calls(task_of(*RECORD))
    harness.caller.run_once()
    assert (harness.only_answer()["outcome"], harness.sent) == ("not_made", [])
    harness.ledger.close()


def test_a_task_without_an_id_is_not_stopped(harness: CallerHarness) -> None:
    harness.add_calls(task_of(*PAGE, operation=STOP))
    harness.caller.run_once()
    assert (harness.only_answer()["outcome"], harness.sent) == ("not_made", [])


def test_a_call_whose_lease_is_over_is_not_made(harness: CallerHarness) -> None:
    """Another worker may have posted that its outcome is ambiguous."""
    harness.add_calls(task_of(*RECORD))
    until_it_is_taken = iter([T0] * 3)
    harness.new_caller(clock=lambda: next(until_it_is_taken, T0 + LEASE_MS)).run_once()
    assert (harness.only_answer()["outcome"], harness.sent) == ("not_made", [])


# Several queries.


def pushing(harness: CallerHarness, action: str, **more: Any) -> Task:
    """A running push of which only the id is known."""
    started(harness, "volcengine", action)
    asking = {INSPECT: PendingCall(since=T0, serial=2, **more)}
    return replace(task_of("volcengine", action, operation=INSPECT), id="i", action=None, params={}, calls=asking)


def test_a_task_that_one_query_does_not_find_is_queried_by_the_next(harness: CallerHarness) -> None:
    task = pushing(harness, "StartPushSingleStreamToCDN")
    harness.add_calls(task)
    harness.caller.run_once()
    first = harness.answers()[-1]
    assert told(first, "outcome", "inspection", "step", "action") == (
        "accepted",
        None,
        {"index": 1},
        "GetPushMixedStreamToCDNTask",
    )

    harness.add_calls(replace(task, id="j"), step=first["step"])
    harness.caller.run_once()
    second = harness.answers()[-1]
    assert told(second, "outcome", "step", "action") == ("accepted", None, "GetPushSingleStreamToCDNTask")
    assert second["inspection"]["sign"] != "gone"


def test_the_pending_call_has_the_step_if_the_claimed_call_has_none(harness: CallerHarness) -> None:
    harness.add_calls(pushing(harness, "StartPushSingleStreamToCDN", step={"index": 1}))
    harness.caller.run_once()
    assert harness.answers()[-1]["action"] == "GetPushSingleStreamToCDNTask"


def test_a_task_that_no_query_finds_is_gone(harness: CallerHarness) -> None:
    task = replace(pushing(harness, "StartPushMixedStreamToCDN", step={"index": 1}))
    harness.add_calls(task)
    harness.caller.run_once()
    assert told(harness.answers()[-1], "outcome", "step") == ("already_gone", None)
    assert harness.answers()[-1]["inspection"]["sign"] == "gone"


def test_all_pages_of_a_list_are_requested(harness: CallerHarness) -> None:
    """The vendor lists a room's relays, the newest first and a hundred at a time."""
    account = harness.accounts.account_of("volcengine", APPS["volcengine"].app_id)
    assert account is not None
    for number in range(1, 103):
        call = start_call("volcengine", "StartRelayStream", number, RoomId="r1", UserId=f"robot{number}")
        harness.send(DIALECTS["volcengine"].sign(call, account, harness.now))
        harness.now += 20
    oldest = task_of("volcengine", "StartRelayStream", operation=INSPECT)

    harness.add_calls(oldest)
    harness.caller.run_once()
    first = harness.only_answer()
    assert told(first, "outcome", "inspection", "action") == ("accepted", None, "ListRelayStream")
    assert first["step"]["call"]["params"]["Offset"] == 100

    harness.add_calls(replace(oldest, id="j"), step=first["step"])
    harness.caller.run_once()
    assert told(harness.answers()[-1], "outcome", "step") == ("accepted", None)
    assert harness.answers()[-1]["inspection"]["sign"] in ("accepted", "running")


# Quotas.


def test_calls_stay_within_the_quota_and_none_is_lost(harness: CallerHarness) -> None:
    harness.add_calls(*(task_of("tencent", "CreateCloudRecording", number) for number in range(1, 61)))
    harness.add_calls(task_of(*RECORD, number=99))

    rounds = []
    while harness.calls_in_ledger() != sorted((task, serial, True) for task, serial, _ in harness.calls_in_ledger()):
        rounds.append(harness.caller.run_once())
        harness.now += 50

    assert rounds[0] == 3
    assert Counter(answer["outcome"] for answer in harness.answers()) == {"accepted": 61}
    assert harness.world.counters.quota_breaches == {}
    assert 3_000 < harness.now - T0 < 4_500


def bucket_of(harness: CallerHarness, name: str) -> Bucket | None:
    with harness.ledger.write() as connection:
        return quotas._read_bucket(connection, name)


def test_throttling_slows_the_calls_down(harness: CallerHarness) -> None:
    harness.before = lambda _: HttpReply(status=429, headers={"Retry-After": "5"}, body=b"")
    harness.add_calls(task_of(*RECORD), task_of(*RECORD, number=2))

    harness.caller.run_once()

    assert [answer["outcome"] for answer in harness.answers()] == ["throttled", "throttled"]
    name = harness.accounts.quota_bucket("volcengine", task_of(*RECORD).key.app_id, "StartRecord")
    bucket = bucket_of(harness, name)
    assert bucket is not None
    assert (bucket.pace, bucket.blocked_until) == (0.7, T0 + 5_000)
    harness.add_calls(task_of(*RECORD, number=3))
    assert harness.caller.run_once() == 0
    harness.now += 5_000
    assert harness.caller.run_once() == 1


# Leases.


def take(harness: CallerHarness) -> None:
    """Claims calls like a process that dies before it posts an answer."""
    with harness.ledger.write() as connection:
        effects.claim(connection, harness.now, 9, LEASE_MS, harness.accounts.quota_limit)


@pytest.mark.parametrize(("operation", "outcome"), [(START, "ambiguous"), (STOP, "retry"), (UPDATE, "retry"), (INSPECT, "retry")])
def test_a_call_whose_lease_ended_is_ambiguous(harness: CallerHarness, operation: Operation, outcome: str) -> None:
    harness.add_calls(task_of(*RECORD, operation=operation, pending={"serial": 3}))
    take(harness)
    harness.now += LEASE_MS - 1
    assert (harness.caller.run_once(), harness.answers()) == (0, [])

    harness.now += 1
    assert harness.caller.run_once() == 1

    answer = harness.only_answer()
    assert told(answer, "operation", "serial", "outcome", "code", "lease") == (operation.value, 3, outcome, "no_answer", True)
    assert told(answer, "sent_at", "duration_ms", "inspection", "step") == (T0, None, None, None)
    assert (harness.sent, harness.wake_ups) == ([], 1)
    assert [attempt[1:] for attempt in harness.calls_in_ledger()] == [(3, True)], "it is waited for until that is applied"
    assert harness.caller.run_once() == 0


def test_the_real_answer_counts_however_late_it_comes(harness: CallerHarness) -> None:
    def meanwhile(_: HttpRequest) -> None:
        harness.now += LEASE_MS + 1
        harness.new_caller().run_once()

    harness.before = meanwhile
    harness.add_calls(task_of(*PAGE))
    harness.caller.run_once()

    lost, real = harness.answers()
    assert told(lost, "outcome", "lease", "vendor_task_id") == ("ambiguous", True, None)
    assert told(real, "outcome", "lease", "serial") == ("accepted", False, 1)
    assert real["vendor_task_id"] == harness.world.truth()[0].vendor_task_id


# A ledger that is away, and bugs.


class Away:
    """A ledger whose write transactions fail for a while."""

    def __init__(self, harness: CallerHarness, failures: int, *, after: int) -> None:
        self._ledger = harness.ledger
        self._failures = failures
        self._after = after
        self.failed = 0

    def read(self) -> Any:
        return self._ledger.read()

    def write(self) -> Any:
        self._after -= 1
        if self._after < 0 and self._failures > 0:
            self._failures -= 1
            self.failed += 1
            raise LedgerUnavailableError("away")
        return self._ledger.write()


def test_run_once_raises_if_the_ledger_is_unavailable(harness: CallerHarness) -> None:
    harness.add_calls(task_of(*RECORD))
    caller = harness.new_caller(Away(harness, 1, after=1))
    with pytest.raises(LedgerUnavailableError):
        caller.run_once()


def until(true: Callable[[], bool]) -> None:
    """Waits until another thread has made it true."""
    pause = threading.Event()
    for _ in range(1_000):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it never came true")


def test_an_answer_is_posted_as_soon_as_the_ledger_is_available(harness: CallerHarness) -> None:
    away = Away(harness, 2, after=1)
    harness.caller = harness.new_caller(away)
    harness.add_calls(task_of(*PAGE))
    harness.caller.start()

    until(lambda: len(harness.answers()) == 1)

    assert (away.failed, harness.only_answer()["outcome"], len(harness.sent)) == (2, "accepted", 1)


def test_a_bug_in_one_call_holds_up_no_other(harness: CallerHarness) -> None:
    def buggy(request: HttpRequest) -> None:
        if b'"t1"' in request.body:
            raise ZeroDivisionError

    harness.before = buggy
    harness.add_calls(task_of(*RECORD), task_of(*RECORD, number=2))
    harness.caller.start()
    until(lambda: len(harness.answers()) == 1)
    assert harness.only_answer()["task_id"] == task_of(*RECORD, number=2).id


# Threads.


def test_as_many_calls_are_made_at_once_as_the_concurrency_allows(tmp_path: Path) -> None:
    harness = CallerHarness(tmp_path)
    harness.caller = harness.new_caller(concurrency=3)
    together, go_on = threading.Semaphore(0), threading.Event()

    def gather(_: HttpRequest) -> HttpReply:
        together.release()
        assert go_on.wait(10)
        return HttpReply(status=200, headers={}, body=b'{"ResponseMetadata": {"RequestId": "r"}, "Result": ""}')

    harness.before = gather
    harness.add_calls(*(task_of(*RECORD, number=number) for number in range(1, 6)))
    harness.caller.start()
    harness.caller.wake()
    for _ in range(3):
        assert together.acquire(timeout=10)
    assert not together.acquire(timeout=0.1)
    assert Counter(taken for _, _, taken in harness.calls_in_ledger()) == {True: 3, False: 2}

    go_on.set()
    until(lambda: len(harness.answers()) == 5)
    harness.caller.stop()
    harness.ledger.close()


def test_stopping_finishes_the_calls_in_flight_and_begins_no_other(harness: CallerHarness) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: HttpRequest) -> None:
        begun.set()
        assert go_on.wait(10)

    harness.caller = harness.new_caller(concurrency=1)
    harness.before = hold
    harness.add_calls(task_of(*RECORD), task_of(*RECORD, number=2))
    harness.caller.start()
    assert begun.wait(10)

    stopping = threading.Thread(target=harness.caller.stop)
    stopping.start()
    until(harness.caller._stopping.is_set)
    go_on.set()
    stopping.join(timeout=10)

    assert [answer["outcome"] for answer in harness.answers()] == ["accepted"]
    assert [taken for _, _, taken in harness.calls_in_ledger()] == [True, False]


def test_two_callers_never_make_one_call_twice(harness: CallerHarness) -> None:
    tasks = [task_of("volcengine", "StartPushMixedStreamToCDN", number) for number in range(1, 31)]
    harness.add_calls(*tasks)
    harness.before = lambda _: HttpReply(status=200, headers={}, body=b'{"ResponseMetadata": {"RequestId": "r"}, "Result": ""}')
    callers = [harness.new_caller(concurrency=4) for _ in range(3)]
    for caller in callers:
        caller.start()
    until(lambda: advanced(harness) >= 30)
    for caller in callers:
        caller.stop()

    ids = Counter(json.loads(request.body)["TaskId"] for request in harness.sent)
    assert ids == {f"t{number}": 1 for number in range(1, 31)}
    assert Counter(answer["task_id"] for answer in harness.answers()) == {task.id: 1 for task in tasks}


def advanced(harness: CallerHarness) -> int:
    """Lets a little time pass; returns how many answers there are."""
    harness.now += 50
    return len(harness.answers())
