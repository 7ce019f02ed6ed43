"""Says how a run stands: its state, why, its outputs, files and times.

Rule: what the vendor told as an end counts before what we concluded, and what we concluded before signs of life that are no
newer than it; among living signs the newest counts, except that between our stop request and an end the state is `stopping`.
Delivered files count before everything. A view is a function of the run's facts, which stand in order.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from statemachine.facts import Fact, File, Output, Rules
from statemachine.fast_dataclasses import quickly_made
from statemachine.folding.run_end import end_of
from statemachine.folding.run_progress import Course
from statemachine.folding.runs import Run
from statemachine.states import Deadline, Kind, Reason, State


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How one run stands. Times in ms since the epoch."""

    state: State
    reason: Reason | None = None
    #: No word of the vendor said so.
    inferred: bool = False
    vendor_code: str | None = None
    vendor_message: str | None = None
    outputs: tuple[Output, ...] = ()
    files: tuple[File, ...] = ()
    #: More files were told than are kept.
    files_truncated: bool = False
    room_id: str | None = None
    robot: str | None = None
    accepted_at: int | None = None
    running_at: int | None = None
    ended_at: int | None = None

    # What deadlines count from.
    #: The start: the later of our accept and a planned start; observed: a planned start, else the earliest sign.
    started_at: int | None = None
    scheduled_at: int | None = None
    idle_since: int | None = None
    interrupted_since: int | None = None
    #: Since when files are awaited.
    finishing_since: int | None = None
    upload_heard: bool = False
    #: The key of the fact that speaks for the capture's end.
    captured_by: str | None = None
    stop_asked_at: int | None = None
    #: How often the vendor accepted our stop, and when last.
    stops_accepted: int = 0
    stop_accepted_at: int | None = None
    #: The stop is only to make sure that a start that may have happened runs no more.
    gave_up: bool = False
    #: Where it begins in the order of facts.
    begins_at: int = 0
    #: The vendor showed anything of it.
    shown: bool = False
    #: Its key has a newer run.
    followed: bool = False
    #: The newest time of anything that the vendor said of it.
    evidence_at: int
    #: When we last heard anything of it.
    heard_at: int

    # What contradicts it.
    #: The first and the newest sign of life after a told end.
    zombie_since: int | None = None
    zombie_at: int | None = None
    stop_failed_at: int | None = None
    #: An inferred end that a newer sign of life took back: what had concluded it, and when that sign was.
    revoked: Deadline | None = None
    revoked_at: int | None = None
    #: How it will be said to have ended if no file ever comes (`finishing` only).
    fallback: tuple[State, Reason] | None = None


def kind_of(facts: Iterable[Fact], default: Kind | None) -> Kind:
    """The kind of a lineage: the key's own, or what its facts hint: any `page`, else any `record`, else `page`."""
    if default is not None:
        return default
    return Kind.RECORD if {fact.kind_hint for fact in facts} - {None} == {Kind.RECORD} else Kind.PAGE


def fold(run: Run, rules: Rules) -> View:
    """How this run stands."""
    course = Course(run, rules)
    end = end_of(course)
    state, reason, inferred = course.standing() if end is None else (end.state, end.reason, end.inferred)
    telling = end.fact if end else course.newest_telling()
    return View(
        state=state,
        reason=reason,
        inferred=inferred,
        vendor_code=telling.code if telling else None,
        vendor_message=telling.message if telling else None,
        outputs=course.final_outputs() if end and rules.single_output else course.outputs(),
        files=course.files,
        files_truncated=course.files_truncated,
        room_id=course.room_id,
        robot=course.robot,
        accepted_at=course.accepted_at,
        running_at=course.running_at,
        ended_at=end.at if end else None,
        started_at=course.started_at(),
        scheduled_at=course.scheduled_at,
        idle_since=course.idle_since if end is None else None,
        interrupted_since=course.interrupted_since if state is State.INTERRUPTED else None,
        finishing_since=course.finishing_since() if state is State.FINISHING else None,
        upload_heard=course.upload_heard,
        captured_by=course.capture.key if course.capture else None,
        stop_asked_at=course.stop_asked.at if course.stop_asked else None,
        stops_accepted=len(course.stops_accepted),
        stop_accepted_at=max(course.stops_accepted, default=None),
        gave_up=course.gave_up,
        begins_at=run.begins_at,
        shown=run.shown,
        followed=run.has_successor,
        evidence_at=run.facts[-1].at,
        heard_at=run.facts[0].received_at if course.heard_at is None else course.heard_at,
        zombie_since=course.zombie_since,
        zombie_at=course.zombie_at,
        stop_failed_at=course.stop_failed_at,
        revoked=course.revoked.deadline if course.revoked else None,
        revoked_at=course.revoked_at,
        fallback=course.fallback() if state is State.FINISHING else None,
    )
