"""An event that was taken to be sent to a subscription, and how sending it went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.downstream import Answer
from adapters.ledger.deliveries import Delivery
from adapters.ledger.subscriptions import Subscription

#: So many of the newest attempts of a delivery are kept.
_KEPT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """An event as it is sent: the CloudEvent's id, and all of it as JSON."""

    id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What a thread needs to send it."""

    delivery: Delivery
    subscription: Subscription
    packed: Packed


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Times in ms. at: when it was sent."""

    delivery: Delivery
    #: Where it was sent, in the words of that sink.
    sink: Mapping[str, Any] = field(repr=False)
    answer: Answer
    at: int
    duration_ms: int = 0

    def attempts(self) -> Sequence[Mapping[str, Any]]:
        """Those of the delivery, and this one."""
        answer = self.answer
        this = {
            "at": self.at,
            "status": answer.status,
            "error": answer.error,
            "detail": answer.detail,
            "duration_ms": self.duration_ms,
            "answer": answer.beginning,
        }
        return [*self.delivery.attempts, this][-_KEPT:]

    @property
    def outcome(self) -> str:
        """For the sums."""
        return f"{self.sink['type']}/{'delivered' if self.answer.ok else self.answer.error or 'failed'}"
