"""Bounds the pages of lists in bytes: of rows that hold long documents fewer are read than were asked for, and always one.

The sizes are asked for before the documents are, so that what does not fit is never in memory.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, LargeBinary, Select, Table, cast, func, select

T = TypeVar("T")

#: Bytes of the documents that a page reads, unless the first one has more.
PAGE_BYTES = 4 * 1024 * 1024
#: Sizes that are asked for at once.
_SIZES_PER_QUERY = 64


class Page(list[T]):
    """The items of a page. `cut`: what comes next was left out because the page has bytes enough."""

    def __init__(self, items: Iterable[T] = (), *, cut: bool = False) -> None:
        super().__init__(items)
        self.cut = cut


def size_of(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[int]:
    """The bytes of a text."""
    if connection.dialect.name == "sqlite":
        return func.length(cast(column, LargeBinary))  # octet_length came with SQLite 3.43
    return func.octet_length(column)  # known without reading what is stored apart


def fitting_ids(connection: Connection, table: Table, text: ColumnElement[Any], ids: Sequence[T]) -> tuple[Sequence[T], bool]:
    """(the first of these ids whose texts fit a page, whether there are others)"""
    size, bytes_ = size_of(connection, text), 0
    for begin in range(0, len(ids), _SIZES_PER_QUERY):
        some = ids[begin : begin + _SIZES_PER_QUERY]
        sizes = {row[0]: row[1] for row in connection.execute(select(table.c.id, size).where(table.c.id.in_(some)))}
        for number, each in enumerate(some, begin):
            bytes_ += sizes.get(each, 0)
            if bytes_ > PAGE_BYTES and number:
                return ids[:number], True
    return ids, False


def fitting_rows(connection: Connection, chosen: Select[Any], most_bytes: int = PAGE_BYTES) -> tuple[int, int | None, bool]:
    """Of rows (id, size) in the order of their ids: (how many fit a page, the id of the last of them, whether there are others)"""
    number, last, bytes_ = 0, None, 0
    with connection.execute(chosen) as rows:
        for id_, size in rows:
            bytes_ += size
            if bytes_ > most_bytes and number:
                return number, last, True
            number, last = number + 1, id_
    return number, last, False
