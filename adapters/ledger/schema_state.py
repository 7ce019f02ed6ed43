"""Determines which schema a database has: none, ours at some revision, a newer one of ours, or another program's."""

from collections.abc import Set
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

_MIGRATIONS = Path(__file__).parent / "migrations"
#: Tables of the ledger since its first revision. Another program may have tables of some of these names, but hardly of all.
_OUR_TABLES = frozenset({"inbox", "lineages", "tasks", "timeline", "counters"})
#: Maximum number of another program's tables that an error names.
_MAX_NAMED_TABLES = 3

_TABLE_QUERIES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite^_%' ESCAPE '^'",
    # Tables of extensions do not count.
    "postgresql": """
        SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relispartition
        AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
    """,
}


class SchemaError(Exception):
    """The ledger's schema is not the one that this version of the program needs; the message says what to do."""


def alembic_config() -> Config:
    """Returns Alembic's configuration for the migrations of this installation."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def revisions() -> tuple[str, ...]:
    """Returns all revisions that this version of the program knows, the oldest first."""
    newest_first = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
    return tuple(reversed(newest_first))


def newest() -> str:
    return revisions()[-1]


def revision_of(connection: Connection) -> str | None:
    """Returns the ledger's revision; None: the database is empty, or the first upgrade by an older version was interrupted.

    Raises SchemaError for another program's database, and for a ledger that is newer than this program.
    """
    heads = MigrationContext.configure(connection).get_current_heads()
    tables = {str(name) for name in connection.scalars(text(_TABLE_QUERIES[connection.dialect.name]))}
    if not heads:
        _reject_foreign(tables, connection.dialect.name)
        return None
    if not tables >= _OUR_TABLES:
        raise _foreign_error(tables, connection.dialect.name)
    revision = ", ".join(heads)
    if revision not in revisions():
        raise SchemaError(
            f"the ledger's schema is {revision}, and this program is older: the newest that it knows is {newest()}. "
            "Start the version of the program that made it, or restore a backup from before that upgrade"
        )
    return revision


def _reject_foreign(tables: Set[str], dialect: str) -> None:
    """Raises SchemaError unless the database is empty or, on SQLite, has the tables that a killed first upgrade left."""
    begun = dialect == "sqlite" and "alembic_version" in tables and "inbox_keys" not in tables
    if tables - {"alembic_version"} and not (begun and tables <= _first_revision_tables()):
        raise _foreign_error(tables, dialect)


@cache
def _first_revision_tables() -> frozenset[str]:
    """Returns the tables of the first revision."""
    return frozenset({"alembic_version", "deadlines", "facets", "rejections"}) | _OUR_TABLES


def _foreign_error(tables: Set[str], dialect: str) -> SchemaError:
    others = sorted(tables - {"alembic_version"})
    named = ", ".join(others[:_MAX_NAMED_TABLES]) + (
        f" and {len(others) - _MAX_NAMED_TABLES} more" if len(others) > _MAX_NAMED_TABLES else ""
    )
    own = "a file of its own" if dialect == "sqlite" else "a database of its own, or a schema of its own as the role's search_path"
    return SchemaError(
        f"this is no ledger but a database of another program (tables: {named or 'alembic_version'}); "
        f"nothing was changed. Give the ledger {own}: `database.url`"
    )
