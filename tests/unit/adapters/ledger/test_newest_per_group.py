"""The newest rows of many groups are those that sorting all rows gives."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table, create_engine, delete, insert, select, true

from adapters.ledger.engine import driver_url
from adapters.ledger.newest_per_group import newest_of
from tests.support import postgresql
from tests.support.ledgers import BOTH

_METADATA = MetaData()
_ROWS = Table("things", _METADATA, Column("id", Integer, primary_key=True), Column("at", Integer), Column("team", Integer))
Index("things_team", _ROWS.c.team, _ROWS.c.at)
_TEAMS = Table("teams", _METADATA, Column("team", Integer, primary_key=True))


@pytest.fixture(params=BOTH, scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    url = "sqlite://" if request.param == "sqlite" else postgresql.new_database(migrated=False)
    engine = create_engine(driver_url(url))
    _METADATA.create_all(engine)
    yield engine
    engine.dispose()
    if request.param == "postgresql":
        postgresql.drop(url)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=40),
    teams=st.sets(st.integers(0, 8)),
    end=st.integers(0, 40),
    limit=st.integers(1, 12),
)
def test_a_page_has_the_newest_rows_of_all_groups(
    engine: Engine, rows: Sequence[tuple[int, int]], teams: set[int], end: int, limit: int
) -> None:
    with engine.begin() as connection:
        for table in (_ROWS, _TEAMS):
            connection.execute(delete(table))
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
    passing = [(at, number) for number, (at, team) in enumerate(rows) if team in teams and at < end]
    assert found == [number for _, number in sorted(passing, reverse=True)[:limit]]
