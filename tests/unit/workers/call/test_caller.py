"""Calls are made once, within their quotas, and what became of them is posted."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.http import NoAnswer, Reply
from adapters.ledger import LedgerUnavailableError, effects, quotas
from adapters.ledger.quotas import Bucket
from adapters.settings import Settings
from adapters.vendors import DIALECTS
from adapters.vendors.calls import HttpRequest, WireError
from simulator.plan import Faults
from statemachine.calls import Operation, Pursuit, Sign, inspection_from_doc
from statemachine.states import State
from statemachine.tasks import Task
from tests.unit.adapters.ledger import making
from tests.unit.simulator.driving import APPS, T0, start_call
from tests.unit.workers.booth import SETTINGS, Booth, task_of
from workers.call.call_attempt import LEASE_MS

START, STOP, UPDATE, INSPECT = Operation.START, Operation.STOP, Operation.UPDATE, Operation.INSPECT
RECORD, PAGE = ("volcengine", "StartRecord"), ("tencent", "StartWebRecord")


@pytest.fixture
def booth(tmp_path: Path) -> Iterator[Booth]:
    booth = Booth(tmp_path)
    yield booth
    booth.caller.stop()
    booth.ledger.close()


def started(booth: Booth, vendor: str, action: str, number: int = 1) -> str | None:
    """Starts a task at the vendor behind the caller's back; the id that it minted."""
    task = task_of(vendor, action, number)
    booth.want(task)
    booth.caller.once()
    minted: str | None = booth.answers()[-1]["vendor_task_id"]
    with booth.ledger.write() as connection:
        effects.forget(connection, [(task.id, 1)])
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
def test_a_start_is_made_as_the_vendor_wants_it_and_its_answer_posted(booth: Booth, vendor: str, action: str) -> None:
    task = task_of(vendor, action)
    booth.want(task)

    assert booth.caller.once() == 1

    (truth,) = booth.world.truth()
    answer = booth.only_answer()
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
    assert booth.standing() == [(task.id, 1, True)]
    assert (booth.rung, booth.caller.once()) == (1, 0)


def test_stop_and_update_name_the_task(booth: Booth) -> None:
    mixed = ("volcengine", "StartPushMixedStreamToCDN")
    started(booth, *mixed)
    task = task_of(*mixed, operation=UPDATE, pursuit={"serial": 2, "params": {"Layout": {"LayoutMode": 2}}})
    booth.want(replace(task, id="u"), replace(task, id="s", calls={STOP: Pursuit(since=T0, serial=3)}))

    assert booth.caller.once() == 2

    found = [told(answer, "operation", "serial", "outcome", "action") for answer in booth.answers()[1:]]
    assert found == [("update", 2, "accepted", "UpdatePushMixedStreamToCDN"), ("stop", 3, "accepted", "StopPushStreamToCDN")]
    assert json.loads(booth.sent[1].body)["Layout"] == {"LayoutMode": 2}


def test_an_inspection_tells_how_the_task_stands(booth: Booth) -> None:
    minted = started(booth, "tencent", "CreateCloudRecording")
    booth.now += 60_000
    booth.want(replace(task_of("tencent", "CreateCloudRecording", operation=INSPECT, known=minted), id="i"))

    booth.caller.once()

    answer = booth.answers()[-1]
    assert told(answer, "operation", "outcome", "action", "sent_at") == (
        "inspect",
        "accepted",
        "DescribeCloudRecording",
        T0 + 60_000,
    )
    assert inspection_from_doc(answer["inspection"]).sign is Sign.RUNNING


def test_a_page_whose_start_was_lost_is_found_by_our_id(tmp_path: Path) -> None:
    booth = Booth(tmp_path, faults=Faults(ambiguous=1.0))
    task = task_of(*PAGE)
    booth.want(task)
    booth.caller.once()
    assert told(booth.only_answer(), "outcome", "code", "vendor_task_id") == ("ambiguous", "cut_off", None)

    booth.before = lambda request: replying(booth, request)
    asking = {START: Pursuit(since=T0, failures=1, ambiguous=(1,)), INSPECT: Pursuit(since=T0, serial=2)}
    booth.want(replace(task, calls=asking))
    booth.caller.once()

    assert booth.answers()[-1]["vendor_task_id"] == booth.world.truth()[0].vendor_task_id
    booth.ledger.close()


def replying(booth: Booth, request: HttpRequest) -> Reply:
    """The vendor's answer, though the connection was dropped."""
    reply = booth.world.handle("tencent", "POST", "/", "", request.headers, request.body, booth.now)
    return Reply(status=reply.status, headers=reply.headers, body=reply.body)


@pytest.mark.parametrize(
    ("reply", "outcome", "code", "retry_after_s"),
    [
        (Reply(status=502, headers={}, body=b"<html>"), "ambiguous", "http_502", None),
        (Reply(status=429, headers={"Retry-After": "7"}, body=b""), "throttled", "http_429", 7.0),
        (Reply(status=302, headers={}, body=b""), "refused", "http_302", None),
        (Reply(status=200, headers={}, body=b"\xff"), "ambiguous", "unreadable", None),
        (WireError.NOT_SENT, "retry", "not_sent", None),
        (WireError.CUT_OFF, "ambiguous", "cut_off", None),
    ],
)
def test_whatever_comes_back_is_an_answer(booth: Booth, reply: Any, outcome: str, code: str, retry_after_s: float | None) -> None:
    def instead(_: HttpRequest) -> Reply:
        if isinstance(reply, WireError):
            raise NoAnswer(reply, "no answer")
        found: Reply = reply
        return found

    booth.before = instead
    booth.want(task_of(*RECORD))
    booth.caller.once()

    assert told(booth.only_answer(), "outcome", "code", "retry_after_s") == (outcome, code, retry_after_s)


def test_it_is_told_how_long_the_answer_took(booth: Booth) -> None:
    def slowly(_: HttpRequest) -> None:
        booth.now += 1_500

    booth.before = slowly
    booth.want(task_of(*RECORD))
    booth.caller.once()
    assert told(booth.only_answer(), "sent_at", "duration_ms") == (T0, 1_500)


# What is not made.


@pytest.mark.parametrize(
    "change",
    [
        lambda task: replace(task, calls={}),
        lambda task: replace(task, calls={START: Pursuit(since=T0, serial=2)}),
        lambda task: replace(task, calls={START: Pursuit(since=T0, serial=None)}),
        lambda task: replace(task, calls={STOP: Pursuit(since=T0, serial=1)}),
        lambda task: replace(task, view=replace(task.view, stop_asked_at=T0)),
        lambda task: replace(task, view=replace(task.view, state=State.STOPPING)),
        lambda task: replace(task, view=replace(task.view, state=State.ACCEPTED)),
        lambda task: replace(task, wiped=True),
    ],
)
def test_a_start_that_nothing_wants_any_more_is_not_made(booth: Booth, change: Callable[[Task], Task]) -> None:
    task = task_of(*RECORD)
    booth.want(task)
    making.save(booth.ledger, change(task))

    assert booth.caller.once() == 1

    assert booth.sent == []
    answer = booth.only_answer()
    assert told(answer, "operation", "serial", "outcome", "action", "duration_ms") == ("start", 1, "not_made", "", None)
    assert booth.standing() == [(task.id, 1, True)]


def test_other_calls_are_made_in_any_state(booth: Booth) -> None:
    booth.want(task_of(*RECORD, operation=STOP, view=replace(task_of(*RECORD).view, state=State.FAILED, stop_asked_at=T0)))
    booth.caller.once()
    assert booth.only_answer()["outcome"] == "already_gone"


def test_a_call_of_a_task_that_nobody_knows_is_not_made(booth: Booth) -> None:
    task = task_of(*RECORD)
    with booth.ledger.write() as connection:
        effects.add(connection, [booth.wanted(task, START, task.calls[START])])
    booth.caller.once()
    assert told(booth.only_answer(), "task_id", "outcome") == (task.id, "not_made")


def test_without_an_account_no_call_is_made(tmp_path: Path) -> None:
    booth = Booth(tmp_path, settings=Settings(apps=tuple(replace(app, account=None) for app in SETTINGS.apps)))
    booth.want(task_of(*RECORD))
    booth.caller.once()
    assert (booth.only_answer()["outcome"], booth.sent) == ("not_made", [])
    booth.ledger.close()


def test_what_has_no_id_is_not_stopped(booth: Booth) -> None:
    booth.want(task_of(*PAGE, operation=STOP))
    booth.caller.once()
    assert (booth.only_answer()["outcome"], booth.sent) == ("not_made", [])


def test_a_call_whose_lease_is_over_is_not_made(booth: Booth) -> None:
    """Somebody may have said of it that nobody knows."""
    booth.want(task_of(*RECORD))
    until_it_is_taken = iter([T0] * 3)
    booth.new_caller(clock=lambda: next(until_it_is_taken, T0 + LEASE_MS)).once()
    assert (booth.only_answer()["outcome"], booth.sent) == ("not_made", [])


# Several queries.


def pushing(booth: Booth, action: str, **more: Any) -> Task:
    """A push that runs and of which we know only its id."""
    started(booth, "volcengine", action)
    asking = {INSPECT: Pursuit(since=T0, serial=2, **more)}
    return replace(task_of("volcengine", action, operation=INSPECT), id="i", action=None, params={}, calls=asking)


def test_a_task_that_one_query_does_not_know_is_asked_for_by_the_next(booth: Booth) -> None:
    task = pushing(booth, "StartPushSingleStreamToCDN")
    booth.want(task)
    booth.caller.once()
    first = booth.answers()[-1]
    assert told(first, "outcome", "inspection", "step", "action") == (
        "accepted",
        None,
        {"index": 1},
        "GetPushMixedStreamToCDNTask",
    )

    booth.want(replace(task, id="j"), step=first["step"])
    booth.caller.once()
    second = booth.answers()[-1]
    assert told(second, "outcome", "step", "action") == ("accepted", None, "GetPushSingleStreamToCDNTask")
    assert second["inspection"]["sign"] != "gone"


def test_the_pursuit_says_which_query_where_the_effect_does_not(booth: Booth) -> None:
    booth.want(pushing(booth, "StartPushSingleStreamToCDN", step={"index": 1}))
    booth.caller.once()
    assert booth.answers()[-1]["action"] == "GetPushSingleStreamToCDNTask"


def test_only_when_no_query_knows_it_it_is_gone(booth: Booth) -> None:
    task = replace(pushing(booth, "StartPushMixedStreamToCDN", step={"index": 1}))
    booth.want(task)
    booth.caller.once()
    assert told(booth.answers()[-1], "outcome", "step") == ("already_gone", None)
    assert booth.answers()[-1]["inspection"]["sign"] == "gone"


def test_all_pages_of_a_list_are_asked_for(booth: Booth) -> None:
    """The vendor lists a room's relays, the newest first and a hundred at a time."""
    account = booth.accounts.account_of("volcengine", APPS["volcengine"].app_id)
    assert account is not None
    for number in range(1, 103):
        call = start_call("volcengine", "StartRelayStream", number, RoomId="r1", UserId=f"robot{number}")
        booth.send(DIALECTS["volcengine"].sign(call, account, booth.now))
        booth.now += 20
    oldest = task_of("volcengine", "StartRelayStream", operation=INSPECT)

    booth.want(oldest)
    booth.caller.once()
    first = booth.only_answer()
    assert told(first, "outcome", "inspection", "action") == ("accepted", None, "ListRelayStream")
    assert first["step"]["call"]["params"]["Offset"] == 100

    booth.want(replace(oldest, id="j"), step=first["step"])
    booth.caller.once()
    assert told(booth.answers()[-1], "outcome", "step") == ("accepted", None)
    assert booth.answers()[-1]["inspection"]["sign"] in ("accepted", "running")


# Quotas.


def test_no_more_calls_go_out_than_the_vendor_takes_and_none_is_lost(booth: Booth) -> None:
    booth.want(*(task_of("tencent", "CreateCloudRecording", number) for number in range(1, 61)))
    booth.want(task_of(*RECORD, number=99))

    rounds = []
    while booth.standing() != sorted((task, serial, True) for task, serial, _ in booth.standing()):
        rounds.append(booth.caller.once())
        booth.now += 50

    assert rounds[0] == 3
    assert Counter(answer["outcome"] for answer in booth.answers()) == {"accepted": 61}
    assert booth.world.counters.quota_breaches == {}
    assert 3_000 < booth.now - T0 < 4_500


def bucket_of(booth: Booth, name: str) -> Bucket | None:
    with booth.ledger.write() as connection:
        return quotas._read(connection, name)


def test_a_vendor_that_says_too_many_is_called_more_slowly(booth: Booth) -> None:
    booth.before = lambda _: Reply(status=429, headers={"Retry-After": "5"}, body=b"")
    booth.want(task_of(*RECORD), task_of(*RECORD, number=2))

    booth.caller.once()

    assert [answer["outcome"] for answer in booth.answers()] == ["throttled", "throttled"]
    name = booth.accounts.bucket("volcengine", task_of(*RECORD).key.app_id, "StartRecord")
    bucket = bucket_of(booth, name)
    assert bucket is not None
    assert (bucket.pace, bucket.blocked_until) == (0.7, T0 + 5_000)
    booth.want(task_of(*RECORD, number=3))
    assert booth.caller.once() == 0
    booth.now += 5_000
    assert booth.caller.once() == 1


# Leases.


def take(booth: Booth) -> None:
    """As a process that dies before it brings an answer."""
    with booth.ledger.write() as connection:
        effects.claim(connection, booth.now, 9, LEASE_MS, booth.accounts.limit)


@pytest.mark.parametrize(("operation", "outcome"), [(START, "ambiguous"), (STOP, "retry"), (UPDATE, "retry"), (INSPECT, "retry")])
def test_of_a_call_whose_lease_is_over_nobody_knows(booth: Booth, operation: Operation, outcome: str) -> None:
    booth.want(task_of(*RECORD, operation=operation, pursuit={"serial": 3}))
    take(booth)
    booth.now += LEASE_MS - 1
    assert (booth.caller.once(), booth.answers()) == (0, [])

    booth.now += 1
    assert booth.caller.once() == 1

    answer = booth.only_answer()
    assert told(answer, "operation", "serial", "outcome", "code", "lease") == (operation.value, 3, outcome, "no_answer", True)
    assert told(answer, "sent_at", "duration_ms", "inspection", "step") == (T0, None, None, None)
    assert (booth.sent, booth.rung) == ([], 1)
    assert [attempt[1:] for attempt in booth.standing()] == [(3, True)], "it is waited for until that is applied"
    assert booth.caller.once() == 0


def test_the_real_answer_counts_however_late_it_comes(booth: Booth) -> None:
    def meanwhile(_: HttpRequest) -> None:
        booth.now += LEASE_MS + 1
        booth.new_caller().once()

    booth.before = meanwhile
    booth.want(task_of(*PAGE))
    booth.caller.once()

    lost, real = booth.answers()
    assert told(lost, "outcome", "lease", "vendor_task_id") == ("ambiguous", True, None)
    assert told(real, "outcome", "lease", "serial") == ("accepted", False, 1)
    assert real["vendor_task_id"] == booth.world.truth()[0].vendor_task_id


# A ledger that is away, and bugs.


class Away:
    """A ledger whose write transactions fail for a while."""

    def __init__(self, booth: Booth, failures: int, *, after: int) -> None:
        self._ledger = booth.ledger
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


def test_once_says_that_the_ledger_is_away(booth: Booth) -> None:
    booth.want(task_of(*RECORD))
    caller = booth.new_caller(Away(booth, 1, after=1))
    with pytest.raises(LedgerUnavailableError):
        caller.once()


def until(true: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    pause = threading.Event()
    for _ in range(1_000):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it never came true")


def test_an_answer_is_posted_as_soon_as_the_ledger_is_back(booth: Booth) -> None:
    away = Away(booth, 2, after=1)
    booth.caller = booth.new_caller(away)
    booth.want(task_of(*PAGE))
    booth.caller.start()

    until(lambda: len(booth.answers()) == 1)

    assert (away.failed, booth.only_answer()["outcome"], len(booth.sent)) == (2, "accepted", 1)


def test_a_bug_in_one_call_holds_up_no_other(booth: Booth) -> None:
    def buggy(request: HttpRequest) -> None:
        if b'"t1"' in request.body:
            raise ZeroDivisionError

    booth.before = buggy
    booth.want(task_of(*RECORD), task_of(*RECORD, number=2))
    booth.caller.start()
    until(lambda: len(booth.answers()) == 1)
    assert booth.only_answer()["task_id"] == task_of(*RECORD, number=2).id


# Threads.


def test_calls_are_made_at_once_as_many_as_there_may_be(tmp_path: Path) -> None:
    booth = Booth(tmp_path)
    booth.caller = booth.new_caller(at_once=3)
    together, go_on = threading.Semaphore(0), threading.Event()

    def gather(_: HttpRequest) -> Reply:
        together.release()
        assert go_on.wait(10)
        return Reply(status=200, headers={}, body=b'{"ResponseMetadata": {"RequestId": "r"}, "Result": ""}')

    booth.before = gather
    booth.want(*(task_of(*RECORD, number=number) for number in range(1, 6)))
    booth.caller.start()
    booth.caller.wake()
    for _ in range(3):
        assert together.acquire(timeout=10)
    assert not together.acquire(timeout=0.1)
    assert Counter(taken for _, _, taken in booth.standing()) == {True: 3, False: 2}

    go_on.set()
    until(lambda: len(booth.answers()) == 5)
    booth.caller.stop()
    booth.ledger.close()


def test_stopping_lets_calls_under_way_finish_and_begins_no_other(booth: Booth) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: HttpRequest) -> None:
        begun.set()
        assert go_on.wait(10)

    booth.caller = booth.new_caller(at_once=1)
    booth.before = hold
    booth.want(task_of(*RECORD), task_of(*RECORD, number=2))
    booth.caller.start()
    assert begun.wait(10)

    stopping = threading.Thread(target=booth.caller.stop)
    stopping.start()
    until(booth.caller._stopping.is_set)
    go_on.set()
    stopping.join(timeout=10)

    assert [answer["outcome"] for answer in booth.answers()] == ["accepted"]
    assert [taken for _, _, taken in booth.standing()] == [True, False]


def test_two_callers_never_make_one_call_twice(booth: Booth) -> None:
    tasks = [task_of("volcengine", "StartPushMixedStreamToCDN", number) for number in range(1, 31)]
    booth.want(*tasks)
    booth.before = lambda _: Reply(status=200, headers={}, body=b'{"ResponseMetadata": {"RequestId": "r"}, "Result": ""}')
    callers = [booth.new_caller(at_once=4) for _ in range(3)]
    for caller in callers:
        caller.start()
    until(lambda: advanced(booth) >= 30)
    for caller in callers:
        caller.stop()

    ids = Counter(json.loads(request.body)["TaskId"] for request in booth.sent)
    assert ids == {f"t{number}": 1 for number in range(1, 31)}
    assert Counter(answer["task_id"] for answer in booth.answers()) == {task.id: 1 for task in tasks}


def advanced(booth: Booth) -> int:
    """Lets a little time pass; how many answers there are."""
    booth.now += 50
    return len(booth.answers())
