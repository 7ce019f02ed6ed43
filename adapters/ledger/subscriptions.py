"""Who is to be told of events, and how.

Whoever queues events for a subscription, says what became of them or changes it locks it first, so that these never pass each
other: what waits for one subject would else be left behind without anybody to call it up.
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
    """Times in ms."""

    id: str
    #: Where events go, in the words of that sink.
    sink: Mapping[str, Any]
    #: Types of events; one that ends in `*` stands for all that begin so.
    types: Sequence[str]
    #: vendor, app_id, kind -> the only one whose events are wanted.
    filter: Mapping[str, str]
    description: str
    state: SubscriptionState
    #: Why, where nobody asked for it.
    reason: str | None
    secret: str = field(repr=False)
    old_secret: str | None = field(repr=False)
    old_secret_until: int | None
    #: Events up to this one were queued for it, or are not for it.
    position: int
    #: Since when nothing could be delivered; None: the newest attempt went well, or there was none.
    failing_since: int | None
    #: When that was last so.
    failed_at: int | None
    delivered_at: int | None
    created_at: int
    updated_at: int
    #: Grows with each change that somebody asked for, and when it is disabled.
    version: int

    @property
    def sink_type(self) -> str:
        return str(self.sink["type"])

    def matches(self, event: EventHeader) -> bool:
        about = {"vendor": event.vendor, "app_id": event.app_id, "kind": event.kind}
        return matches_type(event.type, self.types) and all(about[name] == value for name, value in self.filter.items())

    def signing_secrets(self, now: int) -> list[str]:
        """Those that are signed with, the newest first. now: ms."""
        is_old_live = self.old_secret is not None and now < (self.old_secret_until or 0)
        return [self.secret, *([self.old_secret] if is_old_live and self.old_secret else [])]


def matches_type(type_: str, patterns: Sequence[str]) -> bool:
    return any(type_.startswith(each[:-1]) if each.endswith("*") else type_ == each for each in patterns)


def add(connection: Connection, subscription: Subscription) -> None:
    connection.execute(
        insert(subscriptions).values(_row_values({name: getattr(subscription, name) for name in Subscription.__slots__}))
    )


def change(connection: Connection, subscription_id: str, **values: Any) -> None:
    """Overwrites these fields of a subscription that is locked."""
    connection.execute(update(subscriptions).where(subscriptions.c.id == subscription_id).values(_row_values(values)))


def find(connection: Connection, subscription_id: str) -> Subscription | None:
    """Deleted ones are not found."""
    statement = select(subscriptions).where(subscriptions.c.id == subscription_id, _STATE != SubscriptionState.DELETED)
    row = connection.execute(statement).mappings().first()
    return _subscription_of(row) if row is not None else None


def page(connection: Connection, *, before: str | None, limit: int) -> list[Subscription]:
    """Newest first, older than this one."""
    statement = select(subscriptions).where(_STATE != SubscriptionState.DELETED).order_by(subscriptions.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(subscriptions.c.id < before)
    return [_subscription_of(row) for row in connection.execute(statement).mappings()]


def lock(connection: Connection, ids: Collection[str]) -> dict[str, Subscription]:
    """These subscriptions, deleted ones apart; nobody else changes them or what is queued for them until the transaction ends."""
    if not ids:
        return {}
    # Always in the same order, or two that lock several would wait for each other.
    statement = select(subscriptions).where(subscriptions.c.id.in_(ids), _STATE != SubscriptionState.DELETED)
    rows = connection.execute(statement.order_by(subscriptions.c.id).with_for_update()).mappings()
    return {row["id"]: _subscription_of(row) for row in rows}


def active(connection: Connection) -> list[Subscription]:
    statement = select(subscriptions).where(_STATE == SubscriptionState.ACTIVE).order_by(subscriptions.c.id)
    return [_subscription_of(row) for row in connection.execute(statement).mappings()]


def active_ids(connection: Connection) -> frozenset[str]:
    return frozenset(connection.scalars(select(subscriptions.c.id).where(_STATE == SubscriptionState.ACTIVE)))


def lagging(connection: Connection, position: int) -> dict[str, int]:
    """Active subscriptions for which not all events up to a position were queued -> up to which they were; the furthest first."""
    active = (_STATE == SubscriptionState.ACTIVE, subscriptions.c.position < position)
    statement = select(subscriptions.c.id, subscriptions.c.position).where(*active)
    return {row.id: row.position for row in connection.execute(statement.order_by(subscriptions.c.position, subscriptions.c.id))}


def advance(connection: Connection, ids: Collection[str], position: int) -> None:
    """Events up to this one were queued for these subscriptions, which are locked."""
    connection.execute(update(subscriptions).where(subscriptions.c.id.in_(ids)).values(position=position))


def by_state(connection: Connection) -> dict[str, int]:
    """state -> how many; deleted ones apart."""
    statement = select(_STATE, func.count()).where(_STATE != SubscriptionState.DELETED).group_by(_STATE)
    return {row[0]: row[1] for row in connection.execute(statement)}


def all_ids(connection: Connection) -> list[str]:
    """Of all but deleted ones."""
    return list(connection.scalars(select(subscriptions.c.id).where(_STATE != SubscriptionState.DELETED)))


def deleted_ids(connection: Connection) -> list[str]:
    return list(connection.scalars(select(subscriptions.c.id).where(_STATE == SubscriptionState.DELETED)))


def purge(connection: Connection, subscription_id: str) -> None:
    """Drops a deleted one of which nothing is left."""
    connection.execute(delete(subscriptions).where(subscriptions.c.id == subscription_id, _STATE == SubscriptionState.DELETED))


def _row_values(values: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: json_text(value) if name in _JSON_COLUMNS else value for name, value in values.items()}
    return {name: value.value if isinstance(value, SubscriptionState) else value for name, value in plain.items()}


def _subscription_of(row: RowMapping) -> Subscription:
    read = {name: json.loads(row[name]) for name in _JSON_COLUMNS}
    return Subscription(**{**row, **read, "state": SubscriptionState(row["state"])})
