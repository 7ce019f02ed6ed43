"""The table of moves between states, total over what the fold can say.

Facts are folded into a state; the table says which change of state that may be. A folded move that it does not know is a bug.
Ordinary moves go forward in a task's life. Corrections leave a final state, or follow from runs that were found to be cut
elsewhere: they are marked, so that downstream can tell "it ended" from "it had not ended".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from transitions import Machine, MachineError

from statemachine.states import LIVE, State

#: Where a task is before anything is known of it.
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
    "request": ((NEW,), State.REQUESTED, "we mean to start it"),
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
        "it reconnects, or has no media",
    ),
    "ask_stop": (
        (NEW, State.REQUESTED, State.ACCEPTED, State.RUNNING, State.INTERRUPTED, State.FINISHING),
        State.STOPPING,
        "a stop was asked for",
    ),
    "finish": (
        (NEW, State.REQUESTED, State.ACCEPTED, State.RUNNING, State.INTERRUPTED, State.STOPPING),
        State.FINISHING,
        "capturing ended, files are awaited",
    ),
    **{trigger: ((NEW, *sorted(LIVE)), state, state.value) for trigger, state in _ENDS.items()},
}

#: The states that a correction can lead to, by trigger; its sources are all states.
CORRECTIONS: dict[str, State] = {f"correct_to_{state.value}": state for state in State}


def _build_machine() -> Machine:
    states = [NEW, *(state.value for state in State)]
    table = [
        {"trigger": trigger, "source": [str(s) for s in sources], "dest": dest.value}
        for trigger, (sources, dest, _) in ORDINARY.items()
    ]
    table += [
        {"trigger": trigger, "source": [s for s in states[1:] if s != dest], "dest": dest.value}
        for trigger, dest in CORRECTIONS.items()
    ]
    return Machine(model=None, states=states, transitions=table, initial=NEW, auto_transitions=False, send_event=False)


#: One for the whole program: a Machine per task would leak, one per event costs ten times a move.
MACHINE = _build_machine()
_ORDINARY_TO = {dest: trigger for trigger, (_, dest, _) in ORDINARY.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of state. `before` None: the task is new."""

    before: State | None
    after: State
    #: It leaves a final state, or runs were found to be cut elsewhere.
    corrects: bool


class UnknownMoveError(Exception):
    """The fold said a change of state that the table does not know."""


@dataclass(slots=True)
class _Piece:
    """What the machine moves: thrown away after each move, so that nothing is registered and nothing leaks."""

    state: str


def is_ordinary(before: State | None, after: State) -> bool:
    """Whether the table has an ordinary move between these two."""
    return (before.value if before else NEW) in MACHINE.events[_ORDINARY_TO[after]].transitions


@cache
def checked_move(before: State | None, after: State, *, corrects: bool = False) -> Move:
    """The move between two folded states, checked against the table; each is checked once (20 us), for there are few.

    corrects: a final state is left, or runs were found to be cut elsewhere. Raises UnknownMoveError.
    """
    trigger = f"correct_to_{after.value}" if corrects else _ORDINARY_TO[after]
    piece = _Piece(before.value if before else NEW)
    try:
        MACHINE.events[trigger].trigger(piece)
    except MachineError as error:
        raise UnknownMoveError(f"{piece.state} -> {after.value}") from error
    return Move(before=before, after=after, corrects=corrects)


def state_diagram() -> str:
    """The ordinary moves as a Mermaid state diagram, from the machine's own table; what any live state can do is drawn once."""
    lines = ["stateDiagram-v2", "    [*] --> live: first news, whatever it says", "    state live {"]
    ends = []
    for trigger, sources, dest in _table_rows():
        if set(sources) >= LIVE:
            ends.append(f"    live --> {dest}: {trigger}")
        else:
            lines += [f"        {source} --> {dest}: {trigger}" for source in sources if source != NEW]
    return "\n".join([*lines, "    }", *ends]) + "\n"


def _table_rows() -> Iterable[tuple[str, list[str], str]]:
    for trigger, (_, dest, _) in ORDINARY.items():
        sources = [t.source for ts in MACHINE.events[trigger].transitions.values() for t in ts]
        yield trigger, sources, dest.value
