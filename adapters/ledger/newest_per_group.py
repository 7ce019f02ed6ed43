"""The newest rows of many groups, at the cost of a page.

An index holds the rows of each group in order. First each group is asked for its newest row, its head: of the groups, only as
many as rows are wanted can have a row on the page, and only rows that are no older than the oldest of so many heads. Then of
each group that is left the newest rows are read, no more than are wanted. So a page costs a seek for each group and a few
entries more, however many rows there are and however few of them are on the page.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, String, Table, func, select

#: (rows, groups) -> whether a row is of a group: equalities that an index begins with, before the position.
Same = Callable[[FromClause, FromClause], ColumnElement[bool]]
#: (position, id) -> whether a row may be listed.
Within = Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]]


def newest_of(groups: FromClause, table: Table, position: str, same: Same, within: Within, limit: int) -> Select[Any]:
    """Selects the ids of the newest rows of all groups together: by the column `position`, then by id. limit: of rows."""
    lowest: str | int = "" if isinstance(table.c[position].type, String) else 0
    newer, nth, rows = alias(table, "newer"), alias(table, "nth"), alias(table, "rows")
    newest = select(func.max(newer.c[position])).where(same(newer, groups), within(newer.c[position], newer.c.id))
    head = newest.scalar_subquery().label("head")
    heads = select(*groups.c, head).cte("heads")
    nth_head = select(heads.c.head).where(heads.c.head.is_not(None)).order_by(heads.c.head.desc()).limit(1).offset(limit - 1)
    # While there are fewer heads than rows wanted, any row may be on the page.
    oldest_head = func.coalesce(nth_head.scalar_subquery(), lowest)
    nth_newest = (
        select(nth.c[position])
        .where(same(nth, heads), within(nth.c[position], nth.c.id), nth.c[position] >= oldest_head)
        .order_by(nth.c[position].desc())
        .limit(1)
        .offset(limit - 1)
        .scalar_subquery()
    )
    of_groups = select(rows.c.id).select_from(heads.join(rows, same(rows, heads)))
    return (
        of_groups.where(
            heads.c.head >= oldest_head,
            rows.c[position] <= heads.c.head,
            rows.c[position] >= func.coalesce(nth_newest, oldest_head),
            within(unordered(rows.c[position]), unordered(rows.c.id)),
        )
        .order_by(rows.c[position].desc(), rows.c.id.desc())
        .limit(limit)
    )


@cache
def alias(table: Table, name: str) -> FromClause:
    """A table under another name. Kept, because making its columns takes longer than most statements."""
    return table.alias(name)


def unordered(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same value, but no planner takes an index for it: tempted by the order, it would read all rows to find few."""
    return column + ("" if isinstance(column.type, String) else 0)
