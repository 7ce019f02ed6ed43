"""The health of the ledger is known at once, whatever the ledger does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.clock import monotonic_s
from adapters.ledger import Connection, Ledger, LedgerUnavailableError
from adapters.ledger.availability import LedgerCheck
from adapters.ledger.migrate import upgrade
from adapters.supervision import Health

LATE_S = 20


class HangingLedger(Ledger):
    """A real ledger that can be made unavailable or unresponsive."""

    is_away = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.may_go_on = threading.Event()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        assert self.may_go_on.wait(LATE_S)
        if self.is_away:
            raise LedgerUnavailableError("secret words")
        with super().read() as connection:
            yield connection


def faults(health: Health) -> list[tuple[str, str, bool]]:
    return [(fault.part, fault.detail, fault.vital) for fault in health.faults()]


def test_a_current_ledger_has_no_fault(ledger: Ledger) -> None:
    health = Health()
    LedgerCheck(ledger, health).check_once()
    assert faults(health) == []


def test_a_ledger_without_a_schema_makes_the_process_unready(tmp_path: Path) -> None:
    ledger, health = Ledger(f"sqlite:///{tmp_path}/tally.db"), Health()
    LedgerCheck(ledger, health).check_once()
    ((part, detail, vital),) = faults(health)
    assert (part, "run `tally db upgrade`" in detail, vital) == ("schema", True, True)
    upgrade(ledger)
    LedgerCheck(ledger, health).check_once()
    assert faults(health) == []
    ledger.close()


def test_a_ledger_that_is_away_is_a_fault_that_leaves_the_process_ready(tmp_path: Path) -> None:
    ledger, health = HangingLedger(f"sqlite:///{tmp_path}/tally.db"), Health()
    ledger.may_go_on.set()
    upgrade(ledger)
    ledger.is_away = True
    check = LedgerCheck(ledger, health)
    check.check_once()
    assert faults(health) == [("ledger", "the ledger cannot be read", False)]
    ledger.is_away = False
    check.check_once()
    assert faults(health) == []
    ledger.close()


def test_a_ledger_that_does_not_answer_does_not_delay_a_readiness_probe(tmp_path: Path) -> None:
    ledger, health = HangingLedger(f"sqlite:///{tmp_path}/tally.db"), Health()
    ledger.may_go_on.set()
    upgrade(ledger)
    ledger.may_go_on.clear()
    check = LedgerCheck(ledger, health, patience_s=0.05)
    begun = monotonic_s()
    check.start(wait_s=0.1)
    assert monotonic_s() - begun < 5
    assert [(part, vital) for part, _, vital in faults(health)] == [("ledger", False)]
    ledger.may_go_on.set()
    while faults(health):
        assert monotonic_s() - begun < LATE_S
    check.stop()
    ledger.close()
