"""Alembic's entry: runs the migrations on the url, or the connection, that is handed over in the attributes of its configuration.

Each migration is one transaction, its row in `alembic_version` included: a process that is killed leaves a whole revision.
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
        transactional_ddl=True,  # Alembic takes it that SQLite cannot
        transaction_per_migration=True,
        on_version_apply=(lambda **_: progress.step_done()) if progress is not None else None,
    )
    with context.begin_transaction():
        context.run_migrations()


if (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    with migration_engine(context.config.attributes["url"]).connect() as made:
        run(made)
