"""What a call's answer means before any vendor's words are read, and where there are none."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.http_messages import WireError, header_value
from adapters.vendors.calls import Answer, CallOutcome, Inspection, Operation, Sign
from adapters.vendors.json_fields import Fields, NotAnObjectError, json_object

#: A longer hint is no hint.
_LONGEST_HINT_S = 3600
#: What a query says of a task that the vendor does not know.
GONE = Inspection(sign=Sign.GONE)

_TOO_MANY = 429
_TIMEOUT = 408


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back over the wire."""

    operation: Operation
    status: int | None
    headers: Mapping[str, str]
    body: bytes | None
    error: WireError | None

    @property
    def broken(self) -> bool:
        """The server failed: it may have done its work before."""
        return self.status is not None and (self.status >= 500 or self.status == _TIMEOUT)

    @property
    def retry_after_s(self) -> float | None:
        """Retry-After in seconds; no vendor documents it, and its form as a date is not read."""
        hint = header_value(self.headers, "retry-after")
        seconds = int(hint) if hint.isascii() and hint.isdigit() and len(hint) <= 9 else None
        return float(seconds) if seconds is not None and seconds <= _LONGEST_HINT_S else None

    def fields(self, received_at: int) -> Fields | None:
        """The JSON object in its body."""
        try:
            return Fields(json_object(self.body or b""), received_at)
        except NotAnObjectError:
            return None


def unsure(operation: Operation) -> CallOutcome:
    """It may have happened: that matters only of a start, all other calls can be repeated."""
    return CallOutcome.AMBIGUOUS if operation is Operation.START else CallOutcome.RETRY


def no_answer(reply: Reply) -> Answer | None:
    """The answer where nothing came back; None where something did."""
    if reply.error is WireError.NOT_SENT:
        return Answer(outcome=CallOutcome.RETRY, code=WireError.NOT_SENT.value)
    if reply.error is not None or reply.status is None:
        return Answer(outcome=unsure(reply.operation), code=WireError.CUT_OFF.value)
    return None


def unreadable(reply: Reply) -> Answer:
    """The answer where the body is not the vendor's: of a gateway, a proxy, a page that wants a login."""
    code = "unreadable" if reply.status == 200 else f"http_{reply.status}"
    return Answer(outcome=_of_status(reply), code=code, retry_after_s=reply.retry_after_s)


def _of_status(reply: Reply) -> CallOutcome:
    if reply.status == _TOO_MANY:
        return CallOutcome.THROTTLED
    if reply.broken or reply.status is None or reply.status < 300:
        return unsure(reply.operation)
    return CallOutcome.REFUSED


def settled(said: CallOutcome | None, reply: Reply) -> CallOutcome:
    """What a vendor's error means for this call. `said`: what its code means; None: the code is in no table."""
    if said is None:
        return (
            unsure(reply.operation) if reply.broken else CallOutcome.THROTTLED if reply.status == _TOO_MANY else CallOutcome.REFUSED
        )
    if said is CallOutcome.AMBIGUOUS or (said is CallOutcome.RETRY and reply.broken):
        return unsure(reply.operation)
    if said is CallOutcome.ALREADY_THERE and reply.operation is not Operation.START:
        return CallOutcome.REFUSED
    if said is CallOutcome.ALREADY_GONE and reply.operation is Operation.START:
        return CallOutcome.REFUSED
    return said
