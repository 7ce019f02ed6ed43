"""Deliveries of one subject are sent in order, independent of others; none is claimed twice and none is forgotten."""

import random
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from adapters.ledger import Ledger, counters, deliveries, subscriptions
from adapters.ledger.deliveries import Delivery, DeliveryFilter, DeliveryResult
from statemachine.delivery_policy import DeliveryState
from tests.support.ledger_deliveries import (
    LEASE,
    claim,
    id_of,
    listed,
    queue,
    queued,
    result,
    settle,
    subscribe,
    subscription,
    waiting,
)
from tests.support.times import DAY, T0

WAITING, DELIVERED, DEAD, REQUEUED = DeliveryState


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """A ledger with two subscriptions."""
    subscribe(ledger, subscription(1), subscription(2))
    return ledger


def subjects(found: list[Delivery]) -> list[str]:
    return [each.subject for each in found]


def due(ledger: Ledger, number: int = 1) -> dict[str, list[int | None]]:
    """Returns subject -> due times of its waiting deliveries, in order."""
    found: dict[str, list[int | None]] = defaultdict(list)
    for each in listed(ledger, number, DeliveryFilter(state=WAITING)):
        found[each.subject].append(each.due_at)
    return dict(found)


def release(ledger: Ledger, now: int, *taken: Delivery) -> int:
    with ledger.write() as connection:
        return deliveries.release_leases(connection, now, taken or None)


def hasten(ledger: Ledger, now: int, delivery: Delivery | None = None) -> None:
    with ledger.write() as connection:
        deliveries.retry_now(connection, id_of(1), now, delivery)


def requeue(ledger: Ledger, *ended: Delivery, now: int = T0) -> None:
    with ledger.write() as connection:
        deliveries.requeue(connection, id_of(1), ended, now, origin="retry")


# Queueing and claiming.


def test_queued_deliveries_wait_unclaimed(ledger: Ledger) -> None:
    queue(ledger, queued("a", 7, type="tally.task.files", origin="replay"))
    (found,) = listed(ledger)
    assert found == Delivery(
        id=found.id,
        subscription_id=id_of(1),
        event_id=7,
        subject="a",
        type="tally.task.files",
        origin="replay",
        state=WAITING,
        queued_at=T0,
        due_at=T0,
        lease_until=None,
        tries=0,
        first_tried_at=None,
        done_at=None,
        attempts=[],
    )


def test_only_the_first_of_a_subject_is_due(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("b"), queued("a"))
    queue(ledger, queued("a"), queued("c"), now=T0 + 1)
    assert due(ledger) == {"a": [T0, None, None], "b": [T0], "c": [T0 + 1]}


def test_subjects_of_two_subscriptions_are_independent(ledger: Ledger) -> None:
    queue(ledger, queued("a"))
    queue(ledger, queued("a"), number=2)
    assert (due(ledger, 1), due(ledger, 2)) == ({"a": [T0]}, {"a": [T0]})
    assert (waiting(ledger, 1), waiting(ledger, 2)) == (1, 1)


def test_queueing_nothing_does_nothing(ledger: Ledger) -> None:
    queue(ledger)
    assert (listed(ledger), waiting(ledger)) == ([], 0)


def test_a_claimed_delivery_has_a_lease_and_counts_as_a_try(ledger: Ledger) -> None:
    queue(ledger, queued("a"))
    (before,) = listed(ledger)
    taken = claim(ledger, now=T0 + 5)
    until = T0 + 5 + LEASE
    assert taken == [replace(before, due_at=until, lease_until=until, tries=1, first_tried_at=T0 + 5)] == listed(ledger)


def test_the_most_overdue_is_claimed_first_and_no_more_than_the_limit(ledger: Ledger) -> None:
    for number, subject in enumerate("cab"):
        queue(ledger, queued(subject), queued(f"{subject}2"), now=T0 + number)
    taken = [subjects(claim(ledger, now=T0 + 1, limit=limit)) for limit in (1, 2, 9, 9)]
    assert taken == [["c"], ["c2", "a"], ["a2"], []]


def test_due_subscriptions_are_found_without_claiming(ledger: Ledger) -> None:
    queue(ledger, queued("a"))
    with ledger.read() as connection:
        due = deliveries.due_subscriptions
        found = [id_of(number) in due(connection, T0 + ms) for number, ms in ((1, -1), (1, 0), (2, 0))]
    assert found == [False, True, False]


def test_a_delivery_without_a_result_is_claimed_again_after_its_lease(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"))
    (first,) = claim(ledger)
    assert claim(ledger, now=T0 + LEASE - 1) == []
    (again,) = claim(ledger, now=T0 + LEASE)
    assert (again.id, again.tries, again.first_tried_at) == (first.id, 2, T0)


def test_two_processes_never_claim_the_same_delivery(ledger: Ledger) -> None:
    queue(ledger, *(queued(f"s{number}") for number in range(200)))
    other = Ledger(ledger.url)
    with ThreadPoolExecutor(8) as pool:
        takers = [pool.submit(claim, (ledger, other)[number % 2], limit=7) for number in range(40)]
        taken = Counter(each.id for taker in takers for each in taker.result())
    other.close()
    assert (len(taken), set(taken.values())) == (200, {1})


# Recording results.


@pytest.mark.parametrize("state", [DELIVERED, DEAD])
def test_an_ended_delivery_makes_the_next_of_its_subject_due_and_no_other(ledger: Ledger, state: DeliveryState) -> None:
    queue(ledger, queued("a"), queued("a"), queued("a"), queued("b"), queued("b"))
    first = claim(ledger, limit=1)[0]
    assert settle(ledger, result(first, state), now=T0 + 7) == [result(first, state)]
    ended = listed(ledger)[0]
    assert ended == replace(first, state=state, due_at=None, lease_until=None, done_at=T0 + 7, attempts=[{"status": 200}])
    assert due(ledger) == {"a": [T0 + 7, None], "b": [T0, None]}
    assert waiting(ledger) == 4


def test_a_delivery_to_be_retried_keeps_its_place(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"))
    (first,) = claim(ledger)
    settle(ledger, result(first, WAITING, due_at=T0 + 1_000), now=T0 + 7)
    assert due(ledger) == {"a": [T0 + 1_000, None]}
    (again,) = claim(ledger, now=T0 + 1_000)
    assert (again.id, again.tries, again.first_tried_at, again.attempts) == (first.id, 2, T0, [{"status": 200}])
    assert waiting(ledger) == 2


def test_a_result_after_another_worker_claimed_the_delivery_is_dropped(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"))
    (late,) = claim(ledger)
    (mine,) = claim(ledger, now=T0 + LEASE)
    assert settle(ledger, result(late)) == []
    assert listed(ledger)[0] == mine
    assert (due(ledger), waiting(ledger)) == ({"a": [mine.due_at, None]}, 2)


def test_a_late_result_counts_if_no_other_worker_claimed_the_delivery(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"))
    (late,) = claim(ledger)
    assert settle(ledger, result(late), now=T0 + 2 * LEASE) == [result(late)]
    assert due(ledger) == {"a": [T0 + 2 * LEASE]}


def test_no_result_is_recorded_twice(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"), queued("a"))
    (first,) = claim(ledger)
    settle(ledger, result(first))
    assert settle(ledger, result(first, DEAD), now=T0 + 9) == []
    assert (listed(ledger)[0].state, due(ledger), waiting(ledger)) == (DELIVERED, {"a": [T0, None]}, 2)


def test_results_of_many_subscriptions_are_recorded_at_once(ledger: Ledger) -> None:
    for number in (1, 2):
        queue(ledger, queued("a"), queued("a"), queued("b"), number=number)
    taken = [each for number in (1, 2) for each in claim(ledger, number=number)]
    assert len(settle(ledger, *map(result, taken), now=T0 + 1)) == 4
    assert [(due(ledger, number), waiting(ledger, number)) for number in (1, 2)] == [({"a": [T0 + 1]}, 1)] * 2


def test_recording_no_results_does_nothing(ledger: Ledger) -> None:
    assert settle(ledger) == []


def test_attempts_are_counted_by_sink_and_outcome(ledger: Ledger) -> None:
    with ledger.write() as connection:
        deliveries.record_results(connection, [], T0, {"webhook/delivered": 2, "redis/status": 1})
        deliveries.record_results(connection, [], T0, {"webhook/delivered": 1})
        assert deliveries.attempts_by_outcome(connection) == {("webhook", "delivered"): 3, ("redis", "status"): 1}


# Releasing leases.


def test_a_released_delivery_is_due_as_if_it_had_not_been_claimed(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"), queued("b"))
    mine, other = claim(ledger)
    assert release(ledger, T0 + 1, mine) == 1
    assert due(ledger) == {"a": [T0 + 1, None], "b": [other.due_at]}
    assert [each.id for each in claim(ledger, now=T0 + 1)] == [mine.id]


def test_a_delivery_claimed_by_another_meanwhile_is_not_released(ledger: Ledger) -> None:
    queue(ledger, queued("a"))
    (late,) = claim(ledger)
    (mine,) = claim(ledger, now=T0 + LEASE)
    assert release(ledger, T0 + LEASE + 1, late) == 0
    assert listed(ledger) == [mine]


def test_an_ended_delivery_cannot_be_released(ledger: Ledger) -> None:
    queue(ledger, queued("a"))
    (mine,) = claim(ledger)
    settle(ledger, result(mine))
    assert (release(ledger, T0, mine), due(ledger)) == (0, {})


def test_all_claimed_deliveries_are_released_at_once_and_waiting_ones_stay(ledger: Ledger) -> None:
    for number in (1, 2):
        queue(ledger, queued("a"), queued("b"), number=number)
    settle(ledger, result(claim(ledger, limit=1)[0], WAITING, due_at=T0 + 99))
    claim(ledger, number=1)
    claim(ledger, number=2)
    assert release(ledger, T0 + 1) == 3
    assert [due(ledger, number) for number in (1, 2)] == [{"a": [T0 + 99], "b": [T0 + 1]}, {"a": [T0 + 1], "b": [T0 + 1]}]


# Requests of the desk.


def failed(ledger: Ledger, *names: str, due_at: int) -> list[Delivery]:
    """Records failed attempts that are to be retried at this time."""
    queue(ledger, *map(queued, names))
    taken = claim(ledger)
    settle(ledger, *(result(each, WAITING, due_at=due_at) for each in taken))
    return [each for each in listed(ledger) if each.subject in names]


@pytest.mark.parametrize("later", [1, 4 * DAY])
def test_a_delivery_retried_on_request_is_due_now_and_has_three_days_again(ledger: Ledger, later: int) -> None:
    """Its next attempt was still to come, or was due while the subscription was not served."""
    failed(ledger, "a", "b", due_at=T0 + DAY)
    hasten(ledger, T0 + later)
    assert [(each.due_at, each.first_tried_at) for each in listed(ledger)] == [(T0 + later, None)] * 2


def test_retrying_one_delivery_changes_no_other(ledger: Ledger) -> None:
    _, second = failed(ledger, "a", "b", due_at=T0 + DAY)
    hasten(ledger, T0 + 1, second)
    assert due(ledger) == {"a": [T0 + DAY], "b": [T0 + 1]}


def test_retrying_a_delivery_that_waits_for_another_retries_that_one(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"), queued("b"))
    (first, _) = claim(ledger)
    settle(ledger, result(first, WAITING, due_at=T0 + 1_000))
    blocked = next(each for each in listed(ledger) if each.subject == "a" and each.due_at is None)
    hasten(ledger, T0 + 1, blocked)
    assert due(ledger)["a"] == [T0 + 1, None]


def test_claimed_deliveries_and_those_that_wait_for_another_are_not_retried(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"))
    claim(ledger)
    before = listed(ledger)
    hasten(ledger, T0 + 1)
    assert listed(ledger) == before


def test_a_delivery_with_an_expired_lease_is_retried(ledger: Ledger) -> None:
    queue(ledger, queued("a"))
    (taken,) = claim(ledger)
    hasten(ledger, T0 + LEASE)
    assert listed(ledger) == [replace(taken, due_at=T0 + LEASE, lease_until=None, first_tried_at=None)]


def test_a_delivery_that_was_never_tried_keeps_its_due_time(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a"))
    hasten(ledger, T0 + 9)
    assert due(ledger) == {"a": [T0, None]}


def test_dead_deliveries_are_requeued_behind_waiting_ones(ledger: Ledger) -> None:
    queue(ledger, queued("a", 1), queued("a", 2), queued("b", 3))
    settle(ledger, *(result(each, DEAD) for each in claim(ledger)), now=T0 + 1)
    requeue(ledger, *(each for each in listed(ledger) if each.state is DEAD), now=T0 + 2)
    assert [(each.event_id, each.state, each.due_at, each.origin) for each in listed(ledger)] == [
        (1, REQUEUED, None, "event"),
        (2, WAITING, T0 + 1, "event"),
        (3, REQUEUED, None, "event"),
        (1, WAITING, None, "retry"),
        (3, WAITING, T0 + 2, "retry"),
    ]
    assert waiting(ledger) == 3


def test_a_delivered_one_stays_delivered_when_it_is_requeued(ledger: Ledger) -> None:
    queue(ledger, queued("a"))
    settle(ledger, result(claim(ledger)[0]))
    requeue(ledger, *listed(ledger))
    assert [each.state for each in listed(ledger)] == [DELIVERED, WAITING]


def test_dead_deliveries_are_found_in_order_between_two_ids(ledger: Ledger) -> None:
    queue(ledger, *map(queued, "abcde"))
    taken = claim(ledger)
    settle(ledger, *(result(each, DELIVERED if each.subject == "c" else DEAD) for each in taken))
    ids = {each.subject: each.id for each in taken}
    with ledger.read() as connection:
        found = [
            subjects(deliveries.dead(connection, id_of(1), after=after, last=last, limit=limit))
            for after, last, limit in ((0, ids["e"], 9), (ids["a"], ids["d"], 9), (0, ids["e"], 2), (ids["e"], ids["e"], 9))
        ]
        assert deliveries.newest_dead_id(connection, id_of(1)) == ids["e"]
        assert deliveries.newest_dead_id(connection, id_of(2)) == 0
    assert found == [["a", "b", "d", "e"], ["b", "d"], ["a", "b"], []]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "cbaba"),
        ({"state": DELIVERED}, "a"),
        ({"state": WAITING}, "cbab"),
        ({"subject": "b"}, "bb"),
        ({"subject": "a", "state": WAITING}, "a"),
        ({"subject": "nobody"}, ""),
    ],
)
def test_deliveries_are_listed_the_newest_first_by_state_and_subject(ledger: Ledger, wanted: dict, found: str) -> None:
    queue(ledger, *map(queued, "ababc"))
    queue(ledger, queued("a"), number=2)
    settle(ledger, result(claim(ledger, limit=1)[0]))
    assert "".join(subjects(listed(ledger, 1, DeliveryFilter(**wanted))[::-1])) == found


def test_pages_continue_with_older_deliveries(ledger: Ledger) -> None:
    queue(ledger, *map(queued, "abc"))
    first, second, third = listed(ledger)
    with ledger.read() as connection:
        pages = [deliveries.page(connection, id_of(1), DeliveryFilter(), before=before, limit=2) for before in (None, second.id)]
    assert pages == [[third, second], [first]]


def test_a_delivery_is_found_by_its_own_subscription_only(ledger: Ledger) -> None:
    queue(ledger, queued("a"))
    (there,) = listed(ledger)
    with ledger.read() as connection:
        found = [deliveries.find(connection, id_of(number), id_) for number, id_ in ((1, there.id), (2, there.id), (1, 0))]
    assert found == [there, None, None]


# Statistics and retention.


def test_the_oldest_waiting_delivery_shows_since_when(ledger: Ledger) -> None:
    queue(ledger, queued("a"), now=T0)
    queue(ledger, queued("b"), now=T0 + 5)
    with ledger.read() as connection:
        assert deliveries.oldest_waiting(connection, id_of(1)) == T0
    settle(ledger, result(claim(ledger, limit=1)[0]))
    with ledger.read() as connection:
        assert [deliveries.oldest_waiting(connection, id_of(number)) for number in (1, 2)] == [T0 + 5, None]


def test_deliveries_that_ended_before_a_time_are_expired_but_dead_ones_are_not(ledger: Ledger) -> None:
    queue(ledger, *map(queued, "abcdd"))
    first, second, third, fourth = claim(ledger)
    settle(ledger, result(first), result(second, DEAD), result(third, DEAD), now=T0 + 1)
    settle(ledger, result(fourth), now=T0 + 2)
    requeue(ledger, *(each for each in listed(ledger) if each.id == third.id))
    with ledger.read() as connection:
        found = [sorted(deliveries.expired_ids(connection, id_of(1), before, 9)) for before in (T0 + 1, T0 + 2, T0 + 3)]
        assert deliveries.expired_ids(connection, id_of(2), T0 + 3, 9) == []
    assert found == [[], [first.id, third.id], [first.id, third.id, fourth.id]]


def test_dropped_deliveries_are_gone(ledger: Ledger) -> None:
    queue(ledger, *map(queued, "abc"))
    first, second, third = listed(ledger)
    with ledger.write() as connection:
        deliveries.drop(connection, [])
        deliveries.drop(connection, [first.id, third.id])
    assert listed(ledger) == [second]


def test_deliveries_of_a_deleted_subscription_go_in_steps_and_its_sum_last(ledger: Ledger) -> None:
    queue(ledger, *map(queued, "abcde"))
    queue(ledger, queued("a"), number=2)

    def drop_some() -> int:
        with ledger.write() as connection:
            return deliveries.drop_some(connection, id_of(1), 2)

    assert [(drop_some(), waiting(ledger)) for _ in range(5)] == [(2, 5), (2, 5), (1, 5), (0, 0), (0, 0)]
    assert (len(listed(ledger, 2)), waiting(ledger, 2)) == (1, 1)


def test_two_processes_that_delete_a_sum_at_once_leave_none_behind(postgresql_ledger: Ledger) -> None:
    with postgresql_ledger.write() as connection:
        counters.add(connection, "undelivered", {id_of(1): 7})
    with postgresql_ledger.write() as mine, ThreadPoolExecutor(1) as pool:
        deliveries.drop_some(mine, id_of(1), 9)
        other = pool.submit(_drop_some, postgresql_ledger)
        mine.commit()
        other.result()
    assert waiting(postgresql_ledger) == 0


def _drop_some(ledger: Ledger) -> int:
    with ledger.write() as connection:
        return deliveries.drop_some(connection, id_of(1), 9)


# All operations, in any order.


class Model:
    """A model of one subscription's deliveries: rows in order, identified by the event."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self.chance = random.Random(seed)
        self.now = T0
        self.events = 0
        self.taken: list[Delivery] = []
        #: Subject -> waiting events, in the order in which they must be delivered.
        self.waits: dict[str, list[int]] = defaultdict(list)
        self._rare = (self._release, self._retry_now, self._requeue)

    def step(self) -> None:
        self.now += self.chance.choice((0, 1, 500, 60_000))
        self.chance.choice((self._queue, self._claim, self._settle, self._queue, self._claim, self._settle, *self._rare))()
        self.check()

    def _queue(self) -> None:
        names = self.chance.choices("abcd", k=self.chance.randrange(5))
        items = []
        for name in names:
            self.events += 1
            items.append(queued(name, self.events))
            self.waits[name].append(self.events)
        queue(self.ledger, *items, now=self.now)

    def _claim(self) -> None:
        found = claim(self.ledger, now=self.now, limit=self.chance.randrange(1, 4))
        assert [each.event_id for each in found] == [self.waits[each.subject][0] for each in found]
        self.taken += found

    def _settle(self) -> None:
        some = self._some_taken()
        states = [self.chance.choice((DELIVERED, DEAD, WAITING)) for _ in some]
        results = [
            result(each, state, due_at=self.now + 1_000 if state is WAITING else None)
            for each, state in zip(some, states, strict=True)
        ]
        for each in settle(self.ledger, *results, now=self.now):
            self._heard(each)

    def _heard(self, settled: DeliveryResult) -> None:
        assert self.waits[settled.delivery.subject][0] == settled.delivery.event_id
        if settled.state is not WAITING:
            self.waits[settled.delivery.subject].pop(0)

    def _some_taken(self) -> list[Delivery]:
        """Deliveries that are not claimed by us any more, whatever their state; no delivery twice."""
        some = {each.id: each for each in self.chance.sample(self.taken, min(len(self.taken), 2))}
        self.taken = [each for each in self.taken if each not in some.values()]
        return list(some.values())

    def _release(self) -> None:
        some = self._some_taken()
        if some:
            release(self.ledger, self.now, *some)

    def _retry_now(self) -> None:
        hasten(self.ledger, self.now)

    def _requeue(self) -> None:
        ended = [each for each in listed(self.ledger) if each.state in (DEAD, DELIVERED)]
        some = self.chance.sample(ended, min(len(ended), 2))
        requeue(self.ledger, *some, now=self.now)
        for each in some:
            self.waits[each.subject].append(each.event_id or 0)

    def check(self) -> None:
        found: dict[str, list[Delivery]] = defaultdict(list)
        for each in listed(self.ledger, 1, DeliveryFilter(state=WAITING)):
            found[each.subject].append(each)
        waits = {subject: waiting for subject, waiting in self.waits.items() if waiting}
        assert {subject: [each.event_id for each in rows] for subject, rows in found.items()} == waits
        for rows in found.values():
            assert [each.due_at is not None for each in rows] == [True] + [False] * (len(rows) - 1)
            assert all(each.lease_until is None for each in rows[1:])
        assert all(each.due_at is each.lease_until is None for each in listed(self.ledger) if each.state is not WAITING)
        assert waiting(self.ledger) == sum(map(len, waits.values()))


@pytest.mark.parametrize("seed", range(5))
def test_in_each_subject_exactly_the_first_waiting_delivery_is_due(ledger: Ledger, seed: int) -> None:
    model = Model(ledger, seed)
    for _ in range(120):
        model.step()
    assert model.events > 30


def test_concurrent_workers_that_lock_the_subscription_leave_no_delivery_behind(ledger: Ledger) -> None:
    """Each queues, claims and records like a round; at the end all waiting ones can be claimed in order, and the sum is right."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: _work(ledger, random.Random(seed)), range(4)))
    release(ledger, T0)
    assert waiting(ledger) == len(listed(ledger, 1, DeliveryFilter(state=WAITING)))
    heard: dict[str, list[int]] = defaultdict(list)
    while taken := claim(ledger):
        for each in taken:
            heard[each.subject].append(each.id)
        settle(ledger, *map(result, taken))
    assert waiting(ledger) == len(listed(ledger, 1, DeliveryFilter(state=WAITING))) == 0
    assert all(ids == sorted(ids) for ids in heard.values())


def _work(ledger: Ledger, chance: random.Random) -> None:
    taken: list[Delivery] = []
    for _ in range(25):
        with ledger.write() as connection:
            subscriptions.lock(connection, [id_of(1)])
            deliveries.record_results(connection, [result(each, chance.choice((DELIVERED, DEAD))) for each in taken[:2]], T0)
            deliveries.queue(connection, id_of(1), [queued(chance.choice("abc")) for _ in range(3)], T0)
            taken = taken[2:] + deliveries.claim(connection, id_of(1), T0, 2, T0 + LEASE)
