"""What an answer means (1178322 for its shape; 70426 for the codes of RTC, 6664/116016 and 4640/65080 for the gateway's)."""

from collections.abc import Mapping

from adapters.http_messages import WireError
from adapters.vendors.answers import GONE, Reply, no_answer, settled, unreadable
from adapters.vendors.calls import Answer, Call, CallOutcome, Operation, Sign
from adapters.vendors.json_fields import Fields
from adapters.vendors.volcengine.inspections import AskAgainError, inspected, next_offset
from adapters.vendors.volcengine.requests import next_page

_RETRY, _UNSURE = CallOutcome.RETRY, CallOutcome.AMBIGUOUS

#: Not listed: refused for good. AMBIGUOUS: the work may have been done before the error; that matters only of starts.
CODES: dict[str, CallOutcome] = {
    # The gateway's. Signed anew, an InvalidTimestamp is signed with a fresh clock.
    "InvalidTimestamp": _RETRY,
    "FailToConnect": _RETRY,
    "ServiceUnavailableTemp": _RETRY,
    "UndefinedError": _UNSURE,
    "InternalError": _UNSURE,
    "InternalServiceError": _UNSURE,
    "InternalServiceTimeout": _UNSURE,
    "FlowLimitExceeded": CallOutcome.THROTTLED,
    "AccountFlowLimitExceeded": CallOutcome.THROTTLED,
    # Those of RTC.
    "InternalError.ReachRateLimit": CallOutcome.THROTTLED,
    "InternalError.Unmarshal": CallOutcome.REFUSED,
    "InternalError.InvalidMeta": CallOutcome.REFUSED,
    "InternalError.UserNotFound": CallOutcome.REFUSED,
    "InternalError.RoomNotFound": CallOutcome.REFUSED,
    "InternalError.TaskRepeat": CallOutcome.ALREADY_THERE,
    "InvalidParameter.TaskAlreadyExists": CallOutcome.ALREADY_THERE,
    "InvalidParameter.ErrorActiveTaskNotFound": CallOutcome.ALREADY_GONE,
}
#: For the rest of a family: QPSOverLimit, TaskNumberOverLimit; RPC, Redis, DB, Parallel, LockContention, Unknown ...
FAMILIES: dict[str, CallOutcome] = {"FlowLimitExceeded": CallOutcome.THROTTLED, "InternalError": _UNSURE}

# The Result of a start whose task runs already: HTTP 200 and no Error (1188206, 1188210, 1188215, 1188218).
_STARTED_BEFORE = "the task has been started"


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
    if body is None or not ("ResponseMetadata" in body.raw or "Result" in body.raw):
        return unreadable(reply)
    request_id = body.child("ResponseMetadata").message("RequestId")
    if body.child("ResponseMetadata").raw.get("Error") is not None:
        return _failed(body.child("ResponseMetadata"), reply, request_id)
    if reply.status != 200:
        return unreadable(reply)
    if call.operation is Operation.INSPECT:
        return _asked(call, body, request_id)
    result = body.message("Result") or ""
    if call.operation is Operation.START and result.strip().lower().startswith(_STARTED_BEFORE):
        return Answer(outcome=CallOutcome.ALREADY_THERE, message=result, request_id=request_id)
    return Answer(outcome=CallOutcome.ACCEPTED, request_id=request_id)


def _failed(metadata: Fields, reply: Reply, request_id: str | None) -> Answer:
    error = metadata.child("Error")
    code = error.message("Code") or error.message("CodeN") or "unreadable"
    outcome = settled(CODES.get(code) or FAMILIES.get(code.split(".")[0]), reply)
    gone = outcome is CallOutcome.ALREADY_GONE and reply.operation is Operation.INSPECT
    return Answer(
        outcome=outcome,
        code=code,
        message=error.message("Message"),
        request_id=request_id,
        retry_after_s=reply.retry_after_s,
        inspection=GONE if gone else None,
    )


def _asked(call: Call, body: Fields, request_id: str | None) -> Answer:
    try:
        inspection = inspected(call, body)
        offset = next_offset(call, body) if inspection.sign is Sign.GONE else None
    except AskAgainError as problem:
        return Answer(outcome=problem.outcome, code=problem.code, message=str(problem), request_id=request_id)
    if offset is not None:
        return Answer(outcome=CallOutcome.ACCEPTED, request_id=request_id, next_call=next_page(call, offset))
    outcome = CallOutcome.ALREADY_GONE if inspection.sign is Sign.GONE else CallOutcome.ACCEPTED
    return Answer(outcome=outcome, request_id=request_id, inspection=inspection)
