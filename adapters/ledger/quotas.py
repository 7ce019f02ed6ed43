"""How many calls may be made: a token bucket for each account and API, kept in the ledger so that it holds across processes.

A vendor that allows N calls/s counts them in any second. A bucket of b tokens that fills by r a second gives at most b + r of
them in one second; so b + r is kept a tenth under N, which leaves room for calls that do not go out at the very moment they were
taken. A vendor that says "too many" all the same is called more slowly for a while: `pace` is the part of r that is used.

Clocks: the bucket follows the most advanced one. One that is behind gets what that one left; one that is far behind (a clock that
was set back) is followed again, without a gift of tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select, update

from adapters.ledger import bulk
from adapters.ledger.schema import quotas

#: A clock that is further behind than this was set back, ms.
_MAX_CLOCK_LAG_MS = 10_000
#: The longest that a vendor's hint is heeded, ms.
_MAX_HINT_MS = 3_600_000
#: What is left of the pace after the vendor said "too many", the least of it, and how much comes back in a second.
_SLOWDOWN_FACTOR, _MIN_PACE, _RECOVERY_PER_S = 0.7, 0.05, 0.1
#: What it says within so many ms is said of the same calls.
_SLOWDOWN_INTERVAL_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketRate:
    """What a limit of so many calls in any second allows."""

    #: Calls at once.
    burst: int
    #: Calls/s in the long run.
    per_s: float


def rate_of(limit: float) -> BucketRate:
    """limit: the vendor's, calls/s. Of a limit of less than 1 it makes 1."""
    most = max(limit, 1.0)
    burst = max(1, int(most // 10))
    # A limit of 1 or 2 leaves nothing beside the burst: every other second is used then.
    return BucketRate(burst=burst, per_s=max(0.9 * most - burst, most / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket as it was at `at`. Times in ms."""

    tokens: float
    at: int
    pace: float = 1.0
    slowed_at: int = 0
    blocked_until: int = 0

    def consume(self, wanted: int, rate: BucketRate, now: int) -> "tuple[int, Bucket]":
        """How many of so many calls may be made now, and the bucket without them. The same one if it needs not be kept anew."""
        seen = self._refilled_at(now, rate)
        granted = 0 if now < seen.blocked_until else max(0, min(wanted, int(seen.tokens + 1e-9)))
        set_back = seen.at < self.at or seen.slowed_at < self.slowed_at or seen.blocked_until < self.blocked_until
        return granted, replace(seen, tokens=seen.tokens - granted) if granted or set_back else self

    def _refilled_at(self, now: int, rate: BucketRate) -> "Bucket":
        """The same, later. Its times are never further ahead of `now` than they can be."""
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
        """The same, after the vendor said "too many"."""
        hint = now + min(_MAX_HINT_MS, max(0, round((retry_after_s or 0) * 1000)))
        blocked = replace(self, blocked_until=min(now + _MAX_HINT_MS, max(self.blocked_until, hint)))
        if abs(now - self.slowed_at) < _SLOWDOWN_INTERVAL_MS:
            return blocked
        return replace(blocked, pace=max(_MIN_PACE, _SLOWDOWN_FACTOR * self.pace_at(now)), slowed_at=now)


def lock(connection: Connection, buckets: Sequence[str], limits: Callable[[str], float], now: int) -> None:
    """Makes sure that nobody else takes from these buckets before this transaction ends. limits: bucket -> calls/s.

    All at once and in one order: two that take some of the same buckets in turn would lock each other.
    """
    if not buckets:
        return
    statement = select(quotas.c.bucket).where(quotas.c.bucket.in_(buckets)).order_by(quotas.c.bucket).with_for_update()
    missing = set(buckets) - set(connection.scalars(statement))
    if missing:
        rows = [_new_row(bucket, rate_of(limits(bucket)), now) for bucket in missing]
        bulk.insert_new(connection, quotas, rows, key=("bucket",))
        connection.execute(statement)


def _new_row(bucket: str, rate: BucketRate, now: int) -> dict[str, Any]:
    return {"bucket": bucket, "tokens": float(rate.burst), "at": now, "pace": 1.0, "slowed_at": 0, "blocked_until": 0}


def consume(connection: Connection, bucket: str, wanted: int, limit: float, now: int) -> int:
    """How many of so many calls may be made now; they count as made. limit: the vendor's, calls/s. now: ms."""
    kept = _read_or_create(connection, bucket, limit, now)
    granted, left = kept.consume(wanted, rate_of(limit), now)
    if left is not kept:
        _save_bucket(connection, bucket, left)
    return granted


def slow_down(connection: Connection, bucket: str, now: int, retry_after_s: float | None) -> None:
    """The vendor said that there were too many calls; `retry_after_s`: its hint. Of a bucket that nobody took from: nothing."""
    kept = _read_bucket(connection, bucket)
    if kept is not None:
        _save_bucket(connection, bucket, kept.slowed(now, retry_after_s))


def _read_or_create(connection: Connection, bucket: str, limit: float, now: int) -> Bucket:
    kept = _read_bucket(connection, bucket)
    if kept is None:
        lock(connection, [bucket], lambda _: limit, now)
        kept = _read_bucket(connection, bucket)
    assert kept is not None, "it was made just now"
    return kept


def _read_bucket(connection: Connection, bucket: str) -> Bucket | None:
    row = connection.execute(select(quotas).where(quotas.c.bucket == bucket).with_for_update()).mappings().first()
    return Bucket(**{name: value for name, value in row.items() if name != "bucket"}) if row is not None else None


def _save_bucket(connection: Connection, bucket: str, seen: Bucket) -> None:
    values = {name: getattr(seen, name) for name in ("tokens", "at", "pace", "slowed_at", "blocked_until")}
    connection.execute(update(quotas).where(quotas.c.bucket == bucket).values(values))
