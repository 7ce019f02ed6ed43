"""What the log says of deliveries: little, while all is well."""

from adapters.ledger.deliveries import DeliveryResult
from adapters.ledger.subscriptions import Subscription
from adapters.logs import logger
from statemachine.delivery_policy import DeliveryState
from workers.deliver.delivery_round import Round

#: A subscription that fails is worth a line when it has failed for so long, ms.
_WORTH_A_LINE_MS = 60_000

log = logger(__name__)


class Tidings:
    """Remembers of whom it said that they fail."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    def tell(self, made: Round, now: int) -> None:
        """now: ms."""
        for settled in made.settled:
            if settled.state is DeliveryState.DEAD:
                _tell_dead(settled)
        for subscription in made.disabled:
            log.error("subscription.disabled", subscription_id=subscription.id, reason=subscription.reason)
        for subscription in made.heard_of:
            self._tell_health(subscription, now)

    def _tell_health(self, subscription: Subscription, now: int) -> None:
        if subscription.failing_since is None:
            if subscription.id in self._failing:
                self._failing.discard(subscription.id)
                log.info("subscription.recovered", subscription_id=subscription.id)
        elif now - subscription.failing_since >= _WORTH_A_LINE_MS and subscription.id not in self._failing:
            self._failing.add(subscription.id)
            log.warning(
                "subscription.failing", subscription_id=subscription.id, since_s=(now - subscription.failing_since) // 1_000
            )


def _tell_dead(settled: DeliveryResult) -> None:
    delivery, last = settled.delivery, settled.attempts[-1]
    about = {"subscription_id": delivery.subscription_id, "task_id": delivery.subject, "type": delivery.type}
    log.warning("delivery.dead", delivery_id=delivery.id, status=last["status"], error=last["error"], **about)
