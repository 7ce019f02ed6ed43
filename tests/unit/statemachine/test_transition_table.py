"""The table of moves is total, checked, and drawn as a diagram."""

from dataclasses import replace

import pytest

from statemachine.decide import decide
from statemachine.events import CallbackReceived
from statemachine.facts import Fact, FactKind
from statemachine.rules import Rules
from statemachine.states import FINAL, LIVE, State
from statemachine.tasks import Lineage
from statemachine.transition_table import (
    CORRECTIONS,
    MACHINE,
    NEW,
    ORDINARY,
    Move,
    UnknownMoveError,
    checked_move,
    is_ordinary,
    state_diagram,
)
from tests.unit.statemachine.lineage_scenario import LineageScenario, ms
from tests.unit.statemachine.test_order import KEY

NOT_ORDINARY = {
    (State.RUNNING, State.ACCEPTED),
    (State.STOPPING, State.ACCEPTED),
    (State.STOPPING, State.RUNNING),
    (State.STOPPING, State.INTERRUPTED),
    *((state, State.REQUESTED) for state in LIVE - {State.REQUESTED}),
}


def test_the_machine_knows_all_states_and_no_more():
    assert set(MACHINE.states) == {NEW, *(state.value for state in State)}


def test_every_state_can_be_the_first():
    assert all(checked_move(None, state) == Move(before=None, after=state, corrects=False) for state in State)


def test_from_a_live_state_everything_is_a_move_but_steps_back():
    unknown = {(a, b) for a in LIVE for b in State if a is not b and not is_ordinary(a, b)}
    assert unknown == NOT_ORDINARY


def test_no_ordinary_move_leaves_a_final_state():
    assert not any(is_ordinary(before, after) for before in FINAL for after in State)


def test_a_correction_leads_from_every_state_to_every_other():
    for before in State:
        for after in set(State) - {before}:
            assert checked_move(before, after, corrects=True) == Move(before=before, after=after, corrects=True)


@pytest.mark.parametrize(("before", "after"), sorted(NOT_ORDINARY | {(State.STOPPED, State.RUNNING)}))
def test_a_move_that_the_table_does_not_know_raises(before, after):
    with pytest.raises(UnknownMoveError, match=f"{before.value} -> {after.value}"):
        checked_move(before, after)


def test_an_unknown_move_changes_nothing():
    """The stored task ran, though no fact shows it: folding moves it back, and nothing explains the move."""
    start, remark = (Fact(kind=kind, at=ms(0), received_at=ms(0), key=kind.value) for kind in (FactKind.START, FactKind.NOTE))
    lineage = decide(Lineage(key=KEY), CallbackReceived(fact=start), ms(0), lambda kind, params: Rules()).lineage
    (task,) = lineage.tasks
    wrong = replace(lineage, tasks=(replace(task, view=replace(task.view, state=State.RUNNING)),))
    with pytest.raises(UnknownMoveError, match="running -> accepted"):
        decide(wrong, CallbackReceived(fact=remark), ms(1), lambda kind, params: Rules())
    assert wrong.facts == (start,)
    assert wrong.tasks[0].view.state is State.RUNNING


def test_a_callback_read_anew_may_step_back_as_a_correction():
    media, standby = (
        Fact(kind=kind, at=ms(0), received_at=ms(0), key="k", source="1") for kind in (FactKind.MEDIA, FactKind.NO_MEDIA)
    )
    before = decide(Lineage(key=KEY), CallbackReceived(fact=media), ms(0), lambda kind, params: Rules()).lineage
    decision = decide(before, CallbackReceived(fact=standby, replaces="1"), ms(1), lambda kind, params: Rules())
    assert [change.move for change in decision.changes] == [Move(before=State.RUNNING, after=State.ACCEPTED, corrects=True)]


def test_a_change_of_reason_alone_is_a_correction():
    story = LineageScenario()
    story.tencent(312, 0, Status=0)
    story.tencent(311, 1, TencentVod={"FileId": "f"})
    assert story.changes[-1].move == Move(before=State.COMPLETED, after=State.COMPLETED, corrects=True)


def test_a_move_is_a_line_in_the_timeline():
    story = LineageScenario()
    story.volc("RelayStreamStateChanged", 0, Status=1)
    story.pass_due(630)
    lines = [entry for change in story.changes for entry in change.entries if entry["kind"] == "move"]
    assert lines[0] == {"kind": "move", "from": None, "to": "accepted"}
    assert lines[-1] == {"kind": "move", "from": "accepted", "to": "idle_timeout", "reason": "max_idle_time", "inferred": True}


def test_the_diagram_shows_each_ordinary_move_once():
    lines = [line.strip() for line in state_diagram().splitlines()]
    arrows = {(f"{before.value} --> {after.value}", after) for before in LIVE for after in LIVE if is_ordinary(before, after)}
    assert lines[0] == "stateDiagram-v2"
    assert len(lines) == len(set(lines))
    assert all(sum(line.startswith(f"{arrow}:") for line in lines) == 1 for arrow, _ in arrows)
    assert all(sum(line.startswith(f"live --> {state.value}:") for line in lines) == 1 for state in FINAL)


def test_every_state_has_a_trigger_and_a_correction():
    assert {dest for _, dest, _ in ORDINARY.values()} == set(State) == set(CORRECTIONS.values())
