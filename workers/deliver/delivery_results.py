"""What an answer means for the event that was sent, and for the subscription that it was sent to."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from adapters.ledger.deliveries import DeliveryResult
from adapters.ledger.subscriptions import Subscription
from statemachine.delivery_policy import FAILING, GONE, DeliveryState, SubscriptionState, failing_from, is_failing, next_try
from workers.deliver.messages import Sent


def settled(sent: Sent, now: int, dice: Callable[[], float]) -> DeliveryResult:
    """now: ms. dice: 0 to 1."""
    delivery, answer, attempts = sent.delivery, sent.answer, sent.attempts()
    if answer.ok:
        return DeliveryResult(delivery=delivery, state=DeliveryState.DELIVERED, due_at=None, attempts=attempts)
    first = delivery.first_tried_at if delivery.first_tried_at is not None else sent.at
    due_at = next_try(len(delivery.attempts) + 1, first, now, dice(), answer.retry_after_s)
    state = DeliveryState.DEAD if due_at is None else DeliveryState.WAITING
    return DeliveryResult(delivery=delivery, state=state, due_at=due_at, attempts=attempts)


def after(subscription: Subscription, sent: Iterable[Sent], now: int) -> Subscription:
    """The subscription after these answers, in their order; those of a target that it had before say nothing of it."""
    for each in sent:
        if each.sink != subscription.sink:
            continue
        if each.answer.ok:
            subscription = replace(subscription, failing_since=None, delivered_at=now)
        elif subscription.state is SubscriptionState.ACTIVE:
            subscription = _after_failure(subscription, each, now)
    return subscription


def _after_failure(subscription: Subscription, sent: Sent, now: int) -> Subscription:
    since = failing_from(subscription.failing_since, subscription.failed_at, now)
    reason = GONE if sent.answer.gone else FAILING if is_failing(since, now) else None
    failing = replace(subscription, failing_since=since, failed_at=now)
    if reason is None:
        return failing
    return replace(failing, state=SubscriptionState.DISABLED, reason=reason, updated_at=now, version=failing.version + 1)


def by_subscription(sent: Sequence[Sent]) -> dict[str, list[Sent]]:
    found: dict[str, list[Sent]] = {}
    for each in sent:
        found.setdefault(each.delivery.subscription_id, []).append(each)
    return found
