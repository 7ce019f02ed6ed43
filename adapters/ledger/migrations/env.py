"""Alembic's entry: runs the migrations on the url that `adapters.ledger.upgrade` hands over.

Each migration is one transaction, its row in `alembic_version` included: a process that is killed leaves a whole revision.
"""

from alembic import context

from adapters.ledger.connecting import migration_engine
from adapters.ledger.schema import metadata

with migration_engine(context.config.attributes["url"]).connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,  # Alembic takes it that SQLite cannot
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
