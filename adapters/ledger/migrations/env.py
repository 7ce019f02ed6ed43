"""Alembic's entry: runs the migrations on the url that `adapters.ledger.upgrade` hands over."""

from alembic import context
from sqlalchemy import NullPool, create_engine

from adapters.ledger.engine import driver_url
from adapters.ledger.schema import metadata

# Without a pool: no connection outlives a migration that fails.
engine = create_engine(driver_url(context.config.attributes["url"]), poolclass=NullPool)
with engine.begin() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
