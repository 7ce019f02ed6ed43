"""Entry point of Alembic: runs the migrations on the `connection` or the `url` in the attributes of its configuration.

Each migration is one transaction, including its row in `alembic_version`: a killed process leaves a complete revision.
"""

from alembic import context
from sqlalchemy import Connection

from adapters.ledger.connections import migration_engine
from adapters.ledger.schema import metadata


def run(connection: Connection) -> None:
    progress = context.config.attributes.get("progress")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,  # Alembic assumes that SQLite cannot
        transaction_per_migration=True,
        on_version_apply=(lambda **_: progress.step_done()) if progress is not None else None,
    )
    with context.begin_transaction():
        context.run_migrations()


if (existing_connection := context.config.attributes.get("connection")) is not None:
    run(existing_connection)
else:
    with migration_engine(context.config.attributes["url"]).connect() as new_connection:
        run(new_connection)
