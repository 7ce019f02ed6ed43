"""Deliveries are retried with growing delays for three days; a subscription that fails for five days is disabled."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.delivery_policy import DISABLE_AFTER_MS, MAX_AGE_MS, RETRY_DELAYS_MS, is_failing, next_attempt_at
from tests.support.times import T0

S, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
FAILURES = st.integers(1, 100)
JITTER = st.floats(0, 1)
RETRY_AFTER_S = st.none() | st.floats(min_value=0, allow_nan=False)


@pytest.mark.parametrize(
    ("failures", "delay_ms"),
    [
        (1, S),
        (2, 5 * S),
        (3, 30 * S),
        (4, 2 * MINUTE),
        (5, 10 * MINUTE),
        (6, HOUR),
        (7, 6 * HOUR),
        (8, 6 * HOUR),
        (30, 6 * HOUR),
    ],
)
def test_delays_grow_up_to_six_hours_and_are_extended_by_at_most_a_fifth(failures: int, delay_ms: int) -> None:
    attempts = [next_attempt_at(failures, T0, T0, jitter) for jitter in (0, 0.5, 1)]
    assert attempts == [T0 + delay_ms, T0 + delay_ms * 11 // 10, T0 + delay_ms * 6 // 5]


@pytest.mark.parametrize(
    ("now", "due_at"),
    [
        (MAX_AGE_MS - 7 * HOUR, MAX_AGE_MS - HOUR),
        (MAX_AGE_MS - 6 * HOUR, MAX_AGE_MS),
        (MAX_AGE_MS - 1, MAX_AGE_MS),
        (MAX_AGE_MS, None),
        (MAX_AGE_MS + DAY, None),
    ],
)
def test_the_last_attempt_is_three_days_after_the_first_and_then_it_is_dead(now: int, due_at: int | None) -> None:
    due = next_attempt_at(12, T0, T0 + now, 0)
    assert due == (None if due_at is None else T0 + due_at)


@pytest.mark.parametrize(
    ("retry_after_s", "delay_ms"),
    [
        (None, S),
        (0, S),
        (0.5, S),
        (-7, S),
        (1.5, 1_500),
        (3_600, HOUR),
        (3 * 86_400, MAX_AGE_MS),
        (1e12, MAX_AGE_MS),
        (float("inf"), MAX_AGE_MS),
        (float("nan"), S),
    ],
)
def test_retry_after_is_honoured_but_not_beyond_the_last_attempt(retry_after_s: float | None, delay_ms: int) -> None:
    assert next_attempt_at(1, T0, T0, 0, retry_after_s) == T0 + delay_ms


def test_an_event_that_is_never_accepted_is_attempted_nineteen_times_over_three_days() -> None:
    now, tried = T0, [0]
    while (due_at := next_attempt_at(len(tried), T0, now, 0)) is not None:
        now = due_at
        tried.append(now - T0)
    usual = list(accumulate(RETRY_DELAYS_MS[:-1], initial=0))
    assert tried == [*usual, *(usual[-1] + 6 * HOUR * more for more in range(1, 12)), MAX_AGE_MS]


@given(failures=FAILURES, first=st.integers(0, MAX_AGE_MS), jitter=JITTER, retry_after_s=RETRY_AFTER_S)
def test_an_attempt_is_never_in_the_past_nor_after_the_end(
    failures: int, first: int, jitter: float, retry_after_s: float | None
) -> None:
    now = T0 + first
    due_at = next_attempt_at(failures, T0, now, jitter, retry_after_s)
    assert due_at is None or now < due_at <= T0 + MAX_AGE_MS
    assert (due_at is None) == (now >= T0 + MAX_AGE_MS)


@given(failures=FAILURES, more=FAILURES, jitter=JITTER)
def test_more_failures_never_give_an_earlier_attempt(failures: int, more: int, jitter: float) -> None:
    assert (next_attempt_at(failures, T0, T0, jitter) or 0) <= (next_attempt_at(failures + more, T0, T0, jitter) or 0)


@given(failures=FAILURES, hints=st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), jitter=JITTER)
def test_a_longer_retry_after_never_gives_an_earlier_attempt(failures: int, hints: tuple[float, float], jitter: float) -> None:
    sooner, later = (next_attempt_at(failures, T0, T0, jitter, hint) or 0 for hint in sorted(hints))
    assert sooner <= later


@given(rolled=st.lists(JITTER, min_size=60, max_size=60), late_ms=st.integers(0, DAY))
def test_attempts_end_whatever_the_random_numbers(rolled: list[float], late_ms: int) -> None:
    """late_ms: delay of each attempt after it was due."""
    now: int | None = T0
    for failures, jitter in enumerate(rolled, start=1):
        now = next_attempt_at(failures, T0, now, jitter)
        if now is None:
            return
        now += late_ms
    raise AssertionError("it is tried for ever")


@pytest.mark.parametrize(
    ("since", "failing"),
    [
        (None, False),
        (T0, False),
        (T0 - DISABLE_AFTER_MS + 1, False),
        (T0 - DISABLE_AFTER_MS, True),
        (T0 - 6 * DAY, True),
        (T0 + 1, False),
    ],
)
def test_a_subscription_is_failing_once_nothing_was_delivered_for_five_days(since: int | None, failing: bool) -> None:
    assert is_failing(since, T0) is failing
    assert DISABLE_AFTER_MS == 5 * DAY
