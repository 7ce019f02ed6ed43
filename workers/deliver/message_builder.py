"""Makes of what was taken what is sent. Events of tasks leave without stream keys, whoever hears them."""

from collections import OrderedDict

from adapters.contract.cloud_events import cloud_event, event_bytes, test_event
from adapters.ledger import events
from adapters.ledger.deliveries import Delivery
from workers.deliver.delivery_round import Round
from workers.deliver.messages import Packed, Parcel

#: Events of which the JSON is kept, for the next subscription that wants them.
_KEPT = 2_000


class Packer:
    """For one thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Packed] = OrderedDict()

    def pack(self, delivery: Delivery, made: Round) -> Parcel:
        """Raises whatever an event that cannot be read makes go wrong."""
        subscription = made.whose[delivery.subscription_id]
        return Parcel(delivery=delivery, subscription=subscription, packed=self._packed(delivery, made))

    def _packed(self, delivery: Delivery, made: Round) -> Packed:
        if delivery.event_id is None:
            return _of(test_event(delivery.subscription_id, delivery.id, delivery.queued_at))
        kept = self._kept.get(delivery.event_id)
        if kept is None:
            event = events.event_of(made.events[delivery.event_id])
            kept = self._kept[delivery.event_id] = _of(cloud_event(event, keys=False))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept


def _of(event: dict[str, object]) -> Packed:
    return Packed(id=str(event["id"]), body=event_bytes(event))
