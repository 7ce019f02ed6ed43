"""What is put before `decide`, and what it answers. All values are frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from statemachine.facts import Fact
from statemachine.moves import Move
from statemachine.states import Anomaly, Deadline, State, Verdict
from statemachine.tasks import Lineage, Pass, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A callback, or a callback read again."""

    fact: Fact
    #: Facts of this inbox row are replaced (a replay).
    replaces: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A callback read again does not concern this lineage any more."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A deadline's time has come."""

    task_id: str
    kind: Deadline
    due_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """An operator's own word. Names the task, whoever said it, and why."""

    task_id: str
    #: STOPPED, FAILED or LOST: counts as inferred.
    state: State | None = None
    clear: tuple[Anomaly, ...] = ()
    note: str = ""
    by: str = ""
    #: Tells this word from every other one.
    key: str


Event = Heard | Withdrawn | Passed | Marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """Ask the vendor how this task stands."""

    task_id: str
    #: The deadline that asks; None: a contradiction does.
    deadline: Deadline | None = None


Effect = Inspect


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an event did to one task."""

    before: Task | None
    after: Task
    move: Move | None = None
    #: Lines for the timeline: each a mapping with `kind` and what belongs to it.
    entries: tuple[Mapping[str, Any], ...] = ()

    @property
    def visible(self) -> bool:
        """Whether the task as its users see it changed: only then it has a new version."""
        return self.before is None or self.after.version != self.before.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    lineage: Lineage
    #: Only tasks of which anything changed, in the order of their runs.
    changes: tuple[Change, ...] = ()
    effects: tuple[Effect, ...] = ()
    verdict: Verdict
    #: One stable word beside the verdict, where there is something to say.
    reason: str | None = None
    #: The task that the event concerned.
    task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """What an event does to one task beside its facts."""

    task_id: str
    passed: Mapping[Deadline, Pass] | None = None
    raise_: Anomaly | None = None
    clear: tuple[Anomaly, ...] = ()
    entries: tuple[Mapping[str, Any], ...] = ()
