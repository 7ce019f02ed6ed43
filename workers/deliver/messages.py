"""Builds the message that is sent for a claimed delivery, and describes how sending it went."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.contract.cloud_events import cloud_event, event_bytes, test_event
from adapters.downstream import SendResult
from adapters.ledger import events
from adapters.ledger.deliveries import Delivery
from adapters.ledger.events import EventRow
from adapters.ledger.subscriptions import Subscription

#: Encoded events kept in memory at most, for the next subscription that gets the same event.
_MAX_ENCODED = 2_000
#: Attempts kept per delivery at most; the newest are kept.
_MAX_ATTEMPTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedEvent:
    """A CloudEvent as it is sent: its id, and the whole event as JSON."""

    id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundMessage:
    """A claimed delivery with everything that a thread needs to send it."""

    delivery: Delivery
    subscription: Subscription
    event: EncodedEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAttempt:
    """One attempt to send a delivery, and its result. Times in ms."""

    delivery: Delivery
    #: The target, as the sink of that type describes it.
    sink: Mapping[str, Any] = field(repr=False)
    result: SendResult
    sent_at: int
    duration_ms: int = 0

    def attempts_so_far(self) -> Sequence[Mapping[str, Any]]:
        """Returns the delivery's earlier attempts and this one, as stored JSON; the newest `_MAX_ATTEMPTS` of them."""
        result = self.result
        attempt = {
            "at": self.sent_at,
            "status": result.status,
            "error": result.error,
            "detail": result.detail,
            "duration_ms": self.duration_ms,
            "answer": result.excerpt,
        }
        return [*self.delivery.attempts, attempt][-_MAX_ATTEMPTS:]

    @property
    def outcome(self) -> str:
        """The key that counts this attempt in the delivery metrics: "sink type/outcome"."""
        return f"{self.sink['type']}/{'delivered' if self.result.ok else self.result.error or 'failed'}"


class MessageBuilder:
    """Builds outbound messages. Stream keys in events of tasks are always masked. Used by one thread."""

    def __init__(self) -> None:
        #: event id -> the event as it is sent, the oldest first.
        self._encoded: OrderedDict[int, EncodedEvent] = OrderedDict()

    def build(self, delivery: Delivery, subscription: Subscription, row: EventRow | None) -> OutboundMessage:
        """Returns the message of a delivery.

        row: the delivery's event; None for a test event, which has no row. Raises ValueError, KeyError, TypeError and the like
        if the stored event cannot be read.
        """
        return OutboundMessage(delivery=delivery, subscription=subscription, event=self._encoded_event(delivery, row))

    def _encoded_event(self, delivery: Delivery, row: EventRow | None) -> EncodedEvent:
        if delivery.event_id is None:
            return _encode(test_event(delivery.subscription_id, delivery.id, delivery.queued_at))
        encoded = self._encoded.get(delivery.event_id)
        if encoded is None:
            if row is None:
                raise KeyError(delivery.event_id)
            encoded = self._encoded[delivery.event_id] = _encode(cloud_event(events.event_of(row), keys=False))
            if len(self._encoded) > _MAX_ENCODED:
                self._encoded.popitem(last=False)
        return encoded


def _encode(event: dict[str, object]) -> EncodedEvent:
    return EncodedEvent(id=str(event["id"]), body=event_bytes(event))
