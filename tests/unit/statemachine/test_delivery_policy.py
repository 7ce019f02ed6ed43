"""What is not heard is told again, ever more rarely, for three days; who hears nothing for five is not served any more."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.delivery_policy import DISABLE_AFTER_MS, MAX_AGE_MS, RETRY_DELAYS_MS, is_failing, next_attempt_at

T0 = 1_700_000_000_000
S, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
TRIES = st.integers(1, 100)
DICE = st.floats(0, 1)
HINTS = st.none() | st.floats(min_value=0, allow_nan=False)


@pytest.mark.parametrize(
    ("tries", "pause_ms"),
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
def test_each_pause_is_longer_than_the_one_before_up_to_six_hours_and_longer_by_a_fifth_at_most(tries: int, pause_ms: int) -> None:
    found = [next_attempt_at(tries, T0, T0, dice) for dice in (0, 0.5, 1)]
    assert found == [T0 + pause_ms, T0 + pause_ms * 11 // 10, T0 + pause_ms * 6 // 5]


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
def test_the_last_try_is_three_days_after_the_first_and_then_it_is_dead(now: int, due_at: int | None) -> None:
    found = next_attempt_at(12, T0, T0 + now, 0)
    assert found == (None if due_at is None else T0 + due_at)


@pytest.mark.parametrize(
    ("hint_s", "pause_ms"),
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
def test_a_target_is_left_alone_for_as_long_as_it_asks_but_not_beyond_the_last_try(hint_s: float | None, pause_ms: int) -> None:
    assert next_attempt_at(1, T0, T0, 0, hint_s) == T0 + pause_ms


def test_an_event_that_nobody_takes_is_tried_nineteen_times_over_three_days() -> None:
    now, tried = T0, [0]
    while (due_at := next_attempt_at(len(tried), T0, now, 0)) is not None:
        now = due_at
        tried.append(now - T0)
    usual = list(accumulate(RETRY_DELAYS_MS[:-1], initial=0))
    assert tried == [*usual, *(usual[-1] + 6 * HOUR * more for more in range(1, 12)), MAX_AGE_MS]


@given(tries=TRIES, first=st.integers(0, MAX_AGE_MS), dice=DICE, hint_s=HINTS)
def test_a_try_is_never_in_the_past_nor_behind_the_end(tries: int, first: int, dice: float, hint_s: float | None) -> None:
    now = T0 + first
    due_at = next_attempt_at(tries, T0, now, dice, hint_s)
    assert due_at is None or now < due_at <= T0 + MAX_AGE_MS
    assert (due_at is None) == (now >= T0 + MAX_AGE_MS)


@given(tries=TRIES, more=TRIES, dice=DICE)
def test_the_more_often_it_failed_the_later_it_is_tried(tries: int, more: int, dice: float) -> None:
    assert (next_attempt_at(tries, T0, T0, dice) or 0) <= (next_attempt_at(tries + more, T0, T0, dice) or 0)


@given(tries=TRIES, hints=st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), dice=DICE)
def test_the_longer_a_target_asks_for_the_later_it_is_tried(tries: int, hints: tuple[float, float], dice: float) -> None:
    sooner, later = (next_attempt_at(tries, T0, T0, dice, hint) or 0 for hint in sorted(hints))
    assert sooner <= later


@given(rolled=st.lists(DICE, min_size=60, max_size=60), late_ms=st.integers(0, DAY))
def test_however_the_dice_fall_it_ends(rolled: list[float], late_ms: int) -> None:
    """late_ms: how long after it was due each try is made."""
    now: int | None = T0
    for tries, dice in enumerate(rolled, start=1):
        now = next_attempt_at(tries, T0, now, dice)
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
