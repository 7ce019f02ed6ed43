"""Builds the vendor call that a task needs, and decides the next query if one is not enough.

The batch that writes a call into the ledger needs its action, for the quota; the caller that makes it needs the whole call.
"""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors import calls as vendor_calls
from adapters.vendors import dialect
from adapters.vendors.calls import Call, CallAnswer, CallOutcome, Operation, Sign, TaskRef, from_doc, to_doc
from statemachine.calls import PendingCall
from statemachine.tasks import Task

#: One of the query calls for a task, and a page of its answer: `{"index": 0, "call": {...}}`; without `call` the first page.
Step = Mapping[str, Any]

#: Failed attempts after which a query is skipped, if there is another one.
_MAX_QUERY_FAILURES = 2
#: Length limit of the record id of `Dialect.start`, bytes.
_MAX_RECORD_ID_BYTES = 31


def ref_of(task: Task) -> TaskRef:
    """Returns the reference by which calls name the task, even before the vendor's id is known."""
    return vendor_calls.task_ref(task, record_id(task) if task.action is not None else None)


def record_id(task: Task) -> str:
    """Returns our id for what the newest start call starts.

    It stays the same as long as an earlier attempt may have started something; else it is new. A vendor starts nothing twice under
    one id, and nothing at all under the id of an attempt that it refused.
    """
    start = task.calls.get(Operation.START, PendingCall(since=0))
    query = task.calls.get(Operation.INSPECT, PendingCall(since=0))
    ambiguous = start.ambiguous or query.ambiguous
    serial = ambiguous[0] if ambiguous else start.serial or 1
    return f"{task.id}-{serial}"[:_MAX_RECORD_ID_BYTES]


def build_call(task: Task, operation: Operation, step: Step | None = None) -> Call | None:
    """Returns the call for an operation; None if there is none (any more), such as a stop before the vendor's id is known."""
    return _BUILDERS[operation](task, step)


def _start_call(task: Task, _: Step | None) -> Call | None:
    if task.action is None or task.wiped:
        return None
    return dialect(task.key.vendor).start(task.action, task.api_version, task.params, record_id=record_id(task))


def _update_call(task: Task, _: Step | None) -> Call | None:
    pending = task.calls.get(Operation.UPDATE)
    return dialect(task.key.vendor).update(ref_of(task), pending.params) if pending is not None else None


def _stop_call(task: Task, _: Step | None) -> Call | None:
    return dialect(task.key.vendor).stop(ref_of(task))


def _query_call(task: Task, step: Step | None) -> Call | None:
    if step is not None and step.get("call") is not None:
        return from_doc(step["call"])
    queries, index = dialect(task.key.vendor).inspect(ref_of(task)), _query_index(step)
    return queries[index] if index < len(queries) else None


_BUILDERS: Mapping[Operation, Callable[[Task, Step | None], Call | None]] = {
    Operation.START: _start_call,
    Operation.UPDATE: _update_call,
    Operation.STOP: _stop_call,
    Operation.INSPECT: _query_call,
}


def _query_index(step: Step | None) -> int:
    return int(step["index"]) if step is not None else 0


def next_step(task: Task, step: Step | None, answer: CallAnswer) -> Step | None:
    """Returns the query to make before the answer counts: the next page, or another query that may know the task. None: none."""
    if answer.next_call is not None:
        return {"index": _query_index(step), "call": to_doc(answer.next_call)}
    further = _query_index(step) + 1
    if _is_inconclusive(task, answer) and further < len(dialect(task.key.vendor).inspect(ref_of(task))):
        return {"index": further}
    return None


def _is_inconclusive(task: Task, answer: CallAnswer) -> bool:
    if answer.inspection is not None:
        return answer.inspection.sign is Sign.GONE
    pending = task.calls.get(Operation.INSPECT)
    failures = pending.failures if pending is not None else 0
    return answer.outcome is CallOutcome.REFUSED or (answer.outcome is CallOutcome.RETRY and failures >= _MAX_QUERY_FAILURES)
