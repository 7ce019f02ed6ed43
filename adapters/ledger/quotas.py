"""Rate limits of vendor calls: one token bucket per account and API, kept in the ledger so that it holds across processes.

A vendor that allows N calls/s counts the calls of any second. A bucket of b tokens that refills at r per second grants at most b +
r calls in one second; so b + r is kept a tenth under N, which leaves room for calls that are sent somewhat later than they were
granted. If a vendor answers "too many" all the same, it is called more slowly for a while: `pace` is the part of r that is used.

Clocks: the bucket follows the most advanced one. A process whose clock is behind gets the tokens that are left; a clock that is far
behind (it was set back) is followed again, without extra tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select, update

from adapters.ledger import bulk
from adapters.ledger.schema import quotas

#: A clock that is further behind the bucket than this was set back, ms.
_MAX_CLOCK_LAG_MS = 10_000
#: Maximum time that a vendor's Retry-After hint is followed, ms.
_MAX_HINT_MS = 3_600_000
#: Factor of the pace after a "too many" answer, its minimum, and its recovery per second.
_SLOWDOWN_FACTOR, _MIN_PACE, _RECOVERY_PER_S = 0.7, 0.05, 0.1
#: "Too many" answers within this time (ms) concern the same calls: only the first slows down.
_SLOWDOWN_INTERVAL_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRate:
    """Size and refill rate of a bucket, derived from a vendor's limit."""

    #: Maximum number of calls at once.
    burst: int
    #: Calls/s in the long run.
    per_s: float


def bucket_rate(limit: float) -> BucketRate:
    """Returns the bucket rate for a vendor's limit (calls/s); a limit below 1 counts as 1."""
    most = max(limit, 1.0)
    burst = max(1, int(most // 10))
    # A limit of 1 or 2 leaves nothing beside the burst: every other second is used then.
    return BucketRate(burst=burst, per_s=max(0.9 * most - burst, most / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The state of a bucket at the time `at`. Times in ms."""

    tokens: float
    at: int
    pace: float = 1.0
    slowed_at: int = 0
    blocked_until: int = 0

    def consume(self, requested: int, rate: BucketRate, now: int) -> "tuple[int, Bucket]":
        """Returns (number of granted calls, the bucket without them); the same bucket if it need not be saved."""
        refilled = self._refilled_at(now, rate)
        granted = 0 if now < refilled.blocked_until else max(0, min(requested, int(refilled.tokens + 1e-9)))
        set_back = refilled.at < self.at or refilled.slowed_at < self.slowed_at or refilled.blocked_until < self.blocked_until
        return granted, replace(refilled, tokens=refilled.tokens - granted) if granted or set_back else self

    def _refilled_at(self, now: int, rate: BucketRate) -> "Bucket":
        """Returns the bucket at a later time. Its times are never further ahead of `now` than they can be."""
        return Bucket(
            tokens=min(float(rate.burst), self.tokens + rate.per_s * self.pace_at(now) * max(0, now - self.at) / 1000),
            at=max(self.at, now) if self.at - now <= _MAX_CLOCK_LAG_MS else now,
            pace=self.pace,
            slowed_at=min(self.slowed_at, now),
            blocked_until=min(self.blocked_until, now + _MAX_HINT_MS),
        )

    def pace_at(self, now: int) -> float:
        return min(1.0, self.pace + _RECOVERY_PER_S * max(0, now - self.slowed_at) / 1000)

    def slowed(self, now: int, retry_after_s: float | None) -> "Bucket":
        """Returns the bucket after a "too many" answer of the vendor."""
        hint = now + min(_MAX_HINT_MS, max(0, round((retry_after_s or 0) * 1000)))
        blocked = replace(self, blocked_until=min(now + _MAX_HINT_MS, max(self.blocked_until, hint)))
        if abs(now - self.slowed_at) < _SLOWDOWN_INTERVAL_MS:
            return blocked
        return replace(blocked, pace=max(_MIN_PACE, _SLOWDOWN_FACTOR * self.pace_at(now)), slowed_at=now)


def lock(connection: Connection, buckets: Sequence[str], limits: Callable[[str], float], now: int) -> None:
    """Locks these buckets until the transaction ends; creates missing ones. limits: bucket -> calls/s.

    All at once and in one order: two transactions that lock some of the same buckets one by one could deadlock.
    """
    if not buckets:
        return
    statement = select(quotas.c.bucket).where(quotas.c.bucket.in_(buckets)).order_by(quotas.c.bucket).with_for_update()
    missing = set(buckets) - set(connection.scalars(statement))
    if missing:
        rows = [_new_row(bucket, bucket_rate(limits(bucket)), now) for bucket in missing]
        bulk.insert_new(connection, quotas, rows, key=("bucket",))
        connection.execute(statement)


def _new_row(bucket: str, rate: BucketRate, now: int) -> dict[str, Any]:
    return {"bucket": bucket, "tokens": float(rate.burst), "at": now, "pace": 1.0, "slowed_at": 0, "blocked_until": 0}


def consume(connection: Connection, bucket: str, requested: int, limit: float, now: int) -> int:
    """Takes tokens for calls that are made now; returns the number granted. limit: the vendor's, calls/s. now: ms."""
    before = _read_or_create(connection, bucket, limit, now)
    granted, after = before.consume(requested, bucket_rate(limit), now)
    if after is not before:
        _save_bucket(connection, bucket, after)
    return granted


def slow_down(connection: Connection, bucket: str, now: int, retry_after_s: float | None) -> None:
    """Slows a bucket down after a "too many" answer. retry_after_s: the vendor's hint. Ignores buckets that no call has used."""
    stored = _read_bucket(connection, bucket)
    if stored is not None:
        _save_bucket(connection, bucket, stored.slowed(now, retry_after_s))


def _read_or_create(connection: Connection, bucket: str, limit: float, now: int) -> Bucket:
    stored = _read_bucket(connection, bucket)
    if stored is None:
        lock(connection, [bucket], lambda _: limit, now)
        stored = _read_bucket(connection, bucket)
    assert stored is not None, "lock() has just created it"
    return stored


def _read_bucket(connection: Connection, bucket: str) -> Bucket | None:
    row = connection.execute(select(quotas).where(quotas.c.bucket == bucket).with_for_update()).mappings().first()
    return Bucket(**{name: value for name, value in row.items() if name != "bucket"}) if row is not None else None


def _save_bucket(connection: Connection, bucket: str, state: Bucket) -> None:
    values = {name: getattr(state, name) for name in ("tokens", "at", "pace", "slowed_at", "blocked_until")}
    connection.execute(update(quotas).where(quotas.c.bucket == bucket).values(values))
