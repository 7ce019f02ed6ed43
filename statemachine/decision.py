"""Decisions: the outputs of `decide`. All of them are frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from statemachine.commands import Command
from statemachine.states import Verdict
from statemachine.tasks import Lineage, Task
from statemachine.transition_table import Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The change of one task."""

    #: None: the task is new.
    before: Task | None
    after: Task
    #: None: neither state nor reason changed.
    move: Move | None = None
    #: Lines for the timeline: each a mapping with `kind` and the members of that kind.
    entries: tuple[Mapping[str, Any], ...] = ()
    commands: tuple[Command, ...] = ()

    @property
    def is_visible(self) -> bool:
        """True if users of the task see a difference: only then it has a new version."""
        return self.before is None or self.after.version != self.before.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The result of one event for one lineage."""

    #: The lineage as it is to be saved.
    lineage: Lineage
    #: The tasks that changed, in the order of their runs.
    changes: tuple[Change, ...] = ()
    #: The commands of the event itself and of all changes.
    commands: tuple[Command, ...] = ()
    verdict: Verdict
    #: One stable word that explains the verdict, where it needs one.
    reason: str | None = None
    #: The task that the event concerned.
    task_id: str | None = None
