"""Decides what the attempts to send deliveries mean for the deliveries and their subscriptions. Pure: no ledger."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from adapters.ledger.deliveries import DeliveryResult
from adapters.ledger.subscriptions import Subscription
from statemachine.delivery_policy import (
    FAILING_REASON,
    GONE_REASON,
    DeliveryState,
    SubscriptionState,
    failing_since_after_failure,
    is_failing,
    next_attempt_at,
)
from workers.deliver.messages import SendAttempt


def delivery_result(attempt: SendAttempt, now: int, jitter: Callable[[], float]) -> DeliveryResult:
    """Returns what an attempt means for its delivery: delivered, retried later, or dead.

    now: ms. jitter: returns a random number from 0 to 1.
    """
    delivery, result, attempts = attempt.delivery, attempt.result, attempt.attempts_so_far()
    if result.ok:
        return DeliveryResult(delivery=delivery, state=DeliveryState.DELIVERED, due_at=None, attempts=attempts)
    first = delivery.first_tried_at if delivery.first_tried_at is not None else attempt.sent_at
    due_at = next_attempt_at(len(delivery.attempts) + 1, first, now, jitter(), result.retry_after_s)
    state = DeliveryState.DEAD if due_at is None else DeliveryState.WAITING
    return DeliveryResult(delivery=delivery, state=state, due_at=due_at, attempts=attempts)


def apply_results(subscription: Subscription, attempts: Iterable[SendAttempt], now: int) -> Subscription:
    """Returns the subscription as it is after these attempts, in their order.

    An attempt to send to an earlier target of the subscription does not count. now: ms.
    """
    for attempt in attempts:
        if attempt.sink != subscription.sink:
            continue
        if attempt.result.ok:
            subscription = replace(subscription, failing_since=None, delivered_at=now)
        elif subscription.state is SubscriptionState.ACTIVE:
            subscription = _after_failure(subscription, attempt, now)
    return subscription


def _after_failure(subscription: Subscription, attempt: SendAttempt, now: int) -> Subscription:
    since = failing_since_after_failure(subscription.failing_since, subscription.failed_at, now)
    reason = GONE_REASON if attempt.result.gone else FAILING_REASON if is_failing(since, now) else None
    failing = replace(subscription, failing_since=since, failed_at=now)
    if reason is None:
        return failing
    return replace(failing, state=SubscriptionState.DISABLED, reason=reason, updated_at=now, version=failing.version + 1)


def group_by_subscription(attempts: Sequence[SendAttempt]) -> dict[str, list[SendAttempt]]:
    """Returns subscription id -> its attempts, in their order."""
    groups: dict[str, list[SendAttempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.delivery.subscription_id, []).append(attempt)
    return groups
