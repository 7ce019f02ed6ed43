"""Workers divide the shards evenly, also when workers start and end."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adapters.ledger import Ledger, LedgerUnavailableError
from adapters.ledger.inbox import SHARDS, shard_of
from adapters.ledger.shards import Shards

ALL = frozenset(range(SHARDS))


@contextmanager
def workers(ledger: Ledger, number: int) -> Iterator[list[Shards]]:
    """Workers that do not cache the list of workers."""
    made = [Shards(ledger, fresh_s=0.0) for _ in range(number)]
    yield made
    for each in made:
        each.close()


def shares(made: list[Shards]) -> list[frozenset[int]]:
    """Reads the shards twice: at the first read the first worker does not know the last one yet."""
    for each in made:
        each.owned()
    return [share if (share := each.owned()) is not None else ALL for each in made]


def test_a_single_worker_owns_all_shards(ledger: Ledger) -> None:
    with workers(ledger, 1) as (alone,):
        assert alone.owned() is None


@pytest.mark.parametrize("number", [2, 3, 5])
def test_many_workers_own_each_shard_once_and_about_equally_many(postgresql_ledger: Ledger, number: int) -> None:
    with workers(postgresql_ledger, number) as made:
        found = shares(made)
    assert sorted(shard for share in found for shard in share) == sorted(ALL)
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_the_shards_of_a_worker_that_ends_go_to_the_others(postgresql_ledger: Ledger) -> None:
    with workers(postgresql_ledger, 3) as made:
        shares(made)
        made[0].close()
        assert frozenset.union(*shares(made[1:])) == ALL


def test_a_worker_whose_session_ended_acquires_another_seat(postgresql_ledger: Ledger) -> None:
    with workers(postgresql_ledger, 2) as made:
        shares(made)
        with postgresql_ledger.write() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
        for each in made:
            with pytest.raises(LedgerUnavailableError):
                each.owned()
        assert frozenset.union(*shares(made)) == ALL


def test_workers_of_another_database_do_not_count(postgresql_ledger: Ledger, new_postgresql_ledger: Ledger) -> None:
    with workers(postgresql_ledger, 1) as (here,), workers(new_postgresql_ledger, 1) as (there,):
        assert (here.owned(), there.owned()) == (None, None)
        assert (here.owned(), there.owned()) == (None, None)


def test_rows_of_one_task_have_one_shard() -> None:
    assert shard_of("app", "t1") == shard_of("app", "t1")
    assert {shard_of("app", f"t{number}") for number in range(10_000)} == ALL
    assert shard_of("app", "\ud800") in ALL
