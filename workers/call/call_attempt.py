"""What became of one attempt of a call, as the inbox and the log tell it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.ledger.effects import Effect
from adapters.logs import logger
from adapters.vendors.answers import unsure
from adapters.vendors.calls import Answer, Call, Operation, Outcome
from statemachine.calls import inspection_to_doc
from workers.call.call_builder import Step

#: How long an answer is waited for before it counts as lost: longer than any call takes, ms.
LEASE_MS = 30_000

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of an effect. Times in ms. `call` None: none was made, or nobody knows."""

    effect: Effect
    answer: Answer
    call: Call | None = None
    step: Step | None = None
    sent_at: int
    duration_ms: int | None = None
    #: Nobody brought an answer.
    lease: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.effect.task_id, str(self.effect.serial), "lease" if self.lease else "answer"

    def payload(self) -> Mapping[str, Any]:
        """The inbox row that tells it."""
        answer, inspection = self.answer, self.answer.inspection
        return {
            "task_id": self.effect.task_id,
            "operation": self.effect.operation,
            "serial": self.effect.serial,
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
            "lease": self.lease,
        }


def lost(effect: Effect) -> Attempt:
    """The attempt whose lease is over."""
    answer = Answer(outcome=unsure(Operation(effect.operation)), code="no_answer")
    return Attempt(effect=effect, answer=answer, sent_at=effect.lease_until - LEASE_MS, lease=True)


_DONE = (Outcome.ACCEPTED, Outcome.ALREADY_THERE, Outcome.ALREADY_GONE)


def tell(attempt: Attempt) -> None:
    """Logs it; what was sent and what came back may be secret."""
    effect, answer = attempt.effect, attempt.answer
    about = {"task_id": effect.task_id, "vendor": effect.vendor, "operation": effect.operation, "number": effect.serial}
    if attempt.lease:
        log.warning("call.unanswered", **about)
        return
    if attempt.call is None:
        log.info("call.not_made", **about)
        return
    about |= {"action": attempt.call.action, "outcome": answer.outcome.value, "duration_ms": attempt.duration_ms}
    if answer.outcome not in _DONE:
        heals = answer.outcome in (Outcome.THROTTLED, Outcome.RETRY)  # what happens daily must not bury what does not
        say = log.info if heals else log.warning
        say("call.failed", **about, code=answer.code, request_id=answer.request_id)
    elif effect.operation == Operation.INSPECT:
        log.debug("call.made", **about)
    else:
        log.info("call.made", **about, request_id=answer.request_id)
