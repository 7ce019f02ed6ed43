"""Sums change by the numbers that are added."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from adapters.ledger import Ledger, counters


def test_sums_are_kept_by_name_and_label(ledger: Ledger) -> None:
    with ledger.write() as connection:
        counters.add(connection, "n", {"a": 2, "b": 1, "c": 0})
        counters.add(connection, "n", {"a": 3, "b": -1})
        counters.add(connection, "other", {"a": 7})
        counters.add(connection, "n", {})
        assert counters.sums(connection, "n") == {"a": 5}
        assert counters.total(connection, "n") == 5
        assert counters.total(connection, "nothing") == 0


def test_a_dropped_sum_is_gone_and_the_others_stay(ledger: Ledger) -> None:
    with ledger.write() as connection:
        counters.add(connection, "n", {"a": 2, "b": 1})
        counters.drop_sum(connection, "n", "a")
        counters.drop_sum(connection, "n", "c")
        assert counters.sums(connection, "n") == {"b": 1}


def test_older_sums_are_folded_into_one_and_none_is_lost(ledger: Ledger) -> None:
    with ledger.write() as connection:
        counters.add(connection, "n", {"1": 2, "2": 3, "5": 7})
        counters.add(connection, "other", {"1": 1})
        counters.fold_older(connection, "n", "5", "all")
        counters.fold_older(connection, "n", "5", "all")
        assert counters.sums(connection, "n") == {"5": 7, "all": 5}
        assert counters.sums(connection, "other") == {"1": 1}


def test_concurrent_additions_and_folds_are_neither_lost_nor_counted_twice(ledger: Ledger) -> None:
    labels = [str(number) for number in range(10, 30)]
    ready = Barrier(4)

    def work(number: int) -> None:
        ready.wait()
        for _ in range(10):
            with ledger.write() as connection:
                if number < 2:
                    counters.add(connection, "n", dict.fromkeys(labels[:: 1 - 2 * number], 1))
                else:
                    counters.fold_older(connection, "n", "20", "all")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with ledger.read() as connection:
        assert counters.total(connection, "n") == 2 * 10 * len(labels)


def test_sums_may_be_as_large_as_can_be(ledger: Ledger) -> None:
    with ledger.write() as connection:
        counters.add(connection, "n", {"1": 2**62, "2": 2**62 - 1})
        counters.fold_older(connection, "n", "9", "all")
        assert counters.sums(connection, "n") == {"all": 2**63 - 1}
