"""Folds the facts of one run to its view: its state and reason, its outputs, files and times.

Precedence: delivered files come first; then an end reported by the vendor; then an end that we inferred; then signs of life. An
inferred end is revoked by newer signs of life only. Among signs of life the newest counts, except that the state is `stopping`
between our stop request and an end. A view is a function of the run's sorted facts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from statemachine.facts import Fact, File, Output
from statemachine.fast_dataclasses import fast_init
from statemachine.folding.run_end import find_run_end
from statemachine.folding.run_progress import RunProgress
from statemachine.folding.runs import Run
from statemachine.rules import Rules
from statemachine.states import Deadline, Kind, Reason, State


@fast_init
@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The current state of one run, as its facts show it. Times in ms since the epoch."""

    state: State
    reason: Reason | None = None
    #: The state is our inference; the vendor did not report it.
    inferred: bool = False
    vendor_code: str | None = None
    vendor_message: str | None = None
    outputs: tuple[Output, ...] = ()
    files: tuple[File, ...] = ()
    #: The vendor named more files than are kept.
    files_truncated: bool = False
    room_id: str | None = None
    robot: str | None = None
    accepted_at: int | None = None
    running_at: int | None = None
    ended_at: int | None = None

    # Times from which deadlines count.
    #: The start. Managed tasks: the later of the accepted start call and a planned start. Observed tasks: a planned start, else the
    #: earliest sign.
    started_at: int | None = None
    scheduled_at: int | None = None
    idle_since: int | None = None
    interrupted_since: int | None = None
    #: When the task began to wait for files.
    finishing_since: int | None = None
    upload_heard: bool = False
    #: Key of the fact that counts as the capture's end.
    captured_by: str | None = None
    stop_asked_at: int | None = None
    #: Number of stop calls that the vendor accepted.
    stops_accepted: int = 0
    #: When the vendor last accepted a stop call.
    stop_accepted_at: int | None = None
    #: The stop gives up an ambiguous start: it makes sure that nothing runs if that start did happen.
    gave_up: bool = False
    #: Time of the run's first fact.
    begins_at: int = 0
    #: The vendor showed signs of the task, other than a rejected start and notes.
    shown: bool = False
    #: The key has a newer run.
    followed: bool = False
    #: Time of the newest fact.
    evidence_at: int
    #: When the newest fact from the vendor was received.
    heard_at: int

    # Contradictions.
    #: The first sign of life after an end reported by the vendor.
    zombie_since: int | None = None
    #: The newest such sign.
    zombie_at: int | None = None
    stop_failed_at: int | None = None
    #: The deadline by which an end was inferred that a newer sign of life revoked.
    revoked: Deadline | None = None
    #: Time of that sign of life.
    revoked_at: int | None = None
    #: State and reason of the end if no file ever arrives (`finishing` only).
    fallback: tuple[State, Reason] | None = None


def lineage_kind(facts: Iterable[Fact], default: Kind | None) -> Kind:
    """Returns the kind of a lineage: the key's own (`default`), else `record` if its facts hint at nothing else, else `page`."""
    if default is not None:
        return default
    return Kind.RECORD if {fact.kind_hint for fact in facts} - {None} == {Kind.RECORD} else Kind.PAGE


def fold_run(run: Run, rules: Rules) -> View:
    """Returns the view of this run."""
    progress = RunProgress(run, rules)
    end = find_run_end(progress)
    state, reason, inferred = progress.current_state() if end is None else (end.state, end.reason, end.inferred)
    explanation = end.fact if end else progress.newest_explanation()
    return View(
        state=state,
        reason=reason,
        inferred=inferred,
        vendor_code=explanation.code if explanation else None,
        vendor_message=explanation.message if explanation else None,
        outputs=progress.final_outputs() if end and rules.single_output else progress.outputs(),
        files=progress.files,
        files_truncated=progress.files_truncated,
        room_id=progress.room_id,
        robot=progress.robot,
        accepted_at=progress.accepted_at,
        running_at=progress.running_at,
        ended_at=end.at if end else None,
        started_at=progress.started_at(),
        scheduled_at=progress.scheduled_at,
        idle_since=progress.idle_since if end is None else None,
        interrupted_since=progress.interrupted_since if state is State.INTERRUPTED else None,
        finishing_since=progress.finishing_since() if state is State.FINISHING else None,
        upload_heard=progress.upload_seen,
        captured_by=progress.capture_end.key if progress.capture_end else None,
        stop_asked_at=progress.stop_asked.at if progress.stop_asked else None,
        stops_accepted=len(progress.stops_accepted),
        stop_accepted_at=max(progress.stops_accepted, default=None),
        gave_up=progress.gave_up,
        begins_at=run.begins_at,
        shown=run.shown,
        followed=run.has_successor,
        evidence_at=run.facts[-1].at,
        heard_at=run.facts[0].received_at if progress.heard_at is None else progress.heard_at,
        zombie_since=progress.zombie_since,
        zombie_at=progress.zombie_at,
        stop_failed_at=progress.stop_failed_at,
        revoked=progress.revoked.deadline if progress.revoked else None,
        revoked_at=progress.revoked_at,
        fallback=progress.fallback_ending() if state is State.FINISHING else None,
    )
