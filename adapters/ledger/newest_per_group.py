"""Selects the newest rows of many groups, at the cost of a page.

An index holds the rows of each group in order. First the newest row of each group, its head, is read. For a page of N rows, only
the N groups with the newest heads can have a row on it, and only rows that are no older than the oldest of these heads. Then at
most N rows of each remaining group are read. So a page costs one seek per group and a few more entries, however many rows there are
and however few of them are on the page.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, String, Table, func, select

#: (rows, groups) -> condition that a row belongs to a group: equalities of the columns that precede the position in an index.
Same = Callable[[FromClause, FromClause], ColumnElement[bool]]
#: (position, id) -> condition that a row may be listed.
Within = Callable[[ColumnElement[Any], ColumnElement[Any]], ColumnElement[bool]]


def newest_of(groups: FromClause, table: Table, position: str, same: Same, within: Within, limit: int) -> Select[Any]:
    """Selects the ids of the newest `limit` rows of all groups together, by the column `position`, then by id."""
    lowest: str | int = "" if isinstance(table.c[position].type, String) else 0
    newer, nth, rows = alias(table, "newer"), alias(table, "nth"), alias(table, "rows")
    newest = select(func.max(newer.c[position])).where(same(newer, groups), within(newer.c[position], newer.c.id))
    head = newest.scalar_subquery().label("head")
    heads = select(*groups.c, head).cte("heads")
    nth_head = select(heads.c.head).where(heads.c.head.is_not(None)).order_by(heads.c.head.desc()).limit(1).offset(limit - 1)
    # With fewer heads than `limit`, any row may be on the page.
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
    """Returns a table under another name. Cached, because creating its columns takes longer than most statements."""
    return table.alias(name)


def unordered(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Returns an expression of the same value that no index serves: for its order, a planner would read all rows to find few."""
    return column + ("" if isinstance(column.type, String) else 0)
