"""Events arrive in order per task and at least once, even if a subscriber fails or hangs, a process dies, or the ledger is away."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from adapters.downstream import SendResult
from adapters.ledger import Ledger, LedgerUnavailableError, deliveries
from adapters.ledger.deliveries import NewDelivery
from statemachine.delivery_policy import MAX_AGE_MS, DeliveryState, SubscriptionState
from tests.support.dispatcher_harness import GONE, REFUSED, TAKEN, DispatcherHarness, ReceivedEvent, event_id
from tests.support.ledger_deliveries import id_of, listed, standing, waiting
from tests.support.ledgers import BOTH, open_ledger
from tests.support.times import T0
from workers.deliver.delivery_round import LEASE_MS
from workers.deliver.send_window import MAX_CONCURRENCY

S, HOUR, DAY = 1_000, 3_600_000, 86_400_000
ACTIVE, PAUSED, DISABLED, DELETED = SubscriptionState


@pytest.fixture(params=BOTH)
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DispatcherHarness]:
    """A harness with one subscription to all events."""
    with open_ledger(request.param, tmp_path) as ledger:
        office = DispatcherHarness(ledger)
        office.subscribe()
        yield office
        office.close()


def refuse(office: DispatcherHarness, *ids: str, boxes: str = "123", answer: SendResult = REFUSED) -> None:
    """Makes the subscriber reject these events; without ids, all of them."""
    office.mailbox.answers = lambda letter: answer if letter.box in boxes and (letter.id in ids or not ids) else TAKEN


def rounds(office: DispatcherHarness, number: int = 9) -> None:
    for _ in range(number):
        office.dispatcher.run_once()


# In order.


def test_events_of_a_task_arrive_one_after_the_other(office: DispatcherHarness) -> None:
    office.tell("a", "a", "b", "a")
    assert [office.dispatcher.run_once() for _ in range(4)] == [2, 1, 1, 0]
    assert office.mailbox.ids() == [event_id("a", 1), event_id("b"), event_id("a", 2), event_id("a", 3)]
    assert (office.states(), waiting(office.ledger)) == (["delivered"] * 4, 0)


def test_a_failing_event_holds_up_its_own_task_and_no_other(office: DispatcherHarness) -> None:
    refuse(office, event_id("a"))
    office.tell("a", "a", "b", "b")
    rounds(office)
    assert office.mailbox.ids() == [event_id("a"), event_id("b"), event_id("b", 2)]
    refuse(office, "nothing")
    office.now += S
    rounds(office)
    assert office.mailbox.ids()[3:] == [event_id("a"), event_id("a", 2)]


def test_the_event_behind_a_dead_one_is_sent(office: DispatcherHarness) -> None:
    refuse(office, event_id("a"))
    office.tell("a", "a")
    for pause_ms in (0, S, 5 * S, 30 * S, 120 * S, 600 * S, HOUR, *[6 * HOUR] * 11):
        office.now += pause_ms
        assert office.dispatcher.run_once() == 1
    office.now = T0 + MAX_AGE_MS
    rounds(office)
    assert office.mailbox.ids() == [event_id("a")] * 19 + [event_id("a", 2)]
    assert office.states() == ["dead", "delivered"]


def test_each_subscription_gets_the_events_that_match_at_its_own_pace(office: DispatcherHarness) -> None:
    office.subscribe(2, types=["tally.task.failed"])
    office.subscribe(3, filter={"vendor": "volcengine"})
    refuse(office, boxes="3")
    office.tell("a", "a")
    rounds(office)
    assert [len(office.mailbox.ids(box)) for box in (1, 2, 3)] == [2, 0, 1]


def test_events_from_before_a_subscription_are_not_sent_to_it(office: DispatcherHarness) -> None:
    office.tell("a")
    office.subscribe(2)
    office.tell("b")
    rounds(office)
    assert office.mailbox.ids(2) == [event_id("b")]


def test_more_than_fits_into_a_round_arrives_all_the_same(office: DispatcherHarness) -> None:
    office.tell(*(f"t{number}" for number in range(1_200)))
    while office.dispatcher.run_once():
        pass
    assert (len(set(office.mailbox.ids())), waiting(office.ledger)) == (1_200, 0)


# Results.


def test_an_attempt_is_recorded_with_its_result(office: DispatcherHarness) -> None:
    refuse(office, event_id("a"))
    office.tell("a")
    office.dispatcher.run_once()
    (found,) = listed(office.ledger)
    took_ms = found.attempts[0]["duration_ms"]
    assert found.attempts == [
        {
            "at": T0,
            "status": 500,
            "error": "status",
            "detail": "it answered 500",
            "duration_ms": took_ms,
            "answer": "sorry",
        }
    ]
    assert (found.state, found.due_at, found.lease_until, found.tries) == (DeliveryState.WAITING, T0 + S, None, 1)
    assert 0 <= took_ms < 20_000


def test_of_many_attempts_the_newest_thirty_are_kept(office: DispatcherHarness) -> None:
    answers = count()
    office.mailbox.answers = lambda _: SendResult(ok=False, error="status", excerpt=str(next(answers)))
    office.tell("a")
    for _ in range(33):
        office.dispatcher.run_once()
        with office.ledger.write() as connection:
            deliveries.retry_now(connection, id_of(1), office.now)
    (found,) = listed(office.ledger)
    assert [each["answer"] for each in found.attempts] == [str(number) for number in range(3, 33)]


def test_retry_after_is_honoured(office: DispatcherHarness) -> None:
    refuse(office, answer=SendResult(ok=False, status=429, error="status", retry_after_s=60))
    office.tell("a")
    office.dispatcher.run_once()
    assert listed(office.ledger)[0].due_at == T0 + 60 * S


def test_a_target_that_is_gone_disables_its_subscription_and_others_get_an_event(office: DispatcherHarness) -> None:
    office.subscribe(2, types=["tally.subscription.disabled"])
    refuse(office, boxes="1", answer=GONE)
    office.tell("a", "b")
    rounds(office)
    after = standing(office.ledger)
    assert (after.state, after.reason, after.version, office.states()) == (DISABLED, "gone", 2, ["waiting", "waiting"])
    (letter,) = (letter for letter in office.mailbox.got if letter.box == "2")
    assert (letter.id, letter.event["type"], letter.event["data"]) == (
        f"{id_of(1)}-2",
        "tally.subscription.disabled",
        {
            "subscription_id": id_of(1),
            "description": "",
            "sink": {"type": "mailbox"},
            "state": "disabled",
            "reason": "gone",
        },
    )


def test_five_days_of_failure_disable_a_subscription(office: DispatcherHarness) -> None:
    refuse(office)
    for quarter in range(20):
        office.tell(f"quarter{quarter}")
        office.dispatcher.run_once()
        assert standing(office.ledger).state is ACTIVE
        office.now += DAY // 4
    office.dispatcher.run_once()
    after = standing(office.ledger)
    assert (after.state, after.reason, after.failing_since) == (DISABLED, "failing", T0)
    sent = len(office.mailbox.got)
    office.now += DAY
    rounds(office)
    assert len(office.mailbox.got) == sent


def test_one_success_ends_the_time_of_failure(office: DispatcherHarness) -> None:
    refuse(office, event_id("a"))
    office.tell("a")
    office.dispatcher.run_once()
    assert standing(office.ledger).failing_since == T0
    office.now += 4 * DAY
    office.tell("b")
    office.dispatcher.run_once()
    after = standing(office.ledger)
    assert (after.state, after.failing_since, after.delivered_at) == (ACTIVE, None, T0 + 4 * DAY)


def test_a_paused_subscription_gets_nothing_and_resumes_at_its_position(office: DispatcherHarness) -> None:
    office.tell("a")
    rounds(office)
    office.change(state=PAUSED)
    office.tell("a", "b")
    rounds(office)
    assert office.mailbox.ids() == [event_id("a")]
    office.change(state=ACTIVE)
    rounds(office)
    assert office.mailbox.ids()[1:] == [event_id("a", 2), event_id("b")]


def test_results_for_a_subscription_deleted_meanwhile_are_dropped(office: DispatcherHarness) -> None:
    def delete(_: ReceivedEvent) -> SendResult:
        office.change(state=DELETED)
        return TAKEN

    office.mailbox.answers = delete
    office.tell("a", "b")
    assert [office.dispatcher.run_once() for _ in range(2)] == [2, 0]
    assert office.states() == ["waiting"] * 2


def test_messages_are_signed_with_the_secrets_that_are_valid_then(office: DispatcherHarness) -> None:
    office.tell("a")
    office.dispatcher.run_once()
    office.change(secret="whsec_2", old_secret="whsec_new", old_secret_until=T0 + DAY)
    for _ in range(2):
        office.tell("a")
        office.dispatcher.run_once()
        office.now += DAY
    assert [letter.secrets for letter in office.mailbox.got] == [["whsec_new"], ["whsec_2", "whsec_new"], ["whsec_2"]]


def test_attempts_are_counted_by_outcome(office: DispatcherHarness) -> None:
    refuse(office, event_id("a"))
    office.tell("a", "b", "b")
    rounds(office)
    with office.ledger.read() as connection:
        assert deliveries.attempts_by_outcome(connection) == {("mailbox", "delivered"): 2, ("mailbox", "status"): 1}


def test_a_test_event_is_sent_like_any_other(office: DispatcherHarness) -> None:
    with office.ledger.write() as connection:
        test = NewDelivery(event_id=None, subject="s", type="tally.test", origin="test")
        deliveries.queue(connection, id_of(1), [test], office.now)
    office.dispatcher.run_once()
    (letter,) = office.mailbox.got
    assert (letter.id, letter.event["type"], office.states()) == (
        f"{id_of(1)}-test-{listed(office.ledger)[0].id}",
        "tally.test",
        ["delivered"],
    )


# Bugs, and sinks that are not there.


def test_an_event_that_cannot_be_read_fails_and_holds_up_no_other_task(office: DispatcherHarness) -> None:
    office.tell("a", "a", "b")
    with office.ledger.write() as connection:
        connection.execute(text("UPDATE events SET doc = '{]' WHERE id = (SELECT min(id) FROM events)"))
    rounds(office)
    first, *_ = listed(office.ledger)
    assert (office.mailbox.ids(), office.states()) == ([event_id("b")], ["waiting", "waiting", "delivered"])
    assert (first.attempts[0]["error"], first.due_at) == ("bug", T0 + S)
    office.now += MAX_AGE_MS
    rounds(office)
    assert (office.mailbox.ids()[1:], office.states()[0]) == ([event_id("a", 2)], "dead")


def test_a_sink_that_raises_fails_one_attempt(office: DispatcherHarness) -> None:
    def raise_once(letter: ReceivedEvent) -> SendResult:
        if len(office.mailbox.got) == 1:
            raise ZeroDivisionError
        return TAKEN

    office.mailbox.answers = raise_once
    office.tell("a", "b")
    office.dispatcher.run_once()
    assert [each.attempts[0]["error"] for each in listed(office.ledger)] == ["bug", None]


def test_an_unknown_sink_fails_the_attempt(office: DispatcherHarness) -> None:
    office.change(sink={"type": "pigeon"})
    office.tell("a")
    office.dispatcher.run_once()
    assert [each.attempts[0]["error"] for each in listed(office.ledger)] == ["no_sink"]


# Leases.


def test_a_delivery_not_sent_in_time_is_released_and_counts_as_no_attempt(office: DispatcherHarness) -> None:
    def take_long(_: ReceivedEvent) -> SendResult:
        office.now += 30 * S
        return TAKEN

    office.mailbox.answers = take_long
    office.tell("a", "b")
    office.dispatcher.run_once()
    assert (office.mailbox.ids(), office.states()) == ([event_id("a")], ["delivered", "waiting"])
    assert office.dispatcher.run_once() == 1
    assert [len(each.attempts) for each in listed(office.ledger)] == [1, 1]


def test_a_late_result_is_dropped_once_another_worker_claimed_the_delivery(office: DispatcherHarness) -> None:
    other = office.new_dispatcher()

    def overtake(_: ReceivedEvent) -> SendResult:
        if len(office.mailbox.got) > 1:
            return TAKEN
        office.now += LEASE_MS
        other.run_once()
        return REFUSED

    office.mailbox.answers = overtake
    office.tell("a", "a")
    office.dispatcher.run_once()
    assert office.mailbox.ids() == [event_id("a")] * 2
    assert [(each.state.value, [one["status"] for one in each.attempts]) for each in listed(office.ledger)] == [
        ("delivered", [200]),
        ("waiting", []),
    ]


def test_a_delivery_that_another_worker_claimed_is_not_released(office: DispatcherHarness) -> None:
    """Else a third worker would send it besides the second, and the next event could arrive between the two."""

    def hang(_: ReceivedEvent) -> SendResult:
        office.now += LEASE_MS
        (theirs,) = office.take()
        assert theirs.event_id is not None
        return TAKEN

    office.mailbox.answers = hang
    office.tell("a", "b")
    office.dispatcher.run_once()
    second = listed(office.ledger)[1]
    assert (office.mailbox.ids(), second.tries, second.lease_until) == ([event_id("a")], 2, office.now + LEASE_MS)


def test_the_claims_of_a_dead_process_are_sent_at_once_on_sqlite_else_after_their_lease(office: DispatcherHarness) -> None:
    office.tell("a", "a")
    office.dispatcher.run_once()
    assert len(office.take()) == 1
    assert office.dispatcher.run_once() == 0
    if office.ledger.path is None:
        office.now += LEASE_MS
    office.dispatcher.start()
    office.mailbox.wait_until(lambda: len(office.mailbox.got) == 2)
    office.dispatcher.stop()
    assert (office.mailbox.ids(), office.states()) == ([event_id("a"), event_id("a", 2)], ["delivered"] * 2)


# A ledger that is unavailable.


class Away:
    """A ledger whose write transactions with these numbers fail."""

    def __init__(self, ledger: Ledger, *failing: int) -> None:
        self._ledger = ledger
        self._failing = failing
        self._number = count()
        self.path = ledger.path
        self.failed = 0

    def read(self) -> Any:
        return self._ledger.read()

    def write(self) -> Any:
        if next(self._number) in self._failing:
            self.failed += 1
            raise LedgerUnavailableError("away")
        return self._ledger.write()


def test_results_are_recorded_once_the_ledger_is_available_again(office: DispatcherHarness) -> None:
    dispatcher = office.new_dispatcher(Away(office.ledger, 1, 2))
    office.tell("a", "a")
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError):
            dispatcher.run_once()
    assert [dispatcher.run_once() for _ in range(2)] == [1, 0]
    assert (office.mailbox.ids(), office.states()) == ([event_id("a"), event_id("a", 2)], ["delivered"] * 2)


def test_outages_of_the_ledger_lose_nothing_and_double_nothing(office: DispatcherHarness) -> None:
    away = Away(office.ledger, 0, 2, 3, 5)
    dispatcher = office.new_dispatcher(away)
    dispatcher.start()
    office.tell(*("abc" * 5))
    dispatcher.wake()
    office.mailbox.wait_until(lambda: len(office.mailbox.got) == 15)
    dispatcher.stop()
    assert (away.failed, Counter(office.mailbox.ids()).most_common(1)[0][1], office.states()) == (4, 1, ["delivered"] * 15)


# Many threads.


class Gate:
    """Makes messages to one box wait until the gate is opened."""

    def __init__(self, office: DispatcherHarness, box: str = "1") -> None:
        self._opened = threading.Event()
        self._box = box
        self.answer = TAKEN
        office.mailbox.answers = self._answer

    def _answer(self, letter: ReceivedEvent) -> SendResult:
        if letter.box == self._box:
            assert self._opened.wait(20)
            return self.answer
        return TAKEN

    def open(self) -> None:
        self._opened.set()


def names(number: int, of: str = "t") -> list[str]:
    return [f"{of}{index}" for index in range(number)]


def test_a_subscriber_that_hangs_delays_no_other_and_occupies_few_threads(office: DispatcherHarness) -> None:
    office.subscribe(2)
    gate = Gate(office)
    office.tell(*names(100))
    office.dispatcher.start()
    office.mailbox.wait_until(lambda: len(office.mailbox.ids(2)) == 100)
    assert office.mailbox.busiest["1"] == office.mailbox.busy["1"] == 8
    gate.open()
    office.mailbox.wait_until(lambda: len(office.mailbox.ids(1)) == 100)


def test_a_fast_subscriber_gets_more_at_once_but_not_too_many(office: DispatcherHarness) -> None:
    office.tell(*names(100))
    office.dispatcher.start()
    office.mailbox.wait_until(lambda: len(office.mailbox.ids()) == 100)
    gate = Gate(office)
    office.tell(*names(300))
    office.mailbox.wait_until(lambda: office.mailbox.busy["1"] == MAX_CONCURRENCY)
    gate.open()
    office.mailbox.wait_until(lambda: len(office.mailbox.ids()) == 400)
    assert office.mailbox.busiest["1"] == MAX_CONCURRENCY


def test_stopping_records_the_results_and_releases_unsent_deliveries(office: DispatcherHarness) -> None:
    office.tell(*names(100))
    office.dispatcher.start()
    office.mailbox.wait_until(lambda: len(office.mailbox.ids()) == 100)
    gate = Gate(office)
    office.tell(*names(100))
    office.mailbox.wait_until(lambda: office.mailbox.busy["1"] == MAX_CONCURRENCY)
    ending = threading.Thread(target=office.dispatcher.stop)
    ending.start()
    assert office.dispatcher._stopping.wait(20)
    gate.open()
    ending.join()
    sent = len(office.mailbox.ids())
    assert sent < 200
    assert Counter(office.states()) == {"delivered": sent, "waiting": 200 - sent}
    assert all(each.lease_until is None for each in listed(office.ledger))
    office.new_dispatcher().run_once()
    assert Counter(office.mailbox.ids()).most_common(1)[0][1] == 1
    assert office.states() == ["delivered"] * 200


def test_a_dispatcher_can_be_woken_and_stopped_without_a_start(office: DispatcherHarness) -> None:
    office.dispatcher.wake()
    office.dispatcher.stop()
    assert office.mailbox.got == []


def test_two_dispatchers_on_one_ledger_deliver_all_once_and_in_order(tmp_path: Path) -> None:
    with open_ledger("postgresql", tmp_path) as ledger:
        office, other = DispatcherHarness(ledger), Ledger(ledger.url)
        for number in (1, 2):
            office.subscribe(number)
        dispatchers = [office.dispatcher, office.new_dispatcher(other)]
        for dispatcher in dispatchers:
            dispatcher.start()
        for _ in range(12):
            office.tell(*names(25))
            dispatchers[0].wake()
        office.mailbox.wait_until(lambda: len(office.mailbox.got) >= 600)
        for dispatcher in dispatchers:
            dispatcher.stop()
        arrived: dict[tuple[str, str], list[int]] = defaultdict(list)
        for letter in office.mailbox.got:
            arrived[letter.box, letter.event["subject"]].append(letter.event["sequence"])
        other.close()
    assert len(arrived) == 50
    assert all(versions == [*range(1, 13)] for versions in arrived.values())
