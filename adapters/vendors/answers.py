"""The outcome of a call as far as HTTP alone decides it: no answer, an unreadable answer, the status beside a vendor's code."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.http_messages import WireError, header_value
from adapters.vendors.calls import CallAnswer, CallOutcome, Inspection, Operation, Sign
from adapters.vendors.json_fields import Fields, NotAnObjectError, json_object

#: Longest Retry-After that is used, s; a longer one is ignored.
_LONGEST_HINT_S = 3600
#: The inspection of a task that the vendor does not know.
GONE = Inspection(sign=Sign.GONE)

_TOO_MANY = 429
_TIMEOUT = 408


@dataclass(frozen=True, slots=True, kw_only=True)
class RawReply:
    """The HTTP answer to a call, or the error in its place."""

    operation: Operation
    status: int | None
    headers: Mapping[str, str]
    body: bytes | None
    error: WireError | None

    @property
    def server_failed(self) -> bool:
        """True if the server failed: it may have done the work before."""
        return self.status is not None and (self.status >= 500 or self.status == _TIMEOUT)

    @property
    def retry_after_s(self) -> float | None:
        """Retry-After in seconds; no vendor documents it, and its form as a date is ignored."""
        hint = header_value(self.headers, "retry-after")
        seconds = int(hint) if hint.isascii() and hint.isdigit() and len(hint) <= 9 else None
        return float(seconds) if seconds is not None and seconds <= _LONGEST_HINT_S else None

    def fields(self, received_at: int) -> Fields | None:
        """Returns the JSON object in the body; None if there is none."""
        try:
            return Fields(json_object(self.body or b""), received_at)
        except NotAnObjectError:
            return None


def unsure_outcome(operation: Operation) -> CallOutcome:
    """Returns the outcome if the work may have been done: AMBIGUOUS for a start; all other calls can be repeated."""
    return CallOutcome.AMBIGUOUS if operation is Operation.START else CallOutcome.RETRY


def answer_without_reply(reply: RawReply) -> CallAnswer | None:
    """Returns the answer of a call that got no HTTP answer; None if it got one."""
    if reply.error is WireError.NOT_SENT:
        return CallAnswer(outcome=CallOutcome.RETRY, code=WireError.NOT_SENT.value)
    if reply.error is not None or reply.status is None:
        return CallAnswer(outcome=unsure_outcome(reply.operation), code=WireError.CUT_OFF.value)
    return None


def unreadable_answer(reply: RawReply) -> CallAnswer:
    """Returns the answer for a body that is not the vendor's: from a gateway, a proxy or a login page."""
    code = "unreadable" if reply.status == 200 else f"http_{reply.status}"
    return CallAnswer(outcome=_outcome_of_status(reply), code=code, retry_after_s=reply.retry_after_s)


def _outcome_of_status(reply: RawReply) -> CallOutcome:
    if reply.status == _TOO_MANY:
        return CallOutcome.THROTTLED
    if reply.server_failed or reply.status is None or reply.status < 300:
        return unsure_outcome(reply.operation)
    return CallOutcome.REFUSED


def outcome_of_error(code_outcome: CallOutcome | None, reply: RawReply) -> CallOutcome:
    """Returns what a vendor's error means for this call. code_outcome: the meaning of its code; None if it is in no table."""
    if code_outcome is None:
        if reply.server_failed:
            return unsure_outcome(reply.operation)
        return CallOutcome.THROTTLED if reply.status == _TOO_MANY else CallOutcome.REFUSED
    if code_outcome is CallOutcome.AMBIGUOUS or (code_outcome is CallOutcome.RETRY and reply.server_failed):
        return unsure_outcome(reply.operation)
    if code_outcome is CallOutcome.ALREADY_THERE and reply.operation is not Operation.START:
        return CallOutcome.REFUSED
    if code_outcome is CallOutcome.ALREADY_GONE and reply.operation is Operation.START:
        return CallOutcome.REFUSED
    return code_outcome
