"""An answer decides about the delivery that was sent, and about its subscription."""

from dataclasses import replace

import pytest

from adapters.downstream import SendResult
from adapters.ledger.deliveries import Delivery, DeliveryResult
from statemachine.delivery_policy import DISABLE_AFTER_MS, MAX_AGE_MS, DeliveryState, SubscriptionState
from tests.support.dispatcher_harness import GONE, REFUSED, TAKEN
from tests.support.ledger_deliveries import id_of, subscription
from tests.support.times import HOUR, T0
from workers.deliver.delivery_results import apply_results, delivery_result, group_by_subscription
from workers.deliver.messages import SendAttempt

S = 1_000


def sent(answer: SendResult = TAKEN, *, at: int = T0, number: int = 1, tried: int = 0, first: int | None = T0) -> SendAttempt:
    """Returns an attempt to send. tried: number of failed attempts before."""
    delivery = Delivery(
        id=number,
        subscription_id=id_of(number),
        event_id=1,
        subject="s",
        type="tally.task.running",
        origin="event",
        state=DeliveryState.WAITING,
        queued_at=T0,
        due_at=T0,
        lease_until=T0,
        tries=tried + 7,
        first_tried_at=first,
        done_at=None,
        attempts=[{"number": number} for number in range(tried)],
    )
    return SendAttempt(delivery=delivery, sink=subscription().sink, result=answer, sent_at=at, duration_ms=12)


def failing(for_ms: int) -> dict[str, int]:
    """Fields of a subscription that has failed for so long, ms, and just now."""
    return {"failing_since": T0 - for_ms, "failed_at": T0 - 1}


def attempt(answer: SendResult, at: int = T0) -> dict[str, object]:
    about = {"status": answer.status, "error": answer.error, "detail": answer.detail, "answer": answer.excerpt}
    return {"at": at, "duration_ms": 12, **about}


def test_an_accepted_event_is_delivered() -> None:
    one = sent(at=T0 - 5)
    assert delivery_result(one, T0, lambda: 0) == DeliveryResult(
        delivery=one.delivery, state=DeliveryState.DELIVERED, due_at=None, attempts=[attempt(TAKEN, T0 - 5)]
    )


@pytest.mark.parametrize(("tried", "pause_ms"), [(0, S), (1, 5 * S), (2, 30 * S), (29, 6 * 3_600_000)])
def test_the_delay_of_a_retry_depends_on_the_failures_and_not_on_the_claims(tried: int, pause_ms: int) -> None:
    found = delivery_result(sent(REFUSED, tried=tried), T0, lambda: 0)
    assert (found.state, found.due_at, len(found.attempts)) == (DeliveryState.WAITING, T0 + pause_ms, tried + 1)


def test_jitter_and_the_targets_retry_after_make_a_delay_longer() -> None:
    hint = replace(REFUSED, retry_after_s=90)
    found = [delivery_result(sent(answer), T0, lambda: 1).due_at for answer in (REFUSED, hint)]
    assert found == [T0 + 1_200, T0 + 90 * S]


def test_after_three_days_a_delivery_is_dead() -> None:
    states = [delivery_result(sent(REFUSED, tried=18), T0 + ms, lambda: 0).state for ms in (MAX_AGE_MS - 1, MAX_AGE_MS)]
    assert states == [DeliveryState.WAITING, DeliveryState.DEAD]


def test_the_three_days_begin_with_the_first_attempt() -> None:
    assert delivery_result(sent(REFUSED, at=T0 + 5, first=None), T0 + MAX_AGE_MS, lambda: 0).due_at == T0 + MAX_AGE_MS + 5


def test_the_newest_thirty_attempts_are_kept() -> None:
    found = delivery_result(sent(tried=30), T0, lambda: 0)
    assert found.attempts == [*({"number": number} for number in range(1, 30)), attempt(TAKEN)]


@pytest.mark.parametrize(
    ("before", "answers", "changes"),
    [
        ({}, [TAKEN], {"delivered_at": T0}),
        ({"failing_since": 5}, [TAKEN], {"delivered_at": T0, "failing_since": None}),
        ({}, [REFUSED, REFUSED], {"failing_since": T0, "failed_at": T0}),
        (failing(5), [REFUSED], {"failed_at": T0}),
        (failing(5), [REFUSED, TAKEN], {"delivered_at": T0, "failing_since": None, "failed_at": T0}),
        (failing(DISABLE_AFTER_MS), [TAKEN, REFUSED], {"delivered_at": T0, "failing_since": T0, "failed_at": T0}),
        (failing(DISABLE_AFTER_MS - 1), [REFUSED], {"failed_at": T0}),
        ({"failing_since": T0 - DISABLE_AFTER_MS, "failed_at": T0 - 13 * HOUR}, [REFUSED], {"failing_since": T0, "failed_at": T0}),
        ({"state": SubscriptionState.PAUSED, "failing_since": 5}, [GONE, REFUSED], {}),
        ({"state": SubscriptionState.DISABLED, "reason": "gone"}, [GONE], {}),
    ],
)
def test_answers_change_the_health_of_a_subscription(before: dict, answers: list[SendResult], changes: dict) -> None:
    one = subscription(**before)
    assert apply_results(one, map(sent, answers), T0) == replace(one, **changes)


@pytest.mark.parametrize(
    ("since", "answers", "reason"),
    [(T0 - DISABLE_AFTER_MS, [REFUSED], "failing"), (None, [GONE], "gone"), (T0 - DISABLE_AFTER_MS, [GONE, REFUSED], "gone")],
)
def test_a_target_that_is_gone_or_fails_for_too_long_is_disabled_once(
    since: int | None, answers: list[SendResult], reason: str
) -> None:
    one = subscription(failing_since=since, failed_at=since and T0, version=4)
    news = {"state": SubscriptionState.DISABLED, "reason": reason, "updated_at": T0 + 9, "version": 5, "failed_at": T0 + 9}
    assert apply_results(one, map(sent, answers), T0 + 9) == replace(one, failing_since=since or T0 + 9, **news)


def test_answers_of_an_earlier_target_do_not_count() -> None:
    one = subscription(sink={"type": "mailbox", "box": "another"})
    assert apply_results(one, map(sent, [REFUSED, GONE, TAKEN]), T0) == one


def test_attempts_are_grouped_by_subscription_and_keep_their_order() -> None:
    first, second, third = sent(at=3), sent(at=2, number=2), sent(at=1)
    assert group_by_subscription([first, second, third]) == {id_of(1): [first, third], id_of(2): [second]}


@pytest.mark.parametrize(
    ("answer", "outcome"), [(TAKEN, "mailbox/delivered"), (REFUSED, "mailbox/status"), (SendResult(ok=False), "mailbox/failed")]
)
def test_the_metrics_count_attempts_by_sink_and_outcome(answer: SendResult, outcome: str) -> None:
    assert sent(answer).outcome == outcome
