"""A thinned run reads the same by itself: the check behind it, which keeps more facts instead, has nothing to do.

Where that check had to help for ever, a run would grow for ever.
"""

import pytest
from hypothesis import given

from statemachine.facts import Fact, FactKind, Output
from statemachine.folding import thinning
from statemachine.folding.run_view import fold_run
from statemachine.folding.runs import cut_runs
from statemachine.states import OutputState
from tests.support.hypothesis_effort import effort
from tests.support.times import T0
from tests.unit.statemachine.folding.test_compaction import FEW
from tests.unit.statemachine.strategies import FAMILIES, ONE_RUN, S, lineages

#: (second, output, state); state None: the vendor accepted our stop.
Sign = tuple[int, str, OutputState | None]
CONNECTING, RUNNING, FAILED = OutputState.CONNECTING, OutputState.RUNNING, OutputState.FAILED
ENDED, LEAVING = OutputState.ENDED, OutputState.DISCONNECTING

#: An output fails while another one runs; the run is interrupted only once that one leaves too.
SINCE = [(0, "a", RUNNING), (0, "b", FAILED), (9, "b", RUNNING), (10, "b", FAILED), (11, "a", LEAVING), (90, "b", FAILED)]
#: An output ends after a stop was accepted; the other one has not, so that it is no zombie.
STOPPED = [(0, "b", CONNECTING), (1, "a", CONNECTING), (2, "b", ENDED), (3, "", None), (4, "a", CONNECTING), (5, "a", CONNECTING)]


def facts_of(signs: list[Sign]) -> list[Fact]:
    return [
        Fact(
            kind=FactKind.STOP_ACCEPTED if state is None else FactKind.OUTPUT,
            at=T0 + second * S,
            received_at=T0 + second * S,
            key=f"k{number}",
            output=None if state is None else Output(url=url, state=state),
        )
        for number, (second, url, state) in enumerate(signs)
    ]


def read(facts: list[Fact], rules: object) -> tuple[list[object], list[object]]:
    """Returns the views of the runs, before and after they are thinned to the facts that they depend on and their newest fact."""
    runs = cut_runs(facts, rules)
    kept = {fact.key for run in runs for fact in thinning._thin_run(run, frozenset(), rules, 1)}
    thin = cut_runs([fact for fact in facts if fact.key in kept], rules)
    return [[thinning._comparable_view(fold_run(run, rules)) for run in some] for some in (runs, thin)]


@pytest.mark.parametrize("signs", [SINCE, STOPPED], ids=["interrupted", "stopped"])
def test_how_outputs_stood_together_at_an_earlier_time_is_kept(signs):
    as_before, thin = read(facts_of(signs), ONE_RUN)
    assert thin == as_before


@effort(300)
@given(lineages(FAMILIES + FEW * 2, 24))
def test_no_run_reads_otherwise_once_it_is_thinned(drawn):
    rules, facts = drawn
    as_before, thin = read(sorted(facts, key=lambda fact: fact.order), rules)
    assert thin == as_before
