"""Tasks, and the lineage of all tasks and facts that share one vendor key. All of it is stored in the ledger."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.facts import Fact
from statemachine.fast_dataclasses import fast_init
from statemachine.folding.run_view import View
from statemachine.states import Anomaly, Deadline, Kind, Origin

#: Prefix of the family in a provisional key; no vendor's family begins with it.
_PROVISIONAL = "~"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKey:
    """The vendor's identity of a task. `family` separates tasks that may share an id: a kind, or a group of events."""

    vendor: str
    app_id: str
    #: Empty if the vendor's ids are unique without it.
    room_id: str
    vendor_task_id: str
    family: str

    @property
    def is_provisional(self) -> bool:
        """True if the vendor assigns the id and has not reported it yet: our own id stands in its place."""
        return self.family.startswith(_PROVISIONAL)

    @property
    def final_family(self) -> str:
        """The family once the vendor's id is known."""
        return self.family.removeprefix(_PROVISIONAL)

    def provisional_key(self, task_id: str) -> "TaskKey":
        """Returns the key of our task with this id until the vendor's own id is known."""
        return replace(self, room_id="", vendor_task_id=task_id, family=_PROVISIONAL + self.final_family)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePass:
    """The last time that a deadline passed. Times in ms."""

    #: The time from which it counted: the deadline is armed again once that changes.
    base: int
    at: int
    #: Number of times it passed for this base.
    times: int = 1


@fast_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run of a stream task. Times in ms since the epoch."""

    id: str
    key: TaskKey
    #: 1 for the oldest known run of the key.
    run: int
    kind: Kind
    origin: Origin
    #: Key of the fact that made it: the task stays with the run that contains this fact.
    anchor: str
    view: View
    anomalies: tuple[Anomaly, ...] = ()
    deadlines: Mapping[Deadline, int] = field(default_factory=dict)
    #: Time of the newest sign that raised an anomaly, so that only a newer sign raises a cleared anomaly again.
    raised: Mapping[Anomaly, int] = field(default_factory=dict)
    passed: Mapping[Deadline, DeadlinePass] = field(default_factory=dict)
    #: The vendor's action name, API version and parameters of the start call (managed tasks).
    action: str | None = None
    api_version: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Secrets were removed from `params` and `policy`: no call can be made from them any more.
    wiped: bool = False
    #: As given in the request; `policy.parse_policy` adds the defaults.
    policy: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Number of start calls that were answered, or counted as lost.
    attempts: int = 0
    #: Calls to the vendor that are still pending.
    calls: Mapping[Operation, PendingCall] = field(default_factory=dict)
    #: Serial number of the newest attempt of any call.
    serial: int = 0
    #: The predecessor that it renews, and the successor that renews it.
    renews: str | None = None
    renewed_by: str | None = None
    #: The task that it restarts, the task that restarts it, and the number of restarts so far.
    restarts: str | None = None
    restarted_by: str | None = None
    restart_count: int = 0
    #: When the ledger was last restored from a backup in which the task was live or had pending calls, ms: it may have changed
    #: since the backup.
    restored_at: int | None = None
    created_at: int
    updated_at: int
    version: int = 1
    #: The task that replaces this one since both were found to be the same.
    merged_into: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRuns:
    """The oldest runs of a lineage, whose facts were dropped (`folding.archiving`)."""

    #: Number of archived runs.
    runs: int = 0
    #: Facts older than this belong to an archived run, ms.
    until: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Facts and tasks of one vendor key: the set of facts, and one task for each run that they form."""

    key: TaskKey
    facts: tuple[Fact, ...] = ()
    #: In the order of their runs, without merged tasks.
    tasks: tuple[Task, ...] = ()
    sealed: ArchivedRuns = ArchivedRuns()


def task_id(key: TaskKey, anchor: str, at: int) -> str:
    """Returns a new task's id: 26 characters that sort by time; the same arguments give the same id.

    Ten characters of `at` (ms), sixteen of a hash over key and anchor, in Crockford's base 32 (the form of a ULID).
    """
    text = "\x00".join((key.vendor, key.app_id, key.room_id, key.vendor_task_id, key.family, anchor))
    return _crockford_id(at, int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:10]))


def new_id(at: int, random_bits: int) -> str:
    """Returns a new id of the same form for other things than tasks. at: ms. random_bits: 80 bits."""
    return _crockford_id(at, random_bits)


def earliest_id(at: int) -> str:
    """Returns a lower bound: no task made at this time (ms) or later has an id that sorts before it."""
    return _crockford_id(max(0, at), 0)


def _crockford_id(at: int, digest: int) -> str:
    number = (at << 80) | digest
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -5, -5))
