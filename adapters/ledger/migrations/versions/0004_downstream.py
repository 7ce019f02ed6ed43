"""Adds positions of events that readers can follow, subscriptions to events, and their deliveries."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from adapters.ledger.migration_progress import report_rows

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_DUE = sa.text("due_at IS NOT NULL")
#: Number of events per copied batch.
_AT_ONCE = 1_000
#: Number of bits of a position below its seconds.
_NUMBER_BITS = 20


def _text(length: int | None = None) -> Any:
    """Returns a text type that is compared by its bytes, whatever the collation of the database."""
    if length is None:
        return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    return sa.String(length=length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    _put_events_aside(is_postgresql)
    _events(is_postgresql)
    _copy_events()
    op.drop_table("events_before")
    _subscriptions()
    _deliveries()
    _replays()
    if is_postgresql:
        # Small tables that change all the time are vacuumed often and keep free space on their pages; so do deliveries.
        cleaned = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000"
        op.execute(f"ALTER TABLE subscriptions SET (fillfactor = 20, {cleaned})")
        op.execute(f"ALTER TABLE replays SET (fillfactor = 20, {cleaned})")
        op.execute("ALTER TABLE deliveries SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05)")


def _put_events_aside(is_postgresql: bool) -> None:
    op.rename_table("events", "events_before")
    op.drop_index("events_task", "events_before")
    if is_postgresql:
        op.rename_table("events_rest", "events_before_rest")
        op.execute("ALTER INDEX events_pkey RENAME TO events_before_pkey")
        op.execute("ALTER INDEX events_rest_pkey RENAME TO events_before_rest_pkey")


def _events(is_postgresql: bool) -> None:
    op.create_table(
        "events",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("subject", _text(26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("type", _text(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("vendor", _text(32), nullable=False),
        sa.Column("app_id", _text(128), nullable=False),
        sa.Column("kind", _text(16), nullable=False),
        sa.Column("doc", _text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("events_subject", "events", ["subject", "version"])
    if is_postgresql:
        op.execute("CREATE TABLE events_rest PARTITION OF events DEFAULT")


def _copy_events() -> None:
    """Copies the events under new positions, which begin with their second, and stores the last one for the next allocation."""
    connection = op.get_bind()
    insert = sa.text(
        "INSERT INTO events (id, subject, version, type, at, vendor, app_id, kind, doc)"
        " VALUES (:id, :subject, :version, :type, :at, :vendor, :app_id, :kind, :doc)"
    )
    place = done = 0
    total = connection.scalar(sa.text("SELECT count(*) FROM events_before")) or 0
    for rows in _batches(connection):
        copies = []
        for row in rows:
            place = max(place, row.at // 1000 << _NUMBER_BITS) + 1
            copies.append(_copy(row, place))
        connection.execute(insert, copies)
        done += len(rows)
        report_rows(done, total)
    if place:
        connection.execute(
            sa.text("INSERT INTO counters (name, label, value) VALUES ('position', 'events', :place)"), {"place": place}
        )


def _batches(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    more = sa.text("SELECT id, task_id, version, type, at, doc FROM events_before WHERE id > :after ORDER BY id LIMIT :limit")
    after = 0
    while rows := connection.execute(more, {"after": after, "limit": _AT_ONCE}).all():
        yield rows
        after = rows[-1].id


def _copy(row: Any, place: int) -> dict[str, Any]:
    doc = json.loads(row.doc)
    copied = {name: getattr(row, name) for name in ("version", "type", "at", "doc")}
    vendor, app_id, *_ = doc["key"]
    return {**copied, "id": place, "subject": row.task_id, "vendor": vendor, "app_id": app_id, "kind": doc["task"]["kind"]}


def _subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", _text(26), nullable=False),
        sa.Column("sink", _text(), nullable=False),
        sa.Column("types", _text(), nullable=False),
        sa.Column("filter", _text(), nullable=False),
        sa.Column("description", _text(), nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("reason", _text(32), nullable=True),
        sa.Column("secret", _text(), nullable=False),
        sa.Column("old_secret", _text(), nullable=True),
        sa.Column("old_secret_until", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("subscription_id", _text(26), nullable=False),
        sa.Column("event_id", _ID, nullable=True),
        sa.Column("subject", _text(26), nullable=False),
        sa.Column("type", _text(64), nullable=False),
        sa.Column("origin", _text(8), nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("first_tried_at", sa.BigInteger(), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", _text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    due = ["subscription_id", "due_at", "id"]
    op.create_index("deliveries_due", "deliveries", due, sqlite_where=_DUE, postgresql_where=_DUE)
    op.create_index("deliveries_subject", "deliveries", ["subscription_id", "subject", "state", "id"])
    op.create_index("deliveries_state", "deliveries", ["subscription_id", "state", "id"])


def _replays() -> None:
    op.create_table(
        "replays",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("subscription_id", _text(26), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("subject", _text(26), nullable=True),
        sa.Column("dead", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_replays_subscription_id"), "replays", ["subscription_id"], unique=False)
