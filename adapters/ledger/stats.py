"""The statistics of `/v1/stats`: read from sums and from the ends of indexes, so that frequent reads cost little."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from adapters.ledger import delivery_lag, facets
from adapters.ledger.counters import add, add_all, fold_older, set_values, sums
from adapters.ledger.deadlines import overdue
from adapters.ledger.inbox import backlog
from adapters.ledger.schema import counters

#: Sums per second are kept for this time before they are folded into one, s.
_KEPT_S = 120
#: Maximum difference between the clocks of several machines, s.
_SKEW_S = 10
_FOLDED_LABEL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The statistics. Ages in s; None where nothing waits."""

    tasks: dict[tuple[str, str, str], int]
    anomalies: dict[str, int]
    received: int
    rejected: int
    last_minute: int
    #: Callbacks that could not be made durable, and when the last of them arrived, ms.
    unrecorded: int
    last_unrecorded_at: int | None
    by_verdict: dict[str, int]
    unapplied_callbacks: int
    oldest_unapplied_s: float | None
    overdue_deadlines: int
    most_overdue_s: float | None
    undelivered_events: int
    oldest_undelivered_s: float | None


def read(connection: Connection, now: int) -> Stats:
    """Reads the statistics. now: ms."""
    unapplied, oldest = backlog(connection)
    due, most = overdue(connection, now)
    undelivered, oldest_undelivered = delivery_lag.read(connection)
    received = sums(connection, "received")
    since, until = f"{now // 1000 - 60}/~", f"{now // 1000 + _SKEW_S}/~"  # a label continues with a process id after the second
    return Stats(
        tasks=facets.by_state(connection),
        anomalies=facets.by_anomaly(connection),
        received=sum(received.values()),
        rejected=sum(sums(connection, "rejected").values()),
        last_minute=sum(value for label, value in received.items() if label != _FOLDED_LABEL and since < label <= until),
        by_verdict=_sums_by_verdict(connection),
        unrecorded=sum(sums(connection, "unrecorded").values()),
        last_unrecorded_at=max(sums(connection, "unrecorded_at").values(), default=None),
        unapplied_callbacks=unapplied,
        oldest_unapplied_s=_age_s(oldest, now),
        overdue_deadlines=due,
        most_overdue_s=_age_s(most, now),
        undelivered_events=undelivered,
        oldest_undelivered_s=_age_s(oldest_undelivered, now),
    )


def has_old_seconds(connection: Connection, now: int) -> bool:
    """Returns whether there are sums of seconds that no statistic needs any more."""
    old = counters.c.label < str(now // 1000 - _KEPT_S)
    return connection.execute(select(counters.c.label).where(counters.c.name == "received", old).limit(1)).first() is not None


def fold_old_seconds(connection: Connection, now: int) -> None:
    """Folds the sums of those seconds into one."""
    fold_older(connection, "received", str(now // 1000 - _KEPT_S), _FOLDED_LABEL)


def by_verdict(connection: Connection) -> dict[tuple[str, str], int]:
    """Returns (vendor, verdict) -> number of callbacks."""
    return {(vendor, word): n for label, n in sums(connection, "verdict").items() for vendor, word in [label.split("/")]}


def moves(connection: Connection) -> dict[tuple[str, str, str], int]:
    """Returns (vendor, kind, state) -> number of transitions of tasks to that state."""
    return {_split_label(label): value for label, value in sums(connection, "moves").items()}


def calls(connection: Connection) -> dict[tuple[str, str, str], int]:
    """Returns (vendor, action, outcome) -> number of calls with that outcome."""
    return {_split_label(label): value for label, value in sums(connection, "calls").items()}


def deadlines_passed(connection: Connection) -> dict[str, int]:
    """Returns kind -> number of deadlines of that kind that passed."""
    return sums(connection, "passed")


def count_rejected(connection: Connection, by_reason: dict[str, int]) -> None:
    add(connection, "rejected", by_reason)


def add_unrecorded(connection: Connection, by_vendor: Mapping[str, int], last: Mapping[str, int]) -> None:
    """Counts callbacks that could not be made durable. last: when the last of them arrived, by vendor; ms."""
    add(connection, "unrecorded", by_vendor)
    set_values(connection, "unrecorded_at", {vendor: last[vendor] for vendor in by_vendor})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """Changes of the sums by one batch. Labels have slashes, which `by_verdict`, `moves`, `calls` and `deadlines_passed` split."""

    verdicts: Mapping[str, int]
    moves: Mapping[str, int]
    passed: Mapping[str, int]
    calls: Mapping[str, int] = field(default_factory=dict)


def add_batch(connection: Connection, counts: BatchCounts) -> None:
    add_all(connection, {"verdict": counts.verdicts, "moves": counts.moves, "passed": counts.passed, "calls": counts.calls})


def _sums_by_verdict(connection: Connection) -> dict[str, int]:
    words: Counter[str] = Counter()
    for (_, word), value in by_verdict(connection).items():
        words[word] += value
    return dict(words)


def _split_label(label: str) -> tuple[str, str, str]:
    first, second, third = label.split("/")
    return first, second, third


def _age_s(since: int | None, now: int) -> float | None:
    # For a time that lies ahead, because the clock was set back, the difference: 0 would look healthy and raise no alert.
    return None if since is None else abs(now - since) / 1000
