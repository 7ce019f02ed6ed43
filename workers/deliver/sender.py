"""Sends one event to one subscription, once, from whatever thread."""

from collections.abc import Callable, Mapping

from adapters.clock import monotonic_s
from adapters.downstream import Answer, Message, Sink
from adapters.ledger.deliveries import Delivery
from adapters.logs import logger
from workers.deliver.messages import Parcel, Sent

#: An event is not sent when its lease is nearly over, ms: nobody else may have taken it by the time it is answered.
_MARGIN_MS = 20_000

log = logger(__name__)


class Sender:
    """`clock`: ms."""

    def __init__(self, sinks: Mapping[str, Sink], clock: Callable[[], int]) -> None:
        self._sinks = sinks
        self._clock = clock

    def send(self, parcel: Parcel) -> Sent | Delivery:
        """How it went; the delivery itself if there was no time left to send it."""
        delivery, at = parcel.delivery, self._clock()
        if at > (delivery.lease_until or 0) - _MARGIN_MS:
            return delivery
        begun = monotonic_s()
        answer = self._answer(parcel, at)
        took_ms = round((monotonic_s() - begun) * 1_000)
        return Sent(delivery=delivery, sink=parcel.subscription.sink, answer=answer, at=at, duration_ms=took_ms)

    def _answer(self, parcel: Parcel, at: int) -> Answer:
        subscription = parcel.subscription
        sink = self._sinks.get(subscription.sink_type)
        if sink is None:
            return Answer(ok=False, error="no_sink", detail="this version of the program has no such sink")
        try:
            message = Message(id=parcel.packed.id, body=parcel.packed.body, at=at)
            return sink.send(subscription.sink, message, subscription.secrets(at))
        except Exception as error:  # noqa: BLE001 - the thread's edge: a sink should not raise, and what was taken must come back
            return failed(parcel.delivery, error)


def failed(delivery: Delivery, error: Exception) -> Answer:
    """A bug kept it from being sent."""
    log.error("delivery.failed", subscription_id=delivery.subscription_id, subject=delivery.subject, exc_info=error)
    return Answer(ok=False, error="bug", detail=repr(error)[:200])
