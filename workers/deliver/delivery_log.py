"""Logs the noteworthy results of delivery rounds: dead deliveries, and subscriptions that fail, recover or are disabled."""

from adapters.ledger.deliveries import DeliveryResult
from adapters.ledger.subscriptions import Subscription
from adapters.logs import logger
from statemachine.delivery_policy import DeliveryState
from workers.deliver.delivery_round import Round

#: Time of failure after which a subscription is logged as failing, ms.
_LOG_FAILING_AFTER_MS = 60_000

log = logger(__name__)


class DeliveryLog:
    """Remembers which subscriptions it has logged as failing, so that each is logged once."""

    def __init__(self) -> None:
        self._failing: set[str] = set()

    def log_round(self, finished: Round, now: int) -> None:
        """Logs what a round found. now: ms."""
        for result in finished.results:
            if result.state is DeliveryState.DEAD:
                _log_dead(result)
        for subscription in finished.disabled:
            log.error("subscription.disabled", subscription_id=subscription.id, reason=subscription.reason)
        for subscription in finished.updated:
            self._log_health(subscription, now)

    def _log_health(self, subscription: Subscription, now: int) -> None:
        if subscription.failing_since is None:
            if subscription.id in self._failing:
                self._failing.discard(subscription.id)
                log.info("subscription.recovered", subscription_id=subscription.id)
        elif now - subscription.failing_since >= _LOG_FAILING_AFTER_MS and subscription.id not in self._failing:
            self._failing.add(subscription.id)
            log.warning(
                "subscription.failing", subscription_id=subscription.id, since_s=(now - subscription.failing_since) // 1_000
            )


def _log_dead(result: DeliveryResult) -> None:
    delivery, last = result.delivery, result.attempts[-1]
    about = {"subscription_id": delivery.subscription_id, "task_id": delivery.subject, "type": delivery.type}
    log.warning("delivery.dead", delivery_id=delivery.id, status=last["status"], error=last["error"], **about)
