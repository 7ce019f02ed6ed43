"""Tasks, and the lineage of tasks that share a vendor's key."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.calls import Operation, Pursuit
from statemachine.facts import Fact, TaskKey
from statemachine.fast_dataclasses import quickly_made
from statemachine.folding.run_view import View
from statemachine.states import Anomaly, Deadline, Kind, Origin

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """When a deadline last passed. Times in ms."""

    #: What it counted from: it is armed again once that changes.
    base: int
    at: int
    #: How often it passed for this base.
    times: int = 1


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run of a stream task, as it is known. Times in ms since the epoch."""

    id: str
    key: TaskKey
    #: 1 for the oldest known run of the key.
    run: int
    kind: Kind
    origin: Origin
    #: The fact that made it: the task stays with the run that holds this fact.
    anchor: str
    view: View
    anomalies: tuple[Anomaly, ...] = ()
    deadlines: Mapping[Deadline, int] = field(default_factory=dict)
    #: The newest sign that raised an anomaly, so that a cleared one is raised again only by news.
    raised: Mapping[Anomaly, int] = field(default_factory=dict)
    passed: Mapping[Deadline, Pass] = field(default_factory=dict)
    #: The vendor's action name, the version of its API and the parameters of its start call (managed tasks).
    action: str | None = None
    api_version: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Secrets were taken out of `params` and `policy`: no call can be made from them any more.
    wiped: bool = False
    #: As it was given; `policy.read` makes it whole.
    policy: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Start calls made and answered, or counted as lost.
    attempts: int = 0
    #: What is wanted of the vendor, and not settled yet.
    calls: Mapping[Operation, Pursuit] = field(default_factory=dict)
    #: Of the newest attempt of any call.
    serial: int = 0
    #: The tasks that it took over from, and that took over from it.
    renews: str | None = None
    renewed_by: str | None = None
    #: The task that it starts again, the task that starts it again, and how often that has been done.
    restarts: str | None = None
    restarted_by: str | None = None
    restart_count: int = 0
    #: When the ledger was last restored from a backup in which it lived, or wanted something, ms: it may have gone on since.
    restored_at: int | None = None
    created_at: int
    updated_at: int
    version: int = 1
    #: The task that tells this one's story since both were found to be one.
    merged_into: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The oldest runs of a lineage, of which only the tasks are left."""

    #: How many.
    runs: int = 0
    #: What is older belongs to one of them, ms.
    until: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """All that is known under one key: the set of facts, and a task for each run that they make."""

    key: TaskKey
    facts: tuple[Fact, ...] = ()
    #: In the order of their runs; merged ones apart.
    tasks: tuple[Task, ...] = ()
    sealed: Sealed = Sealed()


def task_id(key: TaskKey, anchor: str, at: int) -> str:
    """A new task's id: 26 characters that sort by time, the same each time it is asked for.

    Ten characters of `at` (ms), sixteen of a hash over key and anchor, in Crockford's base 32 (the form of a ULID).
    """
    text = "\x00".join((key.vendor, key.app_id, key.room_id, key.vendor_task_id, key.family, anchor))
    return _written(at, int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:10]))


def new_id(at: int, chance: int) -> str:
    """A new id of the same form for what is no task. at: ms. chance: 80 random bits."""
    return _written(at, chance)


def earliest_id(at: int) -> str:
    """No task that was made at this time (ms) or later has an id that sorts before this one."""
    return _written(max(0, at), 0)


def _written(at: int, digest: int) -> str:
    number = (at << 80) | digest
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -5, -5))
