"""Sends one message to one subscription, once. May be used by any thread."""

from collections.abc import Callable, Mapping

from adapters.clock import monotonic_s
from adapters.downstream import Message, SendResult, Sink
from adapters.ledger.deliveries import Delivery
from adapters.logs import logger
from workers.deliver.messages import OutboundMessage, SendAttempt

#: Rest of its lease that a delivery needs to be sent, ms: no other worker may claim it before the answer arrives.
_LEASE_MARGIN_MS = 20_000

log = logger(__name__)


class Sender:
    """sinks: by type of sink. clock: ms."""

    def __init__(self, sinks: Mapping[str, Sink], clock: Callable[[], int]) -> None:
        self._sinks = sinks
        self._clock = clock

    def send(self, message: OutboundMessage) -> SendAttempt | Delivery:
        """Returns the attempt and its result; the delivery itself, unsent, if too little of its lease was left."""
        delivery, at = message.delivery, self._clock()
        if at > (delivery.lease_until or 0) - _LEASE_MARGIN_MS:
            return delivery
        begun = monotonic_s()
        result = self._send_to_sink(message, at)
        took_ms = round((monotonic_s() - begun) * 1_000)
        return SendAttempt(delivery=delivery, sink=message.subscription.sink, result=result, sent_at=at, duration_ms=took_ms)

    def _send_to_sink(self, message: OutboundMessage, at: int) -> SendResult:
        subscription, event = message.subscription, message.event
        sink = self._sinks.get(subscription.sink_type)
        if sink is None:
            return SendResult(ok=False, error="no_sink", detail="this version of the program has no such sink")
        try:
            sent = Message(id=event.id, body=event.body, at=at)
            return sink.send(subscription.sink, sent, subscription.signing_secrets(at))
        except Exception as error:  # noqa: BLE001 - the thread's edge: a sink should not raise, and the delivery must come back
            return unexpected_failure(message.delivery, error)


def unexpected_failure(delivery: Delivery, error: Exception) -> SendResult:
    """Logs an error of our own that kept a delivery from being sent, and returns it as the result of the attempt."""
    log.error("delivery.failed", subscription_id=delivery.subscription_id, subject=delivery.subject, exc_info=error)
    return SendResult(ok=False, error="bug", detail=repr(error)[:200])
