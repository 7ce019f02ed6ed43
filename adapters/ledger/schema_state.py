"""Tells which schema a database has: none, ours at some revision, a newer one of ours, or another program's."""

from collections.abc import Set
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

_MIGRATIONS = Path(__file__).parent / "migrations"
#: Tables that the ledger has had since its first revision. A program of other people's may have some of them, but hardly all.
_OUR_TABLES = frozenset({"inbox", "lineages", "tasks", "timeline", "counters"})
#: Names of another program's tables that are told.
_MAX_NAMED_TABLES = 3

_TABLE_QUERIES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite^_%' ESCAPE '^'",
    # What an extension brought does not count.
    "postgresql": """
        SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relispartition
        AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
    """,
}


class SchemaError(Exception):
    """The ledger's schema is not the one that this version of the program needs; the message says what to do."""


def alembic_config() -> Config:
    """Alembic's, for the migrations of this installation."""
    made = Config()
    made.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


@cache
def revisions() -> tuple[str, ...]:
    """All that this version knows, the oldest first."""
    found = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]
    return tuple(reversed(found))


def newest() -> str:
    return revisions()[-1]


def revision_of(connection: Connection) -> str | None:
    """The ledger's revision; None: nothing is there, or a first upgrade of an older version of the program was cut off.

    Raises SchemaError for another program's database, and for a ledger that is newer than this program.
    """
    heads = MigrationContext.configure(connection).get_current_heads()
    tables = {str(name) for name in connection.scalars(text(_TABLE_QUERIES[connection.dialect.name]))}
    if not heads:
        _reject_foreign(tables, connection.dialect.name)
        return None
    if not tables >= _OUR_TABLES:
        raise _foreign_error(tables, connection.dialect.name)
    found = ", ".join(heads)
    if found not in revisions():
        raise SchemaError(
            f"the ledger's schema is {found}, and this program is older: the newest that it knows is {newest()}. "
            "Start the version of the program that made it, or restore a backup from before"
        )
    return found


def _reject_foreign(tables: Set[str], dialect: str) -> None:
    """Nothing is there; or, on SQLite, what the first upgrade of an older version left when it was killed."""
    begun = dialect == "sqlite" and "alembic_version" in tables and "inbox_keys" not in tables
    if tables - {"alembic_version"} and not (begun and tables <= _first_revision_tables()):
        raise _foreign_error(tables, dialect)


@cache
def _first_revision_tables() -> frozenset[str]:
    """Of the first revision."""
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
