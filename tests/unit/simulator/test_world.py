"""A world repeats exactly, runs in virtual time, and has only the faults that it is given."""

import time
from collections import Counter

import pytest

from adapters.vendors.calls import CallOutcome
from simulator import STEADY, Cause, Faults, Plan, World
from statemachine.states import Reason, State
from tests.support.start_calls import STARTS, TENCENT, Customer, follow, read, start_call
from tests.support.times import HOUR, MINUTE, SECOND, T0
from tests.unit.simulator.test_smoke import run_tasks

FAULTS = Faults(lose=0.1, double=0.2, delay=0.3, ambiguous=0.1, throttle=0.1)


def steady(**faults: float) -> Customer:
    return Customer(World(1, Faults(**faults), T0, plan=STEADY))


def bytes_of(customer: Customer) -> list[tuple[int, bytes, tuple[tuple[str, str], ...]]]:
    return [(one.due_at, one.body, tuple(one.headers.items())) for one in customer.heard]


# --- repeating ---


def test_the_same_seed_and_calls_give_the_same_bytes_and_another_seed_others():
    first, again, other = run_tasks(7, 60, FAULTS), run_tasks(7, 60, FAULTS), run_tasks(8, 60, FAULTS)
    assert bytes_of(first) == bytes_of(again)
    assert first.world.truth() == again.world.truth()
    assert first.world.counters == again.world.counters
    assert bytes_of(first) != bytes_of(other)


def test_how_finely_time_is_advanced_changes_nothing():
    coarse, fine = Customer(World(3, None, T0)), Customer(World(3, None, T0))
    for customer in (coarse, fine):
        for vendor, action in STARTS:
            customer.start(vendor, action)
    while coarse.now < T0 + 3 * HOUR:
        coarse.now += 10 * MINUTE
        coarse.heard += coarse.world.advance_to(coarse.now)
    fine.wait(3 * HOUR)
    assert bytes_of(coarse) == bytes_of(fine)


# --- time ---


def test_72_hours_pass_in_under_a_second_and_end_a_relay():
    customer = steady()
    customer.start("volcengine", "StartRelayStream")
    began = time.perf_counter()
    customer.wait(73 * HOUR)
    assert time.perf_counter() - began < 1

    truth = customer.truth()
    assert (truth.cause, truth.state, truth.reason) == (Cause.LIFETIME, State.EXPIRED, Reason.MAX_LIFETIME)
    assert truth.ended_at == truth.began_at + 72 * HOUR
    assert customer.world.next_event_ms() is None


def test_a_planned_start_waits_and_its_life_counts_from_there():
    customer = steady()
    planned = (T0 + 5 * HOUR) // 1000
    control = STARTS["volcengine", "StartRelayStream"]["Control"] | {"StartTimeStamp": planned}
    customer.start("volcengine", "StartRelayStream", Control=control)
    customer.wait(4 * HOUR)
    assert (customer.truth().phase, customer.truth().media_at) == ("created", None)
    customer.wait(80 * HOUR)
    assert customer.truth().ended_at == planned * 1000 + 72 * HOUR


@pytest.mark.parametrize(
    ("vendor", "action", "more", "after"),
    [
        ("volcengine", "StartRecord", {"Control": {"MaxRecordTime": 600}}, 600),
        ("volcengine", "StartWebcast", {"MaxRunningTime": 300}, 300),
        ("tencent", "StartStreamIngest", {"RepeatNum": -1, "MaxDuration": 20}, 1200),
        ("tencent", "StartWebRecord", {"MaxDurationLimit": 1800}, 1800),
    ],
)
def test_an_allowed_life_ends(vendor: str, action: str, more: dict, after: int):
    customer = steady()
    customer.start(vendor, action, **more)
    customer.wait(2 * HOUR)
    truth = customer.truth()
    assert (truth.cause, truth.ended_at) == (Cause.LIFETIME, truth.began_at + after * SECOND)


@pytest.mark.parametrize(
    ("vendor", "action", "more", "idle_s"),
    [
        ("volcengine", "StartRelayStream", {}, 300),
        ("volcengine", "StartRelayStream", {"MaxIdleTime": 7}, 7),
        ("volcengine", "StartRecord", {"Control": {"MaxIdleTime": 20}}, 20),
        ("tencent", "StartPublishCdnStream", {}, 30),
    ],
)
def test_a_task_without_publishers_ends_after_its_idle_time(vendor: str, action: str, more: dict, idle_s: int):
    plan = Plan(end_probabilities={Cause.IDLE: 1.0}, never_published=0, interruptions=0, longest_s=60)
    customer = Customer(World(1, None, T0, plan=plan))
    customer.start(vendor, action, **more)
    customer.wait(HOUR)
    truth = customer.truth()
    assert (truth.cause, truth.media_at) == (Cause.IDLE, (truth.ended_at or 0) - (60 + idle_s) * SECOND)


# --- faults of callbacks ---


def with_faults(**faults: float) -> Customer:
    customer = steady(**faults)
    for number in range(40):
        customer.start("volcengine", "StartPushMixedStreamToCDN", number)
        customer.wait(50)
    customer.wait(10 * MINUTE)
    return customer


def events(customer: Customer) -> list[str]:
    return [read(callback)[1].key for callback in customer.heard]


def test_without_faults_each_callback_comes_once():
    customer = with_faults()
    assert Counter(Counter(events(customer)).values()) == {1: 80}
    assert customer.world.counters.callbacks == {
        "volcengine made": 80,
        "volcengine sent": 80,
        "volcengine delivered": 80,
    }


def test_lost_callbacks_never_come():
    customer, counted = with_faults(lose=0.3), with_faults(lose=0.3).world.counters.callbacks
    assert 10 < counted["volcengine lost"] < 40
    assert len(customer.heard) == 80 - counted["volcengine lost"]
    assert with_faults(lose=1).heard == []


def test_doubled_callbacks_come_twice():
    customer = with_faults(double=1)
    assert set(Counter(events(customer)).values()) == {2}
    assert customer.world.counters.callbacks["volcengine doubled"] == 80


def test_delayed_callbacks_come_late_and_in_another_order():
    customer = with_faults(delay=1, max_delay_s=60)
    times = [read(callback)[1].at for callback in customer.heard]
    assert times != sorted(times)
    late = [callback.due_at - callback.source_event.at for callback in customer.heard]
    assert 30 * SECOND < max(late) < 61 * SECOND


def test_a_tencent_callback_that_comes_twice_has_other_bytes_and_is_the_same_event():
    customer = steady(double=1)
    customer.start("tencent", "StartStreamIngest")
    customer.wait(5 * MINUTE)
    first, second = customer.heard
    assert first.body != second.body
    assert read(first)[1].key == read(second)[1].key


# --- retries ---


@pytest.mark.parametrize(
    ("vendor", "action", "after_s"),
    [
        ("volcengine", "StartWebcast", [0, 2, 4]),
        ("tencent", "StartStreamIngest", [0, 0, 10, 20, 30, 40, 50]),
    ],
)
def test_a_callback_that_fails_is_tried_again_as_the_vendor_does(vendor: str, action: str, after_s: list[int]):
    customer = steady()
    customer.start(vendor, action)
    tries = customer.wait(10 * MINUTE, status=503)
    assert [(one.due_at - tries[0].due_at) // SECOND for one in tries] == after_s
    assert [one.attempt for one in tries] == list(range(1, len(after_s) + 1))
    assert len({read(one)[1].key for one in tries}) == 1
    assert customer.world.counters.callbacks[f"{vendor} given_up"] == 1


# --- faults of calls ---


def test_an_ambiguous_call_is_done_and_its_connection_dropped():
    customer = steady(ambiguous=1)
    answer = customer.start("tencent", "StartStreamIngest")
    assert (answer.outcome, customer.truth().alive) == (CallOutcome.AMBIGUOUS, True)


def test_a_slow_call_is_done_and_answered_late():
    customer = steady(slow=1, slow_s=12)
    reply = customer.send("volcengine", start_call("volcengine", "StartRecord"))
    assert (reply.after_ms, reply.status, customer.truth().alive) == (12_000, 200, True)


@pytest.mark.parametrize(("fault", "outcome"), [("throttle", CallOutcome.THROTTLED), ("refuse", CallOutcome.REFUSED)])
@pytest.mark.parametrize(("vendor", "action"), STARTS)
def test_a_throttled_or_refused_start_is_not_done(vendor: str, action: str, fault: str, outcome: CallOutcome):
    customer = steady(**{fault: 1})
    assert customer.start(vendor, action).outcome is outcome
    assert customer.world.truth() == ()


@pytest.mark.parametrize(("vendor", "action"), STARTS)
def test_a_forgotten_task_falls_silent_and_no_call_knows_it(vendor: str, action: str):
    customer = steady(forget=1)
    customer.start(vendor, action)
    customer.wait(HOUR)
    truth, count = customer.truth(), len(customer.heard)
    assert (truth.cause, truth.state, truth.reason) == (Cause.FORGOTTEN, State.LOST, Reason.UNKNOWN_TO_VENDOR)
    assert customer.stop().outcome in (CallOutcome.ALREADY_GONE, CallOutcome.REFUSED)
    if action != "StartPublishCdnStream":
        assert customer.inspect().outcome is CallOutcome.ALREADY_GONE
    customer.wait(HOUR)
    assert len(customer.heard) == count
    assert all(lineage.tasks[0].view.ended_at is None for lineage in follow(customer.world, customer.heard).values())


# --- control by tests ---


def test_a_room_can_be_dismissed_and_a_task_ended():
    customer = steady()
    customer.start("tencent", "CreateCloudRecording", 5)
    customer.start("volcengine", "StartRelayStream", 5)
    customer.wait(MINUTE)
    customer.world.dismiss_room("tencent", TENCENT.app_id, "5")
    customer.world.end(customer.world.find("volcengine", "t5"), Cause.CRASHED)
    customer.wait(MINUTE)
    assert [truth.cause for truth in customer.world.truth()] == [Cause.DISMISSED, Cause.CRASHED]
    assert b'"LeaveCode":2' in next(one.body for one in customer.heard if one.event_type == "302")


def test_stops_are_counted_by_task_and_by_health():
    customer = steady()
    customer.start("volcengine", "StartRelayStream")
    customer.wait(MINUTE)
    customer.stop()
    customer.stop()
    truth = customer.truth()
    assert (truth.stops, truth.healthy_stops, truth.alive) == ((customer.now, customer.now), 2, True)
    customer.wait(MINUTE)
    assert customer.truth().cause is Cause.STOPPED
