"""The newest rows of many groups are those that sorting everything would give."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Index, Integer, MetaData, Table, create_engine, insert, select, true

from adapters.ledger.newest import newest_of

_METADATA = MetaData()
_ROWS = Table("things", _METADATA, Column("id", Integer, primary_key=True), Column("at", Integer), Column("team", Integer))
Index("things_team", _ROWS.c.team, _ROWS.c.at)
_TEAMS = Table("teams", _METADATA, Column("team", Integer, primary_key=True))


@given(
    rows=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=40),
    teams=st.sets(st.integers(0, 8)),
    end=st.integers(0, 40),
    limit=st.integers(1, 12),
)
def test_a_page_is_the_head_of_the_whole(rows: Sequence[tuple[int, int]], teams: set[int], end: int, limit: int) -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        _METADATA.create_all(connection)
        if rows:
            connection.execute(insert(_ROWS), [{"id": number, "at": at, "team": team} for number, (at, team) in enumerate(rows)])
        if teams:
            connection.execute(insert(_TEAMS), [{"team": team} for team in teams])
        statement = newest_of(
            select(_TEAMS).where(true()).subquery(),
            _ROWS,
            "at",
            lambda things, groups: things.c.team == groups.c.team,
            lambda at, _id: at < end,
            limit,
        )
        found = list(connection.scalars(statement))
    engine.dispose()
    passing = [(at, number) for number, (at, team) in enumerate(rows) if team in teams and at < end]
    assert found == [number for _, number in sorted(passing, reverse=True)[:limit]]
