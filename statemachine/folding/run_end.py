"""How a run ended, if it did: the first of five sayings that holds.

Files that are told as delivered count before everything; then what the vendor told as an end, by rank; then outputs that have
all ended; then what we concluded; last, that a newer run took its place.
"""

from dataclasses import dataclass

from statemachine.facts import Fact, FactKind
from statemachine.folding.run_progress import Course
from statemachine.folding.run_scan import by_rank
from statemachine.states import FileState, Reason, State


@dataclass(frozen=True, slots=True)
class End:
    """A final state and the fact that says so."""

    state: State
    reason: Reason
    fact: Fact | None
    at: int
    inferred: bool = False


def end_of(course: Course) -> End | None:
    return _delivered(course) or _told(course) or _by_ended_outputs(course) or _concluded(course) or _followed(course)


def _delivered(course: Course) -> End | None:
    fact = course.delivered_by()
    if fact is None:
        return None
    any_file = any(file.state is not FileState.FAILED for file in course.files)
    reason = Reason.FILES_DELIVERED if any_file else Reason.NO_FILES
    telling = course.capture if fact.code is None and course.capture is not None else fact
    return End(State.COMPLETED, reason, telling, fact.at)


def _told(course: Course) -> End | None:
    ends = course.told_ends if course.run.shown else [*course.told_ends, *_refusals(course)]
    if not ends:
        return None
    fact = min(ends, key=by_rank)
    outcome = fact.outcome
    if outcome is None:
        return None
    at = fact.ended_at or fact.at
    if outcome.stop_wins and course.asked_before(fact.at):
        return End(State.STOPPED, Reason.STOP_REQUESTED, fact, at)
    if outcome.life_wins and course.outlived(fact.at):
        return End(State.EXPIRED, Reason.MAX_LIFETIME, fact, at)
    return End(outcome.state, outcome.reason, fact, at)


def _refusals(course: Course) -> list[Fact]:
    """Refusals, without those of an attempt that nobody answered, before the one that was accepted."""
    accepted = max((fact.order for fact in course.run.facts if fact.kind is FactKind.ACCEPTED and fact.again), default=None)
    refused = [fact for fact in course.run.facts if fact.kind is FactKind.REFUSED]
    return refused if accepted is None else [fact for fact in refused if fact.order > accepted]


def _by_ended_outputs(course: Course) -> End | None:
    """A vendor that tells outputs only: when all have ended, so has the task, unless an output comes to life again."""
    if not course.all_outputs_ended():
        return None
    fact = next(f for f in reversed(course.run.facts) if f.kind is FactKind.OUTPUT)
    if course.stop_accepted_at is not None:
        return End(State.STOPPED, Reason.STOP_REQUESTED, fact, fact.at)
    if course.all_outputs_failed():
        return End(State.FAILED, Reason.VENDOR_ERROR, course.last_failure() or fact, fact.at, inferred=True)
    return End(State.STOPPED, Reason.UNSTATED, fact, fact.at, inferred=True)


def _concluded(course: Course) -> End | None:
    fact = course.inferred
    if fact is None or fact.outcome is None or fact.finishing:
        return None
    return End(fact.outcome.state, fact.outcome.reason, fact, fact.ended_at or fact.received_at, inferred=True)


def _followed(course: Course) -> End | None:
    at = course.run.followed_at
    if at is None or course.capture is not None or course.only_files():
        return None
    return End(State.STOPPED, Reason.UNSTATED, None, at, inferred=True)
