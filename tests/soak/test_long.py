"""The long proofs: what `make test` shows with hundreds of cases, with many thousands. Minutes each."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import test_kill
from tests.statemachine import test_compaction, test_inference, test_order

pytestmark = pytest.mark.soak

LONG = settings(max_examples=15_000, deadline=None, derandomize=False, suppress_health_check=list(HealthCheck))
PROOFS = [
    proof
    for module in (test_order, test_inference, test_compaction)
    for name, proof in vars(module).items()
    if name.startswith("test_") and hasattr(proof, "hypothesis")
]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.__name__)
def test_a_property_holds_for_many_thousands_of_cases(proof):
    LONG(proof)()


def test_killed_five_hundred_times_it_loses_nothing_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(test_kill, "KILLS", 500)
    test_kill.test_killed_fifty_times_it_loses_nothing_and_doubles_nothing(tmp_path)
