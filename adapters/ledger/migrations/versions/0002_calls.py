"""Adds calls to vendors: effects, quotas, idempotency keys, robots, callbacks that are deferred until an answer arrives."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WITH_ROBOT = sa.text("robot IS NOT NULL")
_UNTAKEN = sa.text("lease_until IS NULL")
_HELD = sa.text("held_until IS NOT NULL AND applied_at IS NULL")
_TAKEN = sa.text("lease_until IS NOT NULL")


def upgrade() -> None:
    op.add_column("inbox", sa.Column("held_until", sa.BigInteger(), nullable=True))
    op.create_index("inbox_held", "inbox", ["held_until"], sqlite_where=_HELD, postgresql_where=_HELD)
    op.add_column("tasks", sa.Column("robot", sa.Text(), nullable=True))
    op.create_index("tasks_robot", "tasks", ["robot", "state"], sqlite_where=_WITH_ROBOT, postgresql_where=_WITH_ROBOT)
    _effects()
    op.create_table(
        "quotas",
        sa.Column("bucket", sa.String(length=255), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("pace", sa.Float(), nullable=False),
        sa.Column("slowed_at", sa.BigInteger(), nullable=False),
        sa.Column("blocked_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotency",
        sa.Column("key_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_idempotency_at"), "idempotency", ["at"], unique=False)


def _effects() -> None:
    op.create_table(
        "effects",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("task_id", sa.String(length=26), nullable=False),
        sa.Column("serial", sa.Integer(), nullable=False),
        sa.Column("operation", sa.String(length=16), nullable=False),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("vendor", sa.String(length=32), nullable=False),
        sa.Column("app_id", sa.String(length=128), nullable=False),
        sa.Column("family", sa.String(length=16), nullable=False),
        sa.Column("bucket", sa.String(length=255), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("effects_attempt", "effects", ["task_id", "serial"], unique=True)
    op.create_index("effects_untaken", "effects", ["bucket", "id"], sqlite_where=_UNTAKEN, postgresql_where=_UNTAKEN)
    op.create_index("effects_leases", "effects", ["lease_until"], sqlite_where=_TAKEN, postgresql_where=_TAKEN)
