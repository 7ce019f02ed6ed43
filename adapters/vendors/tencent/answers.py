"""Reads answers. Errors come with HTTP 200 (34270; the error lists of the API pages)."""

import re
from collections.abc import Mapping

from adapters.http_messages import WireError
from adapters.vendors.answers import GONE, RawReply, answer_without_reply, outcome_of_error, unreadable_answer, unsure_outcome
from adapters.vendors.calls import Call, CallAnswer, CallOutcome, Operation, Sign
from adapters.vendors.json_fields import Fields
from adapters.vendors.tencent.inspections import read_inspection

_RETRY = CallOutcome.RETRY

#: Codes that are not listed mean REFUSED. AMBIGUOUS: the work may have been done before the error; matters only for starts.
CODES: dict[str, CallOutcome] = {
    # The retry is signed with the current time.
    "AuthFailure.SignatureExpire": _RETRY,
    "ServiceUnavailable": _RETRY,
    "ResourceInsufficient.RequestRejection": _RETRY,
    "FailedOperation.QueryTaskInfoFailed": _RETRY,
    # Capacity may be free again soon; retries of a start end with its deadline.
    "FailedOperation.RestrictedConcurrency": _RETRY,
    "FailedOperation.RestrictedFrequency": CallOutcome.THROTTLED,
    "OperationDenied.FreqOverLimit": CallOutcome.THROTTLED,
    "FailedOperation.TaskExist": CallOutcome.ALREADY_THERE,
    "FailedOperation.TaskFinished": CallOutcome.ALREADY_GONE,
    "FailedOperation.TaskNotExist": CallOutcome.ALREADY_GONE,
}
#: For codes that are not listed, by the part before the first dot.
FAMILIES: dict[str, CallOutcome] = {
    # Rejected before any work is done.
    "RequestLimitExceeded": CallOutcome.THROTTLED,
    "InternalError": CallOutcome.AMBIGUOUS,
    "ResourceNotFound": CallOutcome.ALREADY_GONE,
}
# DescribeWebRecord and DescribeCloudRecording tell the end of a task only in the message.
_NO_SUCH_TASK = re.compile(r"no such task|task\b.{0,200}\b(not exist|not found)", re.IGNORECASE | re.DOTALL)
_TEXT_COUNTS = ("FailedOperation", "InvalidParameter", "InvalidParameterValue", "ResourceUnavailable")


def read_answer(
    call: Call,
    status: int | None,
    headers: Mapping[str, str],
    body: bytes | None,
    error: WireError | None = None,
    *,
    received_at: int,
) -> CallAnswer:
    """Returns the outcome of a call. status, body: None where no answer came; then `error` says why. Never raises."""
    return _read_reply(
        call, RawReply(operation=call.operation, status=status, headers=headers, body=body, error=error), received_at
    )


def _read_reply(call: Call, reply: RawReply, received_at: int) -> CallAnswer:
    unanswered = answer_without_reply(reply)
    if unanswered is not None:
        return unanswered
    body = reply.fields(received_at)
    if body is None or not isinstance(body.raw.get("Response"), dict):
        return unreadable_answer(reply)
    response = body.child("Response")
    if response.raw.get("Error") is not None:
        return _error_answer(response, reply)
    if reply.status != 200:
        return unreadable_answer(reply)
    return _inspection_answer(call, response) if call.operation is Operation.INSPECT else _accepted_answer(call, response)


def _error_answer(response: Fields, reply: RawReply) -> CallAnswer:
    error = response.child("Error")
    code, message = error.message("Code") or "unreadable", error.message("Message")
    code_outcome = CODES.get(code) or FAMILIES.get(code.split(".")[0])
    if code_outcome is None and code.split(".")[0] in _TEXT_COUNTS and _NO_SUCH_TASK.search(message or ""):
        code_outcome = CallOutcome.ALREADY_GONE
    outcome = outcome_of_error(code_outcome, reply)
    gone = outcome is CallOutcome.ALREADY_GONE and reply.operation is Operation.INSPECT
    return CallAnswer(
        outcome=outcome,
        code=code,
        message=message,
        request_id=response.message("RequestId"),
        retry_after_s=reply.retry_after_s,
        inspection=GONE if gone else None,
    )


def _accepted_answer(call: Call, response: Fields) -> CallAnswer:
    task_id, request_id = response.text("TaskId"), response.message("RequestId")
    if call.operation is Operation.START and task_id is None:
        return CallAnswer(outcome=CallOutcome.AMBIGUOUS, code="no_task_id", request_id=request_id)
    if call.operation is Operation.UPDATE and response.text("Status") == "NotExist":
        return CallAnswer(outcome=CallOutcome.ALREADY_GONE, code="NotExist", request_id=request_id)
    return CallAnswer(outcome=CallOutcome.ACCEPTED, request_id=request_id, vendor_task_id=task_id)


def _inspection_answer(call: Call, response: Fields) -> CallAnswer:
    inspection, request_id = read_inspection(call, response), response.message("RequestId")
    if inspection is None:
        message = f"Status {response.message('Status')} is not documented"
        return CallAnswer(outcome=unsure_outcome(call.operation), code="unreadable", message=message, request_id=request_id)
    outcome = CallOutcome.ALREADY_GONE if inspection.sign is Sign.GONE else CallOutcome.ACCEPTED
    task_id = response.text("TaskId")
    return CallAnswer(outcome=outcome, request_id=request_id, vendor_task_id=task_id, inspection=inspection)
