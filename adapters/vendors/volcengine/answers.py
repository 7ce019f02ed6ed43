"""Reads answers (1178322 for their shape; 70426 for the codes of RTC, 6664/116016 and 4640/65080 for the gateway's)."""

from collections.abc import Mapping

from adapters.http_messages import WireError
from adapters.vendors.answers import GONE, RawReply, answer_without_reply, outcome_of_error, unreadable_answer
from adapters.vendors.calls import Call, CallAnswer, CallOutcome, Operation, Sign
from adapters.vendors.json_fields import Fields
from adapters.vendors.volcengine.inspections import InconclusiveAnswerError, next_offset, read_inspection
from adapters.vendors.volcengine.requests import next_page

_RETRY, _UNSURE = CallOutcome.RETRY, CallOutcome.AMBIGUOUS

#: Codes that are not listed mean REFUSED. AMBIGUOUS: the work may have been done before the error; matters only for starts.
CODES: dict[str, CallOutcome] = {
    # Codes of the gateway. The retry of an InvalidTimestamp is signed with the current time.
    "InvalidTimestamp": _RETRY,
    "FailToConnect": _RETRY,
    "ServiceUnavailableTemp": _RETRY,
    "UndefinedError": _UNSURE,
    "InternalError": _UNSURE,
    "InternalServiceError": _UNSURE,
    "InternalServiceTimeout": _UNSURE,
    "FlowLimitExceeded": CallOutcome.THROTTLED,
    "AccountFlowLimitExceeded": CallOutcome.THROTTLED,
    # Codes of RTC.
    "InternalError.ReachRateLimit": CallOutcome.THROTTLED,
    "InternalError.Unmarshal": CallOutcome.REFUSED,
    "InternalError.InvalidMeta": CallOutcome.REFUSED,
    "InternalError.UserNotFound": CallOutcome.REFUSED,
    "InternalError.RoomNotFound": CallOutcome.REFUSED,
    "InternalError.TaskRepeat": CallOutcome.ALREADY_THERE,
    "InvalidParameter.TaskAlreadyExists": CallOutcome.ALREADY_THERE,
    "InvalidParameter.ErrorActiveTaskNotFound": CallOutcome.ALREADY_GONE,
}
#: For codes that are not listed, by the part before the first dot: QPSOverLimit, TaskNumberOverLimit;
#: RPC, Redis, DB, Parallel, LockContention, Unknown ...
FAMILIES: dict[str, CallOutcome] = {"FlowLimitExceeded": CallOutcome.THROTTLED, "InternalError": _UNSURE}

# The Result of a start whose task already runs, with HTTP 200 and no Error (1188206, 1188210, 1188215, 1188218).
_STARTED_BEFORE = "the task has been started"


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
    if body is None or not ("ResponseMetadata" in body.raw or "Result" in body.raw):
        return unreadable_answer(reply)
    request_id = body.child("ResponseMetadata").message("RequestId")
    if body.child("ResponseMetadata").raw.get("Error") is not None:
        return _error_answer(body.child("ResponseMetadata"), reply, request_id)
    if reply.status != 200:
        return unreadable_answer(reply)
    if call.operation is Operation.INSPECT:
        return _inspection_answer(call, body, request_id)
    result = body.message("Result") or ""
    if call.operation is Operation.START and result.strip().lower().startswith(_STARTED_BEFORE):
        return CallAnswer(outcome=CallOutcome.ALREADY_THERE, message=result, request_id=request_id)
    return CallAnswer(outcome=CallOutcome.ACCEPTED, request_id=request_id)


def _error_answer(metadata: Fields, reply: RawReply, request_id: str | None) -> CallAnswer:
    error = metadata.child("Error")
    code = error.message("Code") or error.message("CodeN") or "unreadable"
    outcome = outcome_of_error(CODES.get(code) or FAMILIES.get(code.split(".")[0]), reply)
    gone = outcome is CallOutcome.ALREADY_GONE and reply.operation is Operation.INSPECT
    return CallAnswer(
        outcome=outcome,
        code=code,
        message=error.message("Message"),
        request_id=request_id,
        retry_after_s=reply.retry_after_s,
        inspection=GONE if gone else None,
    )


def _inspection_answer(call: Call, body: Fields, request_id: str | None) -> CallAnswer:
    try:
        inspection = read_inspection(call, body)
        offset = next_offset(call, body) if inspection.sign is Sign.GONE else None
    except InconclusiveAnswerError as problem:
        return CallAnswer(outcome=problem.outcome, code=problem.code, message=str(problem), request_id=request_id)
    if offset is not None:
        return CallAnswer(outcome=CallOutcome.ACCEPTED, request_id=request_id, next_call=next_page(call, offset))
    outcome = CallOutcome.ALREADY_GONE if inspection.sign is Sign.GONE else CallOutcome.ACCEPTED
    return CallAnswer(outcome=outcome, request_id=request_id, inspection=inspection)
