"""The table of moves between states: every move that folding can produce.

Facts are folded into a state; the table checks each change of state. A move that is not in it is a bug. Ordinary moves go forward
in a task's life. Corrections leave a final state, or follow from runs that are cut differently now; they are marked, so that
subscribers can tell "it ended" from "it had not ended".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from transitions import Machine, MachineError

from statemachine.states import LIVE, State

#: The state of a task that does not exist yet.
NEW = "new"

_ENDS = {
    "stop": State.STOPPED,
    "complete": State.COMPLETED,
    "fail": State.FAILED,
    "expire": State.EXPIRED,
    "idle_out": State.IDLE_TIMEOUT,
    "lose": State.LOST,
}

#: trigger -> (sources, destination, what happened).
ORDINARY: dict[str, tuple[tuple[str, ...], State, str]] = {
    "request": ((NEW,), State.REQUESTED, "a start was requested"),
    "accept": (
        (NEW, State.REQUESTED, State.INTERRUPTED, State.FINISHING),
        State.ACCEPTED,
        "the vendor accepted it, no media yet",
    ),
    "run": (
        (NEW, State.REQUESTED, State.ACCEPTED, State.INTERRUPTED, State.FINISHING),
        State.RUNNING,
        "media flows",
    ),
    "interrupt": (
        (NEW, State.REQUESTED, State.ACCEPTED, State.RUNNING, State.FINISHING),
        State.INTERRUPTED,
        "the task reconnects, or has no media",
    ),
    "ask_stop": (
        (NEW, State.REQUESTED, State.ACCEPTED, State.RUNNING, State.INTERRUPTED, State.FINISHING),
        State.STOPPING,
        "a stop was requested",
    ),
    "finish": (
        (NEW, State.REQUESTED, State.ACCEPTED, State.RUNNING, State.INTERRUPTED, State.STOPPING),
        State.FINISHING,
        "capturing ended, files are awaited",
    ),
    **{trigger: ((NEW, *sorted(LIVE)), state, state.value) for trigger, state in _ENDS.items()},
}

#: trigger -> destination of a correction; its sources are all other states.
CORRECTIONS: dict[str, State] = {f"correct_to_{state.value}": state for state in State}


def _build_machine() -> Machine:
    states = [NEW, *(state.value for state in State)]
    table = [
        {"trigger": trigger, "source": [str(state) for state in sources], "dest": dest.value}
        for trigger, (sources, dest, _) in ORDINARY.items()
    ]
    table += [
        {"trigger": trigger, "source": [state for state in states[1:] if state != dest], "dest": dest.value}
        for trigger, dest in CORRECTIONS.items()
    ]
    return Machine(model=None, states=states, transitions=table, initial=NEW, auto_transitions=False, send_event=False)


#: One for the whole program: a machine per task would leak memory, one per event costs ten times as much as a move.
MACHINE = _build_machine()
_ORDINARY_TO = {dest: trigger for trigger, (_, dest, _) in ORDINARY.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of state, or of its reason."""

    #: None: the task is new.
    before: State | None
    after: State
    #: It is a correction: it leaves a final state, changes only the reason, or runs are cut differently now.
    corrects: bool


class UnknownMoveError(Exception):
    """Folding produced a move that is not in the table."""


@dataclass(slots=True)
class _Model:
    """The object whose state the machine changes: a new one for each move, so that the machine holds no references."""

    state: str


def is_ordinary(before: State | None, after: State) -> bool:
    """Returns whether the move is an ordinary one. before: None: the task is new."""
    return (before.value if before else NEW) in MACHINE.events[_ORDINARY_TO[after]].transitions


@cache
def checked_move(before: State | None, after: State, *, corrects: bool = False) -> Move:
    """Returns the move between two folded states, checked against the table. Raises UnknownMoveError if it is not in it.

    There are few moves, so each is checked only once (20 us). corrects: see `Move`.
    """
    trigger = f"correct_to_{after.value}" if corrects else _ORDINARY_TO[after]
    model = _Model(before.value if before else NEW)
    try:
        MACHINE.events[trigger].trigger(model)
    except MachineError as error:
        raise UnknownMoveError(f"{model.state} -> {after.value}") from error
    return Move(before=before, after=after, corrects=corrects)


def state_diagram() -> str:
    """Returns the ordinary moves as a Mermaid state diagram; moves that every live state has are drawn once."""
    lines = ["stateDiagram-v2", "    [*] --> live: first callback or request", "    state live {"]
    ends = []
    for trigger, sources, dest in _table_rows():
        if set(sources) >= LIVE:
            ends.append(f"    live --> {dest}: {trigger}")
        else:
            lines += [f"        {source} --> {dest}: {trigger}" for source in sources if source != NEW]
    return "\n".join([*lines, "    }", *ends]) + "\n"


def _table_rows() -> Iterable[tuple[str, list[str], str]]:
    """Yields (trigger, sources, destination) of the ordinary moves."""
    for trigger, (_, dest, _) in ORDINARY.items():
        sources = [move.source for moves in MACHINE.events[trigger].transitions.values() for move in moves]
        yield trigger, sources, dest.value
