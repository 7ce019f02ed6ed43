"""Limits the pages of lists in bytes: of rows with long documents fewer are read than requested, but always one.

The sizes are read before the documents, so that documents that do not fit are never in memory.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, LargeBinary, Select, Table, cast, func, select

T = TypeVar("T")

#: Maximum total size of the documents of a page, bytes, unless the first one is larger.
PAGE_BYTES = 4 * 1024 * 1024
#: Number of sizes that one query reads.
_SIZES_PER_QUERY = 64


class Page(list[T]):
    """The items of a page. `cut`: further items were left out because the page has reached its size."""

    def __init__(self, items: Iterable[T] = (), *, cut: bool = False) -> None:
        super().__init__(items)
        self.cut = cut


def size_of(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[int]:
    """Returns the SQL expression for the size of a text in bytes."""
    if connection.dialect.name == "sqlite":
        return func.length(cast(column, LargeBinary))  # octet_length came with SQLite 3.43
    return func.octet_length(column)  # read without the text itself, which may be stored out of line


def fitting_ids(connection: Connection, table: Table, text: ColumnElement[Any], ids: Sequence[T]) -> tuple[Sequence[T], bool]:
    """Returns (the first of these ids whose texts fit a page, whether there are others)."""
    size, bytes_ = size_of(connection, text), 0
    for begin in range(0, len(ids), _SIZES_PER_QUERY):
        batch = ids[begin : begin + _SIZES_PER_QUERY]
        sizes = {row[0]: row[1] for row in connection.execute(select(table.c.id, size).where(table.c.id.in_(batch)))}
        for number, id_ in enumerate(batch, begin):
            bytes_ += sizes.get(id_, 0)
            if bytes_ > PAGE_BYTES and number:
                return ids[:number], True
    return ids, False


def fitting_rows(connection: Connection, chosen: Select[Any], most_bytes: int = PAGE_BYTES) -> tuple[int, int | None, bool]:
    """Returns (number of rows that fit a page, id of the last of them, whether there are others).

    chosen: selects (id, size), in the order of the ids.
    """
    number, last, bytes_ = 0, None, 0
    with connection.execute(chosen) as rows:
        for id_, size in rows:
            bytes_ += size
            if bytes_ > most_bytes and number:
                return number, last, True
            number, last = number + 1, id_
    return number, last, False
