"""Subscriptions to events.

A transaction that queues deliveries for a subscription, records their results or changes the subscription locks it first. Without
the lock, a delivery could be queued behind one that ends at the same time, and no transaction would ever make it due.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from adapters.ledger.documents import json_text
from adapters.ledger.events import EventHeader
from adapters.ledger.schema import subscriptions
from statemachine.delivery_policy import SubscriptionState

_STATE = subscriptions.c.state
_JSON_COLUMNS = ("sink", "types", "filter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription of a sink to events. Times in ms."""

    id: str
    #: Type and settings of the sink, as the sink defines them.
    sink: Mapping[str, Any]
    #: Types of events; one that ends in `*` matches all types with that prefix.
    types: Sequence[str]
    #: vendor, app_id or kind -> the only value whose events match.
    filter: Mapping[str, str]
    description: str
    state: SubscriptionState
    #: Reason of the state, if the program set it and not a client.
    reason: str | None
    secret: str = field(repr=False)
    old_secret: str | None = field(repr=False)
    old_secret_until: int | None
    #: Events up to this position were queued for it, or do not match it.
    position: int
    #: Time since which all attempts failed; None: the newest attempt succeeded, or there was none.
    failing_since: int | None
    #: Time of the last failed attempt.
    failed_at: int | None
    delivered_at: int | None
    created_at: int
    updated_at: int
    #: Grows with each change that a client makes, and when the subscription is disabled.
    version: int

    @property
    def sink_type(self) -> str:
        return str(self.sink["type"])

    def matches(self, event: EventHeader) -> bool:
        about = {"vendor": event.vendor, "app_id": event.app_id, "kind": event.kind}
        return matches_type(event.type, self.types) and all(about[name] == value for name, value in self.filter.items())

    def signing_secrets(self, now: int) -> list[str]:
        """Returns the secrets that messages are signed with, the newest first. now: ms."""
        is_old_live = self.old_secret is not None and now < (self.old_secret_until or 0)
        return [self.secret, *([self.old_secret] if is_old_live and self.old_secret else [])]


def matches_type(type_: str, patterns: Sequence[str]) -> bool:
    return any(type_.startswith(pattern[:-1]) if pattern.endswith("*") else type_ == pattern for pattern in patterns)


def add(connection: Connection, subscription: Subscription) -> None:
    connection.execute(
        insert(subscriptions).values(_row_values({name: getattr(subscription, name) for name in Subscription.__slots__}))
    )


def change(connection: Connection, subscription_id: str, **values: Any) -> None:
    """Overwrites fields of a locked subscription."""
    connection.execute(update(subscriptions).where(subscriptions.c.id == subscription_id).values(_row_values(values)))


def find(connection: Connection, subscription_id: str) -> Subscription | None:
    """Returns a subscription; None if it does not exist or is deleted."""
    statement = select(subscriptions).where(subscriptions.c.id == subscription_id, _STATE != SubscriptionState.DELETED)
    row = connection.execute(statement).mappings().first()
    return _subscription_of(row) if row is not None else None


def page(connection: Connection, *, before: str | None, limit: int) -> list[Subscription]:
    """Returns subscriptions older than the id `before`, newest first."""
    statement = select(subscriptions).where(_STATE != SubscriptionState.DELETED).order_by(subscriptions.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(subscriptions.c.id < before)
    return [_subscription_of(row) for row in connection.execute(statement).mappings()]


def lock(connection: Connection, ids: Collection[str]) -> dict[str, Subscription]:
    """Locks subscriptions and their queued deliveries until the transaction ends; returns those that are not deleted, by id."""
    if not ids:
        return {}
    # Always in the same order, or two transactions that lock several could deadlock.
    statement = select(subscriptions).where(subscriptions.c.id.in_(ids), _STATE != SubscriptionState.DELETED)
    rows = connection.execute(statement.order_by(subscriptions.c.id).with_for_update()).mappings()
    return {row["id"]: _subscription_of(row) for row in rows}


def active(connection: Connection) -> list[Subscription]:
    statement = select(subscriptions).where(_STATE == SubscriptionState.ACTIVE).order_by(subscriptions.c.id)
    return [_subscription_of(row) for row in connection.execute(statement).mappings()]


def active_ids(connection: Connection) -> frozenset[str]:
    return frozenset(connection.scalars(select(subscriptions.c.id).where(_STATE == SubscriptionState.ACTIVE)))


def lagging(connection: Connection, position: int) -> dict[str, int]:
    """Returns active subscriptions whose position is below `position`: id -> position, the most lagging first."""
    active = (_STATE == SubscriptionState.ACTIVE, subscriptions.c.position < position)
    statement = select(subscriptions.c.id, subscriptions.c.position).where(*active)
    return {row.id: row.position for row in connection.execute(statement.order_by(subscriptions.c.position, subscriptions.c.id))}


def advance(connection: Connection, ids: Collection[str], position: int) -> None:
    """Moves locked subscriptions to a position: the events up to it are queued for them."""
    connection.execute(update(subscriptions).where(subscriptions.c.id.in_(ids)).values(position=position))


def by_state(connection: Connection) -> dict[str, int]:
    """Returns state -> number of subscriptions, without deleted ones."""
    statement = select(_STATE, func.count()).where(_STATE != SubscriptionState.DELETED).group_by(_STATE)
    return {row[0]: row[1] for row in connection.execute(statement)}


def all_ids(connection: Connection) -> list[str]:
    """Returns the ids of all subscriptions that are not deleted."""
    return list(connection.scalars(select(subscriptions.c.id).where(_STATE != SubscriptionState.DELETED)))


def deleted_ids(connection: Connection) -> list[str]:
    return list(connection.scalars(select(subscriptions.c.id).where(_STATE == SubscriptionState.DELETED)))


def purge(connection: Connection, subscription_id: str) -> None:
    """Removes the row of a deleted subscription that has no deliveries left."""
    connection.execute(delete(subscriptions).where(subscriptions.c.id == subscription_id, _STATE == SubscriptionState.DELETED))


def _row_values(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: json_text(value) if name in _JSON_COLUMNS else value for name, value in values.items()}
    return {name: value.value if isinstance(value, SubscriptionState) else value for name, value in plain.items()}


def _subscription_of(row: RowMapping) -> Subscription:
    decoded = {name: json.loads(row[name]) for name in _JSON_COLUMNS}
    return Subscription(**{**row, **decoded, "state": SubscriptionState(row["state"])})
