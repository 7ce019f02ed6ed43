"""The log has one line about a subscription that fails, one about its recovery, and one about each dead delivery."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from adapters.ledger.deliveries import DeliveryResult
from adapters.ledger.subscriptions import Subscription
from statemachine.delivery_policy import DeliveryState, SubscriptionState
from tests.support.dispatcher_harness import REFUSED
from tests.support.ledger_deliveries import id_of, subscription
from tests.support.times import MINUTE, T0
from tests.unit.workers.deliver.test_delivery_results import sent
from workers.deliver.delivery_log import DeliveryLog
from workers.deliver.delivery_results import delivery_result
from workers.deliver.delivery_round import Round

EMPTY = Round(claimed=[], subscriptions={}, event_rows={}, results=[], updated=[], disabled=[])


def updating(*them: Subscription) -> Round:
    return replace(EMPTY, updated=them)


def logged(rounds: Sequence[Round], now: int = T0) -> list[dict]:
    delivery_log = DeliveryLog()
    with capture_logs() as logs:
        for finished in rounds:
            delivery_log.log_round(finished, now)
    return list(logs)


def failing(for_ms: int, number: int = 1) -> Subscription:
    return subscription(number, failing_since=T0 - for_ms)


def test_a_subscription_that_fails_for_a_minute_is_logged_once() -> None:
    assert logged([updating(failing(MINUTE - 1)), updating(failing(MINUTE)), updating(failing(2 * MINUTE))]) == [
        {"event": "subscription.failing", "log_level": "warning", "subscription_id": id_of(1), "since_s": 60}
    ]


def test_so_is_one_that_recovers() -> None:
    found = logged([updating(failing(MINUTE)), updating(subscription()), updating(subscription()), updating(failing(MINUTE))])
    assert [each["event"] for each in found] == ["subscription.failing", "subscription.recovered", "subscription.failing"]


def test_while_all_is_well_nothing_is_logged() -> None:
    assert logged([updating(subscription(1), failing(5, 2)), EMPTY]) == []


def test_a_disabled_subscription_is_logged_with_the_reason() -> None:
    ended = subscription(state=SubscriptionState.DISABLED, reason="gone")
    assert logged([replace(EMPTY, disabled=[ended])]) == [
        {"event": "subscription.disabled", "log_level": "error", "subscription_id": id_of(1), "reason": "gone"}
    ]


def _result_in(state: DeliveryState) -> DeliveryResult:
    return replace(delivery_result(sent(REFUSED), T0, lambda: 0), state=state)


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.WAITING])
def test_only_dead_deliveries_are_logged(state: DeliveryState) -> None:
    assert logged([replace(EMPTY, results=[_result_in(state)])]) == []
    assert logged([replace(EMPTY, results=[_result_in(DeliveryState.DEAD)])]) == [
        {
            "event": "delivery.dead",
            "log_level": "warning",
            "delivery_id": 1,
            "status": 500,
            "error": "status",
            "subscription_id": id_of(1),
            "task_id": "s",
            "type": "tally.task.running",
        }
    ]
