"""The result of one attempt to make a call, as an inbox row and as a log line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.ledger.effects import ClaimedCall
from adapters.logs import logger
from adapters.vendors.answers import unsure_outcome
from adapters.vendors.calls import Call, CallAnswer, CallOutcome, Operation
from statemachine.calls import inspection_to_doc
from workers.call.call_builder import Step

#: Lease of a claimed call, ms: longer than any call takes. After it the answer counts as lost.
LEASE_MS = 30_000

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAttempt:
    """An attempt to make a claimed call, and its answer. Times in ms. call: None if no call was made, or it is not known."""

    claimed: ClaimedCall
    answer: CallAnswer
    call: Call | None = None
    step: Step | None = None
    sent_at: int
    duration_ms: int | None = None
    #: True if the lease ended without an answer.
    lease_expired: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """The idempotency key of the inbox row."""
        return self.claimed.task_id, str(self.claimed.serial), "lease" if self.lease_expired else "answer"

    def inbox_payload(self) -> Mapping[str, Any]:
        """Returns the payload of the inbox row, as stored JSON."""
        answer, inspection = self.answer, self.answer.inspection
        return {
            "task_id": self.claimed.task_id,
            "operation": self.claimed.operation,
            "serial": self.claimed.serial,
            "outcome": answer.outcome.value,
            "action": self.call.action if self.call is not None else "",
            "code": answer.code,
            "message": answer.message,
            "request_id": answer.request_id,
            "vendor_task_id": answer.vendor_task_id,
            "retry_after_s": answer.retry_after_s,
            "inspection": inspection_to_doc(inspection) if inspection is not None else None,
            "step": dict(self.step) if self.step is not None else None,
            "sent_at": self.sent_at,
            "duration_ms": self.duration_ms,
            "lease": self.lease_expired,
        }


def expired_attempt(claimed: ClaimedCall) -> CallAttempt:
    """Returns the attempt of a call whose lease ended without an answer."""
    answer = CallAnswer(outcome=unsure_outcome(Operation(claimed.operation)), code="no_answer")
    return CallAttempt(claimed=claimed, answer=answer, sent_at=claimed.lease_until - LEASE_MS, lease_expired=True)


_SUCCESSES = (CallOutcome.ACCEPTED, CallOutcome.ALREADY_THERE, CallOutcome.ALREADY_GONE)
#: Outcomes that occur daily and pass by themselves: logged as info, so that they do not bury the others.
_TEMPORARY = (CallOutcome.THROTTLED, CallOutcome.RETRY)


def log_attempt(attempt: CallAttempt) -> None:
    """Logs an attempt, without what was sent and what came back: both may be secret."""
    claimed, answer = attempt.claimed, attempt.answer
    about = {"task_id": claimed.task_id, "vendor": claimed.vendor, "operation": claimed.operation, "number": claimed.serial}
    if attempt.lease_expired:
        log.warning("call.unanswered", **about)
        return
    if attempt.call is None:
        log.info("call.not_made", **about)
        return
    about |= {"action": attempt.call.action, "outcome": answer.outcome.value, "duration_ms": attempt.duration_ms}
    if answer.outcome not in _SUCCESSES:
        write = log.info if answer.outcome in _TEMPORARY else log.warning
        write("call.failed", **about, code=answer.code, request_id=answer.request_id)
    elif claimed.operation == Operation.INSPECT:
        log.debug("call.made", **about)
    else:
        log.info("call.made", **about, request_id=answer.request_id)
