"""Creates the first schema."""

import sqlalchemy as sa
from alembic import op

from adapters.ledger.postgresql import MAKE_ID

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_CALLBACKS = sa.text("kind = 'callback'")
_WITH_TASK = sa.text("task_id IS NOT NULL")
_UNAPPLIED = sa.text("applied_at IS NULL")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in MAKE_ID:
            op.execute(statement)
        op.create_table(
            "inbox_keys",
            sa.Column("dedupe_key", sa.LargeBinary(length=32), nullable=False),
            sa.Column("inbox_id", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("dedupe_key"),
        )
    _tables()
    if op.get_bind().dialect.name == "postgresql":
        for table in ("inbox", "timeline"):
            op.execute(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")


def _time_ordered_id() -> sa.Column[int]:
    """Returns the id column: on PostgreSQL ids contain the time, and tables are partitioned by them; on SQLite they count."""
    if op.get_bind().dialect.name == "postgresql":
        return sa.Column("id", sa.BigInteger(), server_default=sa.text("tally_id()"), autoincrement=False, nullable=False)
    return sa.Column("id", sa.Integer(), autoincrement=True, nullable=False)


def _unique_dedupe_key() -> list[sa.UniqueConstraint]:
    """Returns SQLite's unique constraint. On PostgreSQL no unique key spans partitions: `inbox_keys` is unique instead."""
    return [] if op.get_bind().dialect.name == "postgresql" else [sa.UniqueConstraint("dedupe_key")]


def _tables() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "deadlines",
        sa.Column("task_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "kind"),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_deadlines_due_at"), "deadlines", ["due_at"], unique=False)
    op.create_table(
        "facets",
        sa.Column("facet", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("vendor", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("app_id", sa.String(length=128), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("anomalies", sa.String(length=255), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("facet"),
    )
    op.create_table(
        "inbox",
        _time_ordered_id(),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("dedupe_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vendor", sa.String(length=32), nullable=True),
        sa.Column("app_id", sa.String(length=128), nullable=True),
        sa.Column("event_type", sa.String(length=128), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.Column("event_at", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(length=16), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("task_id", sa.String(length=26), nullable=True),
        sa.Column("applied_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        *_unique_dedupe_key(),
        sqlite_autoincrement=True,
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index(
        "inbox_course",
        "inbox",
        ["vendor", "event_type", "verdict", "received_at", "id"],
        unique=False,
        sqlite_where=_CALLBACKS,
        postgresql_where=_CALLBACKS,
    )
    op.create_index(
        "inbox_received", "inbox", ["received_at", "id"], unique=False, sqlite_where=_CALLBACKS, postgresql_where=_CALLBACKS
    )
    op.create_index(
        "inbox_task",
        "inbox",
        ["task_id", "received_at", "id", "vendor", "event_type", "verdict"],
        unique=False,
        sqlite_where=_WITH_TASK,
        postgresql_where=_WITH_TASK,
    )
    op.create_index(
        "inbox_unapplied",
        "inbox",
        ["id", "kind", "received_at", "applied_at"],
        unique=False,
        sqlite_where=_UNAPPLIED,
        postgresql_where=_UNAPPLIED,
    )
    op.create_table(
        "lineages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("key_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("vendor", sa.String(length=32), nullable=False),
        sa.Column("app_id", sa.String(length=128), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=False),
        sa.Column("vendor_task_id", sa.Text(), nullable=False),
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("sealed_runs", sa.Integer(), nullable=False),
        sa.Column("sealed_until", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_hash"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "rejections",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("vendor", sa.String(length=32), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("remote", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "timeline",
        _time_ordered_id(),
        sa.Column("task_id", sa.String(length=26), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("inbox_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("entries", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("timeline_task", "timeline", ["task_id", "id"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("lineage_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("vendor", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("app_id", sa.String(length=128), nullable=False),
        sa.Column("room_id", sa.Text(), nullable=True),
        sa.Column("vendor_task_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("facet", sa.BigInteger(), nullable=True),
        sa.Column("merged_into", sa.String(length=26), nullable=True),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["lineage_id"],
            ["lineages.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("tasks_lineage", "tasks", ["lineage_id", "run"], unique=False)
    op.create_index("tasks_facet", "tasks", ["facet", "id"], unique=False)
    op.create_index("tasks_room_id", "tasks", ["room_id", "facet", "id"], unique=False)
    op.create_index("tasks_vendor_task_id", "tasks", ["vendor_task_id", "facet", "id"], unique=False)
