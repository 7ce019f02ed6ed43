"""No task's backlog delays the others, and each task's rows are applied in their order."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ledger import Ledger, inbox
from adapters.ledger.fair_order import MAX_ROWS_PER_SHARD, next_rows
from adapters.ledger.inbox import MARK, InboxRow, Posting
from tests.support.ledgers import BOTH, empty, examples, open_ledger
from tests.support.times import T0

LIMIT = 400


@pytest.fixture(params=BOTH)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(request.param, tmp_path) as opened:
        yield opened


def post(ledger: Ledger, *shards: int, held_until: int | None = None) -> None:
    """Posts one row of each of these shards, in this order."""
    postings = [Posting(key=(str(n),), payload={"n": n}, shard=shard, held_until=held_until) for n, shard in enumerate(shards)]
    with ledger.write() as connection:
        assert inbox.post_all(connection, MARK, postings, T0) == len(shards)


def take(ledger: Ledger, limit: int = LIMIT, shards: Sequence[int] | None = None) -> tuple[list[InboxRow], bool]:
    """Takes the next batch out of the inbox."""
    with ledger.write() as connection:
        rows, more = next_rows(connection, limit, T0, shards)
        inbox.mark_applied(connection, [], [row.id for row in rows])
    return rows, more


def batches_until(ledger: Ledger, shard: int) -> int:
    """Returns the number of batches until one has a row of this shard."""
    for number in range(1, 1_000):
        if any(row.shard == shard for row in take(ledger)[0]):
            return number
    raise AssertionError("never")


def test_few_rows_are_chosen_together_in_their_order(ledger: Ledger) -> None:
    post(ledger, 3, 1, 2, 1, 3)
    rows, more = take(ledger)
    assert ([row.shard for row in rows], more) == ([3, 1, 2, 1, 3], False)
    assert take(ledger) == ([], False)


def test_of_one_shard_a_limited_number_is_chosen_at_a_time(ledger: Ledger) -> None:
    post(ledger, *[7] * (2 * MAX_ROWS_PER_SHARD + 1))
    sizes = [(len(rows), more) for rows, more in iter(lambda: take(ledger), ([], False))]
    assert sizes == [(MAX_ROWS_PER_SHARD, True), (MAX_ROWS_PER_SHARD, True), (1, False)]


def test_a_row_behind_a_backlog_is_in_the_first_batch(ledger: Ledger) -> None:
    post(ledger, *[7] * 5_000, 8)
    assert batches_until(ledger, 8) == 1


def test_a_row_behind_several_consecutive_backlogs_is_chosen_soon(ledger: Ledger) -> None:
    post(ledger, *(shard for shard in range(12) for _ in range(500)), 99)
    assert batches_until(ledger, 99) <= 2


def test_a_row_behind_mixed_backlogs_is_in_the_first_batch(ledger: Ledger) -> None:
    post(ledger, *(number % 30 for number in range(6_000)), 99)
    assert batches_until(ledger, 99) == 1


def test_a_backlog_of_another_worker_is_skipped(ledger: Ledger) -> None:
    post(ledger, *[7] * 1_000, *[8] * 1_000, 9)
    rows, more = take(ledger, shards=[8, 9])
    assert ({row.shard for row in rows}, len(rows), more) == ({8, 9}, MAX_ROWS_PER_SHARD + 1, True)


def test_deferred_rows_behind_a_backlog_are_not_chosen(ledger: Ledger) -> None:
    post(ledger, *[7] * 1_000)
    with ledger.write() as connection:
        held, free = (Posting(key=(name,), payload={}, shard=9, held_until=until) for name, until in (("a", T0 + 1), ("b", T0)))
        inbox.post_all(connection, MARK, [held, free], T0)
    rows, _ = take(ledger)
    assert sum(row.shard == 9 for row in rows) == 1


def test_rows_spread_over_all_shards_are_chosen_in_order_of_arrival(ledger: Ledger) -> None:
    post(ledger, *(number % 256 for number in range(1_000)))
    rows, more = take(ledger)
    assert ([row.payload["n"] for row in rows], more) == (list(range(LIMIT)), True)


def test_each_shard_is_applied_in_its_order_and_no_row_is_left(ledger: Ledger) -> None:
    runs = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 120)), min_size=1, max_size=12)

    @examples(ledger, 60)
    @given(runs, st.integers(1, 200))
    def shown(drawn: list[tuple[int, int]], limit: int) -> None:
        empty(ledger)
        shards = [shard for shard, number in drawn for _ in range(number)]
        post(ledger, *shards)
        taken: dict[int, list[int]] = defaultdict(list)
        for rows, more in iter(lambda: take(ledger, limit), ([], False)):
            assert rows, "more waits, and nothing is taken"
            assert more or sum(map(len, taken.values())) + len(rows) == len(shards)
            for row in rows:
                taken[row.shard].append(row.payload["n"])
        assert taken == {shard: [n for n, each in enumerate(shards) if each == shard] for shard in set(shards)}

    shown()


def test_a_search_behind_a_backlog_reads_an_index_only(ledger: Ledger) -> None:
    """Each batch skips 200,000 rows of one task: their bodies must not be read for it."""
    if ledger.path is None:
        pytest.skip("PostgreSQL plans by size; test_plans.py shows the same statement on a large ledger")
    with ledger.read() as connection:
        said = "SELECT id FROM inbox WHERE applied_at IS NULL AND id > 9 AND shard NOT IN (7) ORDER BY id LIMIT 400"
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}").all()
    assert all("inbox_unapplied" in row[3] for row in plan), plan
