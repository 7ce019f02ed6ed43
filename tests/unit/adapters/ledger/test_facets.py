"""Facets count the tasks of each kind, however these change."""

from adapters.ledger import Ledger, facets
from adapters.ledger.facets import facet_of
from statemachine.states import Anomaly
from tests.support.ledger_rows import DONE, key, save, task


def test_a_task_counts_in_its_current_facet(ledger: Ledger) -> None:
    save(ledger, task(), task(key("t2")))
    save(ledger, task(version=2, **DONE))
    with ledger.read() as connection:
        assert facets.by_state(connection) == {("volcengine", "push", "completed"): 1, ("volcengine", "push", "running"): 1}


def test_each_anomaly_of_a_task_counts(ledger: Ledger) -> None:
    save(ledger, task(anomalies=(Anomaly.OVERDUE, Anomaly.ZOMBIE)), task(key("t2"), anomalies=(Anomaly.ZOMBIE,)), task(key("t3")))
    with ledger.read() as connection:
        assert facets.by_anomaly(connection) == {"overdue": 1, "zombie": 2}


def test_a_cleared_anomaly_counts_no_more(ledger: Ledger) -> None:
    save(ledger, task(anomalies=(Anomaly.ZOMBIE,)))
    save(ledger, task(version=2))
    with ledger.read() as connection:
        assert facets.by_anomaly(connection) == {}


def test_a_merged_task_counts_no_more(ledger: Ledger) -> None:
    save(ledger, task(anomalies=(Anomaly.ZOMBIE,)))
    save(ledger, task(merged_into="0" * 26, version=2, anomalies=(Anomaly.ZOMBIE,)))
    with ledger.read() as connection:
        assert (facets.by_state(connection), facets.by_anomaly(connection)) == ({}, {})


def test_a_facets_number_depends_only_on_its_values() -> None:
    facet, same, other = facet_of(task()), facet_of(task(key("t2", room_id="other"))), facet_of(task(**DONE))
    assert facet is not None
    assert other is not None
    assert facet == same
    assert facet.number == 1787161307129555873  # it stands in ledgers: never another
    assert other.number != facet.number
