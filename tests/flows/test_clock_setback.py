"""Once the clock was set back, what waits goes on by its own schedule: while a process looks, and when it starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from statemachine.delivery_policy import longest_retry_delay_ms
from tests.flows.test_calls import VOLC_RELAY, waits
from tests.support.dispatcher_harness import REFUSED, TAKEN, DispatcherHarness, event_id
from tests.support.ledgers import BOTH, open_ledger
from tests.support.scenario import Scenario, answered_with, volcengine_error
from tests.support.times import SECOND
from workers.clock_setback import ClockRepairer

S, MINUTE, HOUR = 1_000, 60_000, 3_600_000
BACK_MS = 8 * HOUR


@pytest.fixture(params=BOTH)
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DispatcherHarness]:
    with open_ledger(request.param, tmp_path) as ledger:
        office = DispatcherHarness(ledger)
        office.subscribe()
        yield office
        office.close()


def fail(office: DispatcherHarness, *names: str) -> None:
    """Each is told and not taken; from now on everything is."""
    office.mailbox.answers = lambda _: REFUSED
    office.tell(*names)
    office.dispatcher.run_once()
    office.mailbox.answers = lambda _: TAKEN


def judge(office: DispatcherHarness, judge_: ClockRepairer | None = None) -> int:
    """How many deliveries were mended."""
    with capture_logs() as logs:
        (judge_ or ClockRepairer(office.ledger)).repair_if_due(office.now)
    return sum(line["deliveries"] for line in logs if line["event"] == "clock.times_mended")


def test_a_webhook_that_waits_is_tried_again_after_its_pause_although_the_clock_was_set_back(office: DispatcherHarness) -> None:
    watching = ClockRepairer(office.ledger)
    judge(office, watching)
    fail(office, "a", "b")
    office.now -= BACK_MS
    assert judge(office, watching) == 2
    office.now += longest_retry_delay_ms(1)
    assert office.dispatcher.run_once() == 2
    assert office.mailbox.ids()[2:] == [event_id("a"), event_id("b")]


def test_a_step_while_nobody_ran_is_mended_at_the_start(office: DispatcherHarness) -> None:
    fail(office, "a")
    office.now -= 400 * 24 * HOUR
    assert (judge(office), judge(office)) == (1, 0)
    office.now += longest_retry_delay_ms(1)
    assert office.dispatcher.run_once() == 1


def test_what_was_ahead_for_a_moment_only_is_sent_in_order(office: DispatcherHarness) -> None:
    watching = ClockRepairer(office.ledger)
    judge(office, watching)
    office.now += 400 * 24 * HOUR
    fail(office, "a", "a")
    judge(office, watching)
    office.now -= 400 * 24 * HOUR
    judge(office, watching)
    office.now += longest_retry_delay_ms(1)
    for _ in range(3):
        office.dispatcher.run_once()
    assert office.mailbox.ids()[1:] == [event_id("a"), event_id("a", 2)]


def test_a_clock_that_goes_on_as_it_should_is_judged_by_once_in_a_while(office: DispatcherHarness) -> None:
    watching = ClockRepairer(office.ledger)
    judge(office, watching)
    fail(office, "a")
    office.now += S
    assert judge(office, watching) == 0
    office.now -= 9 * S  # no more than clocks of several machines may differ
    assert judge(office, watching) == 0


def test_what_another_machine_left_in_the_future_is_found_within_ten_minutes(office: DispatcherHarness) -> None:
    watching = ClockRepairer(office.ledger)
    judge(office, watching)
    office.now += BACK_MS  # the other one's clock
    fail(office, "a")
    office.now -= BACK_MS
    office.now += 9 * MINUTE
    assert judge(office, watching) == 0
    office.now += MINUTE
    assert judge(office, watching) == 1


def test_the_log_says_what_was_mended(office: DispatcherHarness) -> None:
    fail(office, "a", "b")
    office.now -= BACK_MS
    with capture_logs() as logs:
        for _ in range(2):
            ClockRepairer(office.ledger).repair_if_due(office.now)
    told_of = [line for line in logs if line["event"] == "clock.times_mended"]
    assert [(line["deliveries"], line["others"] > 0, line["calls"]) for line in told_of] == [(2, True, 0)]


def test_a_start_that_waits_goes_out_although_the_clock_was_set_back(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(
            VOLC_RELAY[1], answered_with(volcengine_error("ServiceUnavailableTemp", 503, **{"Retry-After": "300"}))
        )
        task_id = story.start(*VOLC_RELAY)
        story.until(lambda: waits(story, task_id, "start_retry"))
        story.house.now -= BACK_MS
        story.house.sweep.run_once()
        story.house.now += 61 * SECOND
        story.house.sweep.run_once()
        story.caller.run_once()
        assert len(story.wire.calls_of(VOLC_RELAY[1])) == 2
        assert [entry["kind"] for entry in story.entries(task_id, "clock_corrected")] == ["clock_corrected"]


def test_a_start_that_waits_as_the_vendor_asked_is_left_alone(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(
            VOLC_RELAY[1], answered_with(volcengine_error("ServiceUnavailableTemp", 503, **{"Retry-After": "300"}))
        )
        task_id = story.start(*VOLC_RELAY)
        story.until(lambda: waits(story, task_id, "start_retry"))
        assert ClockRepairer(story.house.ledger).repair_if_due(story.now) == 0
        story.house.now += 61 * SECOND
        story.house.sweep.run_once()
        story.caller.run_once()
        assert len(story.wire.calls_of(VOLC_RELAY[1])) == 1
