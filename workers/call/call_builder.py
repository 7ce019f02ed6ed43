"""Which call to its vendor a task's effect means, and what is asked next where one query is not enough.

Whoever puts an effect into the ledger needs the call's action, for its quota; whoever makes the call needs all of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors import dialect, task_refs
from adapters.vendors.calls import Answer, Call, Operation, Outcome, Sign, TaskRef, from_doc, to_doc
from statemachine.calls import Pursuit
from statemachine.tasks import Task

#: Which of the query calls for a task, and which page of its answer: `{"index": 0, "call": {...}}`; without `call` the first page.
Step = Mapping[str, Any]

#: A query that cannot be answered for so many attempts is passed over, if there is another one.
_PATIENCE = 2
#: The longest that a vendor takes, bytes.
_LONGEST_RECORD_ID = 31


def ref_of(task: Task) -> TaskRef:
    """The task as its vendor's calls name it, before its own id is known too."""
    return task_refs.ref_of(task, record_id(task) if task.action is not None else None)


def record_id(task: Task) -> str:
    """Our id for what the newest start call starts: the same for as long as an earlier attempt may have happened, else a new one.

    A vendor starts nothing twice under one id, and nothing at all under the id of an attempt that it refused.
    """
    start = task.calls.get(Operation.START, Pursuit(since=0))
    asked_about = task.calls.get(Operation.INSPECT, Pursuit(since=0))
    doubtful = start.ambiguous or asked_about.ambiguous
    serial = doubtful[0] if doubtful else start.serial or 1
    return f"{task.id}-{serial}"[:_LONGEST_RECORD_ID]


def call_of(task: Task, operation: Operation, step: Step | None = None) -> Call | None:
    """The call that is wanted; None: there is none (any more), as a stop before the vendor's id is known."""
    return _CALL_OF[operation](task, step)


def _start(task: Task, _: Step | None) -> Call | None:
    if task.action is None or task.wiped:
        return None
    return dialect(task.key.vendor).start(task.action, task.api_version, task.params, record_id=record_id(task))


def _update(task: Task, _: Step | None) -> Call | None:
    pursuit = task.calls.get(Operation.UPDATE)
    return dialect(task.key.vendor).update(ref_of(task), pursuit.params) if pursuit is not None else None


def _stop(task: Task, _: Step | None) -> Call | None:
    return dialect(task.key.vendor).stop(ref_of(task))


def _inspect(task: Task, step: Step | None) -> Call | None:
    if step is not None and step.get("call") is not None:
        return from_doc(step["call"])
    queries, index = dialect(task.key.vendor).inspect(ref_of(task)), _index(step)
    return queries[index] if index < len(queries) else None


_CALL_OF: Mapping[Operation, Callable[[Task, Step | None], Call | None]] = {
    Operation.START: _start,
    Operation.UPDATE: _update,
    Operation.STOP: _stop,
    Operation.INSPECT: _inspect,
}


def _index(step: Step | None) -> int:
    return int(step["index"]) if step is not None else 0


def next_step(task: Task, step: Step | None, answer: Answer) -> Step | None:
    """The query to be made before anything is settled: the next page, or another one that may know the task. None: none."""
    if answer.next_call is not None:
        return {"index": _index(step), "call": to_doc(answer.next_call)}
    further = _index(step) + 1
    if _says_nothing(task, answer) and further < len(dialect(task.key.vendor).inspect(ref_of(task))):
        return {"index": further}
    return None


def _says_nothing(task: Task, answer: Answer) -> bool:
    if answer.inspection is not None:
        return answer.inspection.sign is Sign.GONE
    pursuit = task.calls.get(Operation.INSPECT)
    failures = pursuit.failures if pursuit is not None else 0
    return answer.outcome is Outcome.REFUSED or (answer.outcome is Outcome.RETRY and failures >= _PATIENCE)
