"""What an answer means. Errors come with HTTP 200 (34270; the error lists of the API pages)."""

import re
from collections.abc import Mapping

from adapters.http_messages import WireError
from adapters.vendors.answers import GONE, Reply, no_answer, settled, unreadable, unsure
from adapters.vendors.calls import Answer, Call, CallOutcome, Operation, Sign
from adapters.vendors.json_fields import Fields
from adapters.vendors.tencent.inspections import inspected

_RETRY = CallOutcome.RETRY

#: Not listed: refused for good. AMBIGUOUS: the work may have been done before the error; that matters only of starts.
CODES: dict[str, CallOutcome] = {
    # Signed anew, it is signed with a fresh clock.
    "AuthFailure.SignatureExpire": _RETRY,
    "ServiceUnavailable": _RETRY,
    "ResourceInsufficient.RequestRejection": _RETRY,
    "FailedOperation.QueryTaskInfoFailed": _RETRY,
    # Capacity may be free again soon; a start gives up after its time.
    "FailedOperation.RestrictedConcurrency": _RETRY,
    "FailedOperation.RestrictedFrequency": CallOutcome.THROTTLED,
    "OperationDenied.FreqOverLimit": CallOutcome.THROTTLED,
    "FailedOperation.TaskExist": CallOutcome.ALREADY_THERE,
    "FailedOperation.TaskFinished": CallOutcome.ALREADY_GONE,
    "FailedOperation.TaskNotExist": CallOutcome.ALREADY_GONE,
}
#: For the rest of a family.
FAMILIES: dict[str, CallOutcome] = {
    # Refused before anything is done.
    "RequestLimitExceeded": CallOutcome.THROTTLED,
    "InternalError": CallOutcome.AMBIGUOUS,
    "ResourceNotFound": CallOutcome.ALREADY_GONE,
}
# DescribeWebRecord and DescribeCloudRecording name the end of a task only in their text.
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
) -> Answer:
    """Returns the outcome of a call. status, body: None where no answer came; then `error` says why. Never raises."""
    return _read(call, Reply(operation=call.operation, status=status, headers=headers, body=body, error=error), received_at)


def _read(call: Call, reply: Reply, received_at: int) -> Answer:
    nothing = no_answer(reply)
    if nothing is not None:
        return nothing
    body = reply.fields(received_at)
    if body is None or not isinstance(body.raw.get("Response"), dict):
        return unreadable(reply)
    response = body.child("Response")
    if response.raw.get("Error") is not None:
        return _failed(response, reply)
    if reply.status != 200:
        return unreadable(reply)
    return _asked(call, response) if call.operation is Operation.INSPECT else _done(call, response)


def _failed(response: Fields, reply: Reply) -> Answer:
    error = response.child("Error")
    code, message = error.message("Code") or "unreadable", error.message("Message")
    said = CODES.get(code) or FAMILIES.get(code.split(".")[0])
    if said is None and code.split(".")[0] in _TEXT_COUNTS and _NO_SUCH_TASK.search(message or ""):
        said = CallOutcome.ALREADY_GONE
    outcome = settled(said, reply)
    gone = outcome is CallOutcome.ALREADY_GONE and reply.operation is Operation.INSPECT
    return Answer(
        outcome=outcome,
        code=code,
        message=message,
        request_id=response.message("RequestId"),
        retry_after_s=reply.retry_after_s,
        inspection=GONE if gone else None,
    )


def _done(call: Call, response: Fields) -> Answer:
    task_id, request_id = response.text("TaskId"), response.message("RequestId")
    if call.operation is Operation.START and task_id is None:
        return Answer(outcome=CallOutcome.AMBIGUOUS, code="no_task_id", request_id=request_id)
    if call.operation is Operation.UPDATE and response.text("Status") == "NotExist":
        return Answer(outcome=CallOutcome.ALREADY_GONE, code="NotExist", request_id=request_id)
    return Answer(outcome=CallOutcome.ACCEPTED, request_id=request_id, vendor_task_id=task_id)


def _asked(call: Call, response: Fields) -> Answer:
    inspection, request_id = inspected(call, response), response.message("RequestId")
    if inspection is None:
        message = f"Status {response.message('Status')} says nothing"
        return Answer(outcome=unsure(call.operation), code="unreadable", message=message, request_id=request_id)
    outcome = CallOutcome.ALREADY_GONE if inspection.sign is Sign.GONE else CallOutcome.ACCEPTED
    task_id = response.text("TaskId")
    return Answer(outcome=outcome, request_id=request_id, vendor_task_id=task_id, inspection=inspection)
