"""Subscriptions are stored unchanged, and locked by transactions that change them or their deliveries."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from adapters.ledger import Ledger, subscriptions
from adapters.ledger.events import EventHeader
from statemachine.delivery_policy import SubscriptionState
from tests.support.ledger_deliveries import change, id_of, standing, subscribe, subscription
from tests.support.times import T0

PAUSED, DISABLED, DELETED = SubscriptionState.PAUSED, SubscriptionState.DISABLED, SubscriptionState.DELETED


def heading(**more: Any) -> EventHeader:
    values = {"position": 1, "subject": "s", "type": "tally.task.running", "at": T0}
    return EventHeader(**{**values, "vendor": "tencent", "app_id": "app", "kind": "push", **more})


@pytest.mark.parametrize(
    ("types", "filter_", "wanted"),
    [
        (["*"], {}, True),
        (["tally.task.*"], {}, True),
        (["tally.task.running"], {}, True),
        (["tally.task.run*"], {}, True),
        (["tally.task.failed", "tally.task.running"], {}, True),
        (["tally.task.failed", "tally.subscription.*"], {}, False),
        (["tally.task.runnin"], {}, False),
        (["tally.task"], {}, False),
        (["*.running"], {}, False),
        ([], {}, False),
        (["*"], {"vendor": "tencent"}, True),
        (["*"], {"vendor": "volcengine"}, False),
        (["*"], {"vendor": "tencent", "app_id": "app", "kind": "push"}, True),
        (["*"], {"vendor": "tencent", "app_id": "app", "kind": "record"}, False),
        (["*"], {"app_id": "other"}, False),
        (["tally.task.failed"], {"vendor": "tencent"}, False),
    ],
)
def test_an_event_matches_by_its_type_and_its_task(types: list[str], filter_: dict[str, str], wanted: bool) -> None:
    assert subscription(types=types, filter=filter_).matches(heading()) is wanted


@pytest.mark.parametrize(("filter_", "wanted"), [({}, True), ({"vendor": "tencent"}, False), ({"kind": "push"}, False)])
def test_an_event_without_a_task_matches_only_without_a_filter(filter_: dict[str, str], wanted: bool) -> None:
    note = heading(type="tally.subscription.disabled", vendor="", app_id="", kind="")
    assert subscription(filter=filter_).matches(note) is wanted


@pytest.mark.parametrize(
    ("old", "until", "now", "secrets"),
    [
        (None, None, T0, ["new"]),
        ("old", T0 + 1, T0, ["new", "old"]),
        ("old", T0, T0, ["new"]),
        ("old", None, T0, ["new"]),
    ],
)
def test_the_previous_secret_signs_until_it_expires(old: str | None, until: int | None, now: int, secrets: list[str]) -> None:
    assert subscription(secret="new", old_secret=old, old_secret_until=until).signing_secrets(now) == secrets


def test_secrets_are_not_in_its_repr() -> None:
    assert "whsec" not in repr(subscription(old_secret="whsec_old"))


def test_a_subscription_is_read_back_as_it_was_added(ledger: Ledger) -> None:
    full = subscription(
        sink={"type": "webhook", "url": "https://ä/\x00", "deep": [1, None, {"x": True}]},
        types=["tally.task.*", "tally.subscription.disabled"],
        filter={"vendor": "tencent", "app_id": "ä\ud800"},
        description="for the wall",
        state=DISABLED,
        reason="gone",
        old_secret="whsec_old",
        old_secret_until=T0 + 1,
        position=2**52,
        failing_since=T0 + 2,
        failed_at=T0 + 2,
        delivered_at=T0 + 3,
        version=7,
    )
    subscribe(ledger, full)
    assert standing(ledger) == full
    assert full.sink_type == "webhook"


def test_only_changed_fields_change(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1), subscription(2))
    news = {"state": PAUSED, "types": ["tally.x"], "filter": {"kind": "push"}, "sink": {"type": "m"}, "failing_since": T0}
    change(ledger, 1, **news)
    assert standing(ledger, 1) == replace(subscription(1), **news)
    assert standing(ledger, 2) == subscription(2)


def test_pages_begin_with_the_newest_and_continue_with_older_ones(ledger: Ledger) -> None:
    subscribe(ledger, *(subscription(number, state=DELETED if number == 3 else PAUSED) for number in (2, 1, 4, 3, 5)))
    with ledger.read() as connection:
        pages = [subscriptions.page(connection, before=before, limit=2) for before in (None, id_of(4), id_of(1))]
    assert [[each.id for each in page] for page in pages] == [[id_of(5), id_of(4)], [id_of(2), id_of(1)], []]


def test_a_deleted_subscription_is_found_only_among_the_deleted_ids(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1, state=DELETED), subscription(2))
    with ledger.write() as connection:
        assert subscriptions.find(connection, id_of(1)) is None
        assert subscriptions.lock(connection, [id_of(1), id_of(2), id_of(3)]) == {id_of(2): subscription(2)}
        assert subscriptions.all_ids(connection) == [id_of(2)]
        assert subscriptions.active(connection) == [subscription(2)]
        assert subscriptions.deleted_ids(connection) == [id_of(1)]


def test_only_a_deleted_subscription_can_be_purged(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1, state=DELETED), subscription(2))
    with ledger.write() as connection:
        for number in (1, 2, 3):
            subscriptions.purge(connection, id_of(number))
        assert (subscriptions.deleted_ids(connection), subscriptions.all_ids(connection)) == ([], [id_of(2)])


def test_active_subscriptions_are_found(ledger: Ledger) -> None:
    states = (*SubscriptionState, SubscriptionState.ACTIVE)
    subscribe(ledger, *(subscription(number, state=state) for number, state in enumerate(states, start=1)))
    with ledger.read() as connection:
        assert [each.id for each in subscriptions.active(connection)] == [id_of(1), id_of(5)]
        assert subscriptions.by_state(connection) == {"active": 2, "paused": 1, "disabled": 1}


def test_locking_no_subscription_does_nothing(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert subscriptions.lock(connection, []) == {}


def test_a_lock_waits_for_its_holder_and_then_sees_the_changes(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1), subscription(2))

    def add_one(number: int) -> None:
        for _ in range(10):
            with ledger.write() as connection:
                locked = subscriptions.lock(connection, [id_of(1), id_of(2)][:: 1 if number % 2 else -1])
                for id_, found in locked.items():
                    subscriptions.change(connection, id_, version=found.version + 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, range(4)))
    assert [standing(ledger, number).version for number in (1, 2)] == [41, 41]
