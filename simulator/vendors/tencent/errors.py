"""Which error each API gives (its own error list)."""

from collections.abc import Mapping

from adapters.text import FieldProblem
from adapters.vendors.calls import Operation
from simulator.messages import CallRefused
from statemachine.states import Kind


def wrong_parameter(problem: FieldProblem) -> CallRefused:
    words = f"{problem.field} {problem.message}"
    if problem.message.startswith("is missing"):
        return CallRefused("MissingParameter", words)
    if problem.message.startswith("is not a parameter"):
        return CallRefused("UnknownParameter", words)
    return CallRefused("InvalidParameter", words)


#: To a call for a task that ended, or never was.
_ENDED: Mapping[Kind, CallRefused] = {
    Kind.PUSH: CallRefused("ResourceNotFound", "The task does not exist."),
    Kind.RECORD: CallRefused("ResourceNotFound", "The task does not exist."),
    Kind.INGEST: CallRefused("FailedOperation.TaskFinished", "The task has finished."),
    Kind.PAGE: CallRefused("FailedOperation.TaskNotExist", "task not exist"),
}


def ended_task(kind: Kind, operation: Operation) -> CallRefused:
    found = _ENDED[kind]
    if kind is Kind.INGEST and operation is Operation.UPDATE:
        found = CallRefused("FailedOperation.TaskNotExist", "The task does not exist.")
    return CallRefused(found.code, found.message)


def unknown_task(kind: Kind, operation: Operation) -> CallRefused:
    if kind is Kind.INGEST:
        return CallRefused("InvalidParameter.TaskId", "The TaskId is not right.")
    return ended_task(kind, operation)
