"""The error of each API in each case (its own error list)."""

from collections.abc import Mapping

from adapters.text import FieldProblem
from adapters.vendors.calls import Operation
from simulator.messages import CallRefused
from statemachine.states import Kind


def wrong_parameter(problem: FieldProblem) -> CallRefused:
    """Returns the error for a wrong parameter."""
    message = f"{problem.field} {problem.message}"
    if problem.message.startswith("is missing"):
        return CallRefused("MissingParameter", message)
    if problem.message.startswith("is not a parameter"):
        return CallRefused("UnknownParameter", message)
    return CallRefused("InvalidParameter", message)


#: The error of calls for a task that has ended, or never existed.
_ENDED: Mapping[Kind, CallRefused] = {
    Kind.PUSH: CallRefused("ResourceNotFound", "The task does not exist."),
    Kind.RECORD: CallRefused("ResourceNotFound", "The task does not exist."),
    Kind.INGEST: CallRefused("FailedOperation.TaskFinished", "The task has finished."),
    Kind.PAGE: CallRefused("FailedOperation.TaskNotExist", "task not exist"),
}


def ended_task(kind: Kind, operation: Operation) -> CallRefused:
    """Returns the error of a call for a task that has ended."""
    error = _ENDED[kind]
    if kind is Kind.INGEST and operation is Operation.UPDATE:
        error = CallRefused("FailedOperation.TaskNotExist", "The task does not exist.")
    return CallRefused(error.code, error.message)


def unknown_task(kind: Kind, operation: Operation) -> CallRefused:
    """Returns the error of a call for a task that never existed."""
    if kind is Kind.INGEST:
        return CallRefused("InvalidParameter.TaskId", "The TaskId is not right.")
    return ended_task(kind, operation)
