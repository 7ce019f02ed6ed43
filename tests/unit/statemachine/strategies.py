"""Hypothesis strategies for lineages of facts, in the shapes that the vendors really send."""

from hypothesis import strategies as st

from statemachine.facts import Ending, Fact, FactKind, File, FilesDelivered, Output
from statemachine.rules import Rules
from statemachine.states import FileState, Kind, OutputState, Reason, State
from tests.support.times import T0

S = 1000

PUSH = Rules(single_output=True, idle_s=86_400)
RELAY = Rules(life_s=72 * 3600, life_margin_s=300, idle_s=600)
RECORD = Rules(finish_unheard_s=600)
ONE_RUN = Rules(single_run=True, life_s=3600, life_margin_s=60)


def _end_sign(state: State, reason: Reason, rank: int = 4, *, stop_wins: bool = False, life_wins: bool = False) -> dict:
    outcome = Ending(state=state, reason=reason, rank=rank, stop_wins=stop_wins, life_wins=life_wins)
    return {"kind": FactKind.END, "outcome": outcome}


REFUSED = {"kind": FactKind.REFUSED, "outcome": Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=1)}
NOTE = {"kind": FactKind.NOTE}
ASKED = {"kind": FactKind.STOP_ASKED}
STOPPED = {"kind": FactKind.STOP_ACCEPTED}
INTENT = {"kind": FactKind.INTENT}
ACCEPTED = {"kind": FactKind.ACCEPTED}


def _capture_sign(state: State, reason: Reason, **more: object) -> dict:
    return {"kind": FactKind.CAPTURE_END, "outcome": Ending(state=state, reason=reason), **more}


FILE = (File(name="a.mp4"),)
OTHER_FILE = (File(name="b.mp4", state=FileState.DELIVERED),)

#: Each family: its rules, and the signs that its vendor can send.
PUSH_SIGNS = [
    {"kind": FactKind.START, "opens": True, "output": Output(url="rtmp://a/b", state=OutputState.CONNECTING)},
    REFUSED,
    {"kind": FactKind.MEDIA, "output": Output(url="rtmp://a/b", state=OutputState.RUNNING)},
    {"kind": FactKind.INTERRUPTED, "output": Output(url=None, state=OutputState.RECOVERING)},
    {"kind": FactKind.NO_MEDIA, "idle": True},
    _end_sign(State.STOPPED, Reason.UNSTATED, 3, stop_wins=True),
    _end_sign(State.STOPPED, Reason.UNSTATED, 4, stop_wins=True),
    _end_sign(State.FAILED, Reason.BAD_SOURCE, 1),
    {"kind": FactKind.STOP_FAILED},
    NOTE,
    ASKED,
    INTENT,
    ACCEPTED,
]
RELAY_SIGNS = [
    {"kind": FactKind.START, "opens": True, "idle": True},
    {"kind": FactKind.CONNECTING, "opens": True},
    {"kind": FactKind.MEDIA, "opens": True},
    _end_sign(State.COMPLETED, Reason.SOURCE_FINISHED, 1),
    _end_sign(State.STOPPED, Reason.UNSTATED, 4, life_wins=True),
    NOTE,
    ASKED,
]
RECORD_SIGNS = [
    {"kind": FactKind.START, "opens": True, "one_off": True, "media": True},
    REFUSED,
    _capture_sign(State.COMPLETED, Reason.FILES_UNKNOWN, files=FILE),
    _capture_sign(State.COMPLETED, Reason.NO_FILES, delivery=FilesDelivered.OVER),
    _end_sign(State.FAILED, Reason.VENDOR_ERROR),
    {"kind": FactKind.UPLOAD},
    {"kind": FactKind.UPLOAD, "delivery": FilesDelivered.WITH_CAPTURE, "file_state": FileState.DELIVERED},
    {"kind": FactKind.UPLOAD, "file_state": FileState.BACKED_UP},
    NOTE,
]
ONE_RUN_RECORD_SIGNS = [
    {"kind": FactKind.START, "opens": True, "one_off": True, "media": True, "kind_hint": Kind.RECORD},
    REFUSED,
    _capture_sign(State.STOPPED, Reason.STOP_REQUESTED),
    _capture_sign(State.EXPIRED, Reason.MAX_LIFETIME),
    {"kind": FactKind.UPLOAD, "delivery": FilesDelivered.WITH_CAPTURE, "file_state": FileState.DELIVERED},
    {"kind": FactKind.UPLOAD, "delivery": FilesDelivered.OVER},
    {"kind": FactKind.FILES, "files": FILE, "recording": True},
    {"kind": FactKind.FILES, "files": OTHER_FILE, "delivery": FilesDelivered.SINCE_CAPTURE},
    _end_sign(State.FAILED, Reason.VENDOR_ERROR),
    {"kind": FactKind.INTERRUPTED},
    {"kind": FactKind.MEDIA, "kind_hint": Kind.PAGE},
    NOTE,
]
OUTPUT_SIGNS = [
    *({"kind": FactKind.OUTPUT, "output": Output(url=url, state=state)} for url in ("u1", "u2") for state in OutputState),
    ASKED,
    STOPPED,
]
INGEST_SIGNS = [
    {"kind": FactKind.START, "opens": True, "one_off": True, "media": True},
    {"kind": FactKind.CONNECTING},
    _end_sign(State.COMPLETED, Reason.UNSTATED, stop_wins=True, life_wins=True),
    ASKED,
]
FAMILIES = [
    (PUSH, PUSH_SIGNS, True),
    (RELAY, RELAY_SIGNS, False),
    (RECORD, RECORD_SIGNS, False),
    (ONE_RUN, ONE_RUN_RECORD_SIGNS, False),
    (ONE_RUN, OUTPUT_SIGNS, False),
    (ONE_RUN, INGEST_SIGNS, False),
]
#: Few distinct times, so that equal times and tolerances are frequent; some are days apart.
SECONDS = st.one_of(st.integers(0, 12), st.sampled_from([60, 3_600, 4_000, 72 * 3600 - 100, 73 * 3600]))


@st.composite
def lineages(draw: st.DrawFn, families: list = FAMILIES, max_size: int = 9) -> tuple[Rules, list[Fact]]:
    """Draws the rules of a family, and a set of facts of one key."""
    rules, signs, tells_creation = draw(st.sampled_from(families))
    facts = []
    for number in range(draw(st.integers(1, max_size))):
        sign = draw(st.sampled_from(signs))
        at = T0 + draw(SECONDS) * S + draw(st.sampled_from([0, 0, 0, 11]))
        started_at = None
        if tells_creation and sign["kind"] in (FactKind.MEDIA, FactKind.INTERRUPTED, FactKind.NO_MEDIA, FactKind.END):
            started_at = draw(st.sampled_from([None, T0, T0 + 4 * S, T0 + 9 * S, T0 + 3_600 * S]))
        facts.append(Fact(at=at, received_at=at + 50, key=f"k{number}", source=f"s{number}", started_at=started_at, **sign))
    return rules, facts
