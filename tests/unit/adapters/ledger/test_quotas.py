"""Quotas: never more calls in any second than the vendor allows, and no bucket is blocked for ever."""

from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ledger import Connection, Ledger, quotas
from adapters.ledger.quotas import Bucket, BucketRate, bucket_rate
from tests.support.times import HOUR, T0

LIMITS = (20, 60, 150)


class Taken:
    """A new bucket that consumers take tokens from at given times; stored as the ledger stores it."""

    def __init__(self, limit: int, now: int) -> None:
        self.rate = bucket_rate(limit)
        self.bucket = Bucket(tokens=self.rate.burst, at=now)

    def take(self, wanted: int, now: int) -> int:
        granted, self.bucket = self.bucket.consume(wanted, self.rate, now)
        return granted


def take(connection: Connection, wanted: int, now: int, *, limit: float = 20, bucket: str = "b") -> int:
    return quotas.consume(connection, bucket, wanted, limit, now)


def most_in_a_second(granted: Sequence[tuple[int, int]]) -> int:
    """Returns the maximum number of calls within any 1000 ms, both ends included, of (time, number)."""
    return max((sum(n for at, n in granted if since <= at <= since + 1000) for since, _ in granted), default=0)


@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        (20, BucketRate(burst=2, per_s=16)),
        (60, BucketRate(burst=6, per_s=48)),
        (150, BucketRate(burst=15, per_s=120)),
        (1, BucketRate(burst=1, per_s=0.5)),
        (0.1, BucketRate(burst=1, per_s=0.5)),
    ],
)
def test_burst_and_rate_together_stay_a_tenth_under_the_limit(limit: float, rate: BucketRate) -> None:
    assert bucket_rate(limit) == rate


def test_a_new_bucket_grants_its_burst_and_then_its_refill(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert [take(connection, 5, T0), take(connection, 5, T0), take(connection, 5, T0 + 62)] == [2, 0, 0]
        assert [take(connection, 5, T0 + 63), take(connection, 5, T0 + 64)] == [1, 0]
        assert take(connection, 5, T0 + HOUR) == 2


def test_buckets_are_independent(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert [take(connection, 9, T0, bucket=name) for name in ("a", "b", "a")] == [2, 2, 0]


def test_consumed_tokens_are_visible_to_the_next_process(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert take(connection, 2, T0) == 2
    again = Ledger(ledger.url)
    with again.write() as connection:
        assert take(connection, 2, T0) == 0
    again.close()


def test_tokens_of_a_transaction_that_is_rolled_back_are_returned(ledger: Ledger) -> None:
    with ledger.write() as connection:
        take(connection, 2, T0)
        connection.rollback()
    with ledger.write() as connection:
        assert take(connection, 2, T0) == 2


_steps = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 40)), min_size=1, max_size=120)


@settings(deadline=None)
@given(limit=st.sampled_from((1, 2, 3, 7, 10, *LIMITS)), steps=_steps)
def test_no_second_has_more_calls_than_the_vendor_allows(limit: int, steps: list[tuple[int, int]]) -> None:
    times = accumulate(gap for gap, _ in steps)
    bucket = Taken(limit, 0)
    granted = [(at, bucket.take(wanted, at)) for at, (_, wanted) in zip(times, steps, strict=True)]
    assert most_in_a_second(granted) <= limit


@settings(deadline=None)
@given(
    limit=st.sampled_from(LIMITS), offsets=st.lists(st.integers(-9_999, 0), min_size=1, max_size=4), steps=_steps, data=st.data()
)
def test_no_second_has_more_calls_even_if_the_clocks_of_processes_differ(
    limit: int, offsets: list[int], steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Each process has its own clock; seconds are counted by the fastest."""
    times = accumulate(gap for gap, _ in steps)
    bucket, granted = Taken(limit, T0), []
    for at, (_, wanted) in zip(times, steps, strict=True):
        offset = data.draw(st.sampled_from([0, *offsets]))
        granted.append((at, bucket.take(wanted, T0 + at + offset)))
    assert most_in_a_second(granted) <= limit


@settings(deadline=None)
@given(limit=st.sampled_from(LIMITS), backs=st.lists(st.integers(0, 10 * HOUR), min_size=1, max_size=5), steps=_steps)
def test_a_clock_that_is_set_back_grants_nothing_extra(limit: int, backs: list[int], steps: list[tuple[int, int]]) -> None:
    """Seconds are counted by a clock that is never set."""
    times = list(accumulate(gap for gap, _ in steps))
    bucket, granted, behind = Taken(limit, T0), [], 0
    for number, (at, (_, wanted)) in enumerate(zip(times, steps, strict=True)):
        if number % 10 == 9 and backs:
            behind += backs.pop()
        granted.append((at, bucket.take(wanted, T0 + at - behind)))
    assert most_in_a_second(granted) <= limit


@settings(deadline=None)
@given(limit=st.sampled_from((1, *LIMITS)), back=st.integers(0, 1_000 * HOUR), slow=st.integers(0, 20), hint=st.integers(0, 30))
def test_no_bucket_is_blocked_for_ever(limit: int, back: int, slow: int, hint: int) -> None:
    """Calls continue after the vendor's hint or 10 s, however far the clock was set back."""
    bucket = Taken(limit, T0)
    bucket.take(99, T0)
    for number in range(slow):
        bucket.bucket = bucket.bucket.slowed(T0 + number * 1000, float(hint))
    now = T0 + slow * 1000 - back
    waits = range(now, now + max(10_000, min(hint * 1000 + back, HOUR)) + 3_000, 250)
    assert sum(bucket.take(1, at) for at in waits) > 0


def test_a_bucket_grants_as_many_calls_as_allowed() -> None:
    bucket = Taken(20, T0)
    assert sum(bucket.take(32, T0 + ms) for ms in range(0, 10_000, 50)) == 2 + 16 * 10 - 1


# "Too many" answers and hints of the vendor.


def pace(connection: Connection, now: int) -> float:
    bucket = quotas._read_bucket(connection, "b")
    assert bucket is not None
    return bucket.pace_at(now)


def test_too_many_slows_down_once_a_second_and_the_pace_comes_back_by_itself(ledger: Ledger) -> None:
    with ledger.write() as connection:
        take(connection, 1, T0)
        for at in (T0, T0 + 400, T0 + 999):
            quotas.slow_down(connection, "b", at, None)
        assert pace(connection, T0) == pytest.approx(0.7)
        quotas.slow_down(connection, "b", T0 + 1000, None)
        assert pace(connection, T0 + 1000) == pytest.approx(0.8 * 0.7)
        assert pace(connection, T0 + 3000) == pytest.approx(0.8 * 0.7 + 0.2)
        assert pace(connection, T0 + 60_000) == 1


def test_the_pace_has_a_floor() -> None:
    bucket = Bucket(tokens=0, at=T0, pace=0.05, slowed_at=T0 - 1000)
    assert Bucket(tokens=0, at=T0, pace=0.01, slowed_at=T0 - 1000).slowed(T0, None).pace == pytest.approx(0.11 * 0.7)
    assert bucket.slowed(T0 + 1, None).pace == pytest.approx(0.1501 * 0.7)
    assert Bucket(tokens=0, at=T0, pace=-1.0, slowed_at=T0 - 1000).slowed(T0, None).pace == 0.05


def test_a_slower_pace_grants_less(ledger: Ledger) -> None:
    with ledger.write() as connection:
        take(connection, 2, T0)
        quotas.slow_down(connection, "b", T0, None)
        assert sum(take(connection, 9, T0 + ms) for ms in range(0, 1001, 50)) == int(16 * 0.8)


def test_no_call_is_granted_before_the_vendors_retry_after(ledger: Ledger) -> None:
    with ledger.write() as connection:
        take(connection, 1, T0)
        quotas.slow_down(connection, "b", T0, 2.5)
        quotas.slow_down(connection, "b", T0 + 1, 0.5)
        assert [take(connection, 1, T0 + ms) for ms in (0, 2499, 2500)] == [0, 0, 1]


def test_a_hint_is_followed_for_an_hour_at_most(ledger: Ledger) -> None:
    with ledger.write() as connection:
        take(connection, 1, T0)
        quotas.slow_down(connection, "b", T0, 1e9)
        assert [take(connection, 1, T0 + ms) for ms in (HOUR - 1, HOUR)] == [0, 1]


def test_a_hint_does_not_outlast_a_clock_that_was_set_back(ledger: Ledger) -> None:
    with ledger.write() as connection:
        take(connection, 1, T0)
        quotas.slow_down(connection, "b", T0, 60.0)
        back = T0 - 1_000 * HOUR
        assert [take(connection, 1, at) for at in (back, back + HOUR - 1, back + HOUR)] == [0, 0, 1]


def test_slowing_down_an_unused_bucket_stores_nothing(ledger: Ledger) -> None:
    with ledger.write() as connection:
        quotas.slow_down(connection, "b", T0, 60.0)
        assert quotas._read_bucket(connection, "b") is None
