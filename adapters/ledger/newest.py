"""The newest rows of many groups, at the cost of a page.

An index holds the rows of each group in order. First each group is asked for its newest row, its head: of the groups, only as
many as rows are wanted can have a row on the page, and only rows that are no older than the oldest of so many heads. Then of
each group that is left the newest rows are read, no more than are wanted. So a page costs a seek for each group and a few
entries more, however many rows there are and however few of them are on the page.
"""

from collections.abc import Callable

from sqlalchemy import ColumnElement, FromClause, Select, String, Table, case, func, select

#: (rows, groups) -> whether a row is of that group and passes. Both come under several names.
Matches = Callable[[FromClause, FromClause], ColumnElement[bool]]


def newest_of(groups: FromClause, table: Table, position: str, matches: Matches, limit: int) -> Select[int | str]:
    """Selects the ids of the newest rows of all groups together: by the column `position`, then by id. limit: of rows."""
    newer = table.alias("newer")
    head = select(func.max(newer.c[position])).where(matches(newer, groups)).scalar_subquery().label("head")
    heads = select(*groups.c, head).order_by(head.desc().nulls_last()).limit(limit).cte("heads")
    # While there are fewer heads than rows wanted, any row may be on the page.
    lowest = "" if isinstance(table.c[position].type, String) else 0
    oldest_head = select(case((func.count(heads.c.head) == limit, func.min(heads.c.head)), else_=lowest)).scalar_subquery()
    nth = table.alias("nth")
    nth_newest = (
        select(nth.c[position])
        .where(matches(nth, heads), nth.c[position] >= oldest_head)
        .order_by(nth.c[position].desc())
        .limit(1)
        .offset(limit - 1)
        .scalar_subquery()
    )
    rows = table.alias("rows")
    return (
        select(rows.c.id)
        .select_from(heads.join(rows, matches(rows, heads)))
        .where(rows.c[position] >= func.coalesce(nth_newest, oldest_head))
        .order_by(rows.c[position].desc(), rows.c.id.desc())
        .limit(limit)
    )
