"""Commands: what the state machine orders from the workers. All of them are frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from statemachine.calls import Operation
from statemachine.events import StartRequested, SuccessorReported


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCall:
    """Make this call to the vendor."""

    task_id: str
    operation: Operation
    #: The number of the attempt, counted over all calls of the task.
    serial: int
    #: The step of a query that takes more than one call; None: the first.
    step: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCall:
    """Do not make this call any more. If it is under way, its answer still counts."""

    task_id: str
    serial: int
    #: The decision assumes that no worker has claimed the call; if one has, the batch is to be decided again.
    unsent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PostEvent:
    """Post this event to the inbox: it concerns another task, or starts one."""

    #: Never for a lineage that is being decided.
    event: StartRequested | SuccessorReported
    #: Of a start: the vendor.
    vendor: str = ""


Command = MakeCall | CancelCall | PostEvent
