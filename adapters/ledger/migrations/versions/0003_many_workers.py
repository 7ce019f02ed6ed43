"""Adds shards, which divide the work among many workers, and events."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UNAPPLIED = sa.text("applied_at IS NULL")

#: Makes PostgreSQL compare texts by their bytes, as Python and SQLite do, whatever the collation of the database: with most others,
#: a search for `r` would find `R1`, and miss the texts after it.
_COMPARE_BYTES = """
    DO $$
    DECLARE changes text;
    BEGIN
        FOR changes IN
            SELECT format('ALTER TABLE %s ', tables.oid::regclass) || string_agg(
                format('ALTER COLUMN %I TYPE %s COLLATE "C"', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum
            )
            FROM pg_class AS tables JOIN pg_attribute ON attrelid = tables.oid
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
                AND relname <> 'alembic_version' AND attnum > 0 AND NOT attisdropped AND attcollation <> 0
            GROUP BY tables.oid
        LOOP
            EXECUTE changes;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    for table in ("inbox", "deadlines", "effects"):
        op.add_column(table, sa.Column("shard", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.drop_index("inbox_unapplied", "inbox")
    op.create_index(
        "inbox_unapplied",
        "inbox",
        ["id", "shard", "kind", "received_at", "applied_at"],
        sqlite_where=_UNAPPLIED,
        postgresql_where=_UNAPPLIED,
    )
    postgresql = op.get_bind().dialect.name == "postgresql"
    _events(postgresql)
    if postgresql:
        _for_postgresql()


def _events(postgresql: bool) -> None:
    given = {"server_default": sa.text("tally_id()"), "autoincrement": False} if postgresql else {"autoincrement": True}
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, **given),
        sa.Column("task_id", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
        postgresql_partition_by="RANGE (id)",
    )
    op.create_index("events_task", "events", ["task_id", "version"])


def _for_postgresql() -> None:
    op.execute(sa.text(_COMPARE_BYTES))
    op.execute("CREATE TABLE events_rest PARTITION OF events DEFAULT")
    # Rows that are updated often need free space on their page, so that updates need not write indexes.
    op.execute("ALTER TABLE lineages SET (fillfactor = 70)")
    for table in ("counters", "facets", "quotas"):
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 20)")
    # Small tables that change all the time are vacuumed often; a table of millions of rows earlier than at a fifth of dead rows.
    for table in ("counters", "facets", "quotas", "effects", "deadlines"):
        op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)")
    for table in ("lineages", "tasks"):
        op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)")
