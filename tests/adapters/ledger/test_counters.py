"""Sums grow and shrink by what is added."""

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


def test_older_sums_are_folded_into_one_and_none_is_lost(ledger: Ledger) -> None:
    with ledger.write() as connection:
        counters.add(connection, "n", {"1": 2, "2": 3, "5": 7})
        counters.add(connection, "other", {"1": 1})
        counters.fold_older(connection, "n", "5", "all")
        counters.fold_older(connection, "n", "5", "all")
        assert counters.sums(connection, "n") == {"5": 7, "all": 5}
        assert counters.sums(connection, "other") == {"1": 1}
