"""Sums that are updated with each change, so that statistics are cheap to read."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, select

from adapters.ledger import bulk
from adapters.ledger.schema import counters


def add(connection: Connection, name: str, changes: Mapping[str, int]) -> None:
    """Adds changes (label -> number) to the sums of one name."""
    add_all(connection, {name: changes})


def add_all(connection: Connection, changes: Mapping[str, Mapping[str, int]]) -> None:
    """Adds changes to sums, by name and label, in one statement: transactions that add to the same sum wait for each other."""
    rows = [
        {"name": name, "label": label, "value": value}
        for name, by_label in changes.items()
        for label, value in by_label.items()
        if value
    ]
    bulk.upsert(connection, counters, rows, key=("name", "label"), add=("value",))


def set_values(connection: Connection, name: str, values: Mapping[str, int]) -> None:
    """Sets the values of one name, by label."""
    rows = [{"name": name, "label": label, "value": value} for label, value in values.items()]
    bulk.upsert(connection, counters, rows, key=("name", "label"), put=("value",))


def sums(connection: Connection, name: str) -> dict[str, int]:
    """Returns label -> sum of one name, without sums that are zero."""
    statement = select(counters.c.label, counters.c.value).where(counters.c.name == name, counters.c.value != 0)
    return {row.label: row.value for row in connection.execute(statement)}


def drop_sum(connection: Connection, name: str, label: str) -> None:
    connection.execute(delete(counters).where(counters.c.name == name, counters.c.label == label))


def total(connection: Connection, name: str) -> int:
    return int(connection.execute(select(func.coalesce(func.sum(counters.c.value), 0)).where(counters.c.name == name)).scalar_one())


def fold_older(connection: Connection, name: str, label: str, into: str) -> None:
    """Folds all sums whose label sorts before `label` into the one labelled `into`, and deletes them."""
    older = (counters.c.name == name) & (counters.c.label < label) & (counters.c.label != into)
    # One statement deletes and reads, so that concurrent additions and folds are neither lost nor counted twice.
    moved = sum(connection.scalars(delete(counters).where(older).returning(counters.c.value)))
    add(connection, name, {into: moved})
