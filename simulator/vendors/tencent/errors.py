"""Which error each API gives (its own error list)."""

from collections.abc import Mapping

from adapters.vendors.calls import Operation
from adapters.text import FieldProblem
from simulator.messages import Refused
from statemachine.states import Kind


def wrong_parameter(problem: FieldProblem) -> Refused:
    words = f"{problem.field} {problem.message}"
    if problem.message.startswith("is missing"):
        return Refused("MissingParameter", words)
    if problem.message.startswith("is not a parameter"):
        return Refused("UnknownParameter", words)
    return Refused("InvalidParameter", words)


#: To a call for a task that ended, or never was.
_ENDED: Mapping[Kind, Refused] = {
    Kind.PUSH: Refused("ResourceNotFound", "The task does not exist."),
    Kind.RECORD: Refused("ResourceNotFound", "The task does not exist."),
    Kind.INGEST: Refused("FailedOperation.TaskFinished", "The task has finished."),
    Kind.PAGE: Refused("FailedOperation.TaskNotExist", "task not exist"),
}


def ended(kind: Kind, operation: Operation) -> Refused:
    found = _ENDED[kind]
    if kind is Kind.INGEST and operation is Operation.UPDATE:
        found = Refused("FailedOperation.TaskNotExist", "The task does not exist.")
    return Refused(found.code, found.message)


def never_was(kind: Kind, operation: Operation) -> Refused:
    if kind is Kind.INGEST:
        return Refused("InvalidParameter.TaskId", "The TaskId is not right.")
    return ended(kind, operation)
