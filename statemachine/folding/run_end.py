"""Decides whether and how a run ended, by the first of five rules that applies.

In this order: the delivery of files is over; the vendor reported an end (the smallest rank counts); all outputs ended; we inferred
an end; a newer run took its place.
"""

from dataclasses import dataclass

from statemachine.facts import Fact, FactKind
from statemachine.folding.run_progress import RunProgress
from statemachine.folding.run_scan import ending_rank
from statemachine.states import FileState, Reason, State


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A final state, and the fact that reports it (None: there is no such fact)."""

    state: State
    reason: Reason
    fact: Fact | None
    at: int
    inferred: bool = False


def find_run_end(progress: RunProgress) -> RunEnd | None:
    """Returns how the run ended; None if it did not."""
    return (
        _end_by_delivery(progress)
        or _end_by_vendor(progress)
        or _end_by_outputs(progress)
        or _end_by_inference(progress)
        or _end_by_newer_run(progress)
    )


def _end_by_delivery(progress: RunProgress) -> RunEnd | None:
    fact = progress.find_delivery_end()
    if fact is None:
        return None
    any_file = any(file.state is not FileState.FAILED for file in progress.files)
    reason = Reason.FILES_DELIVERED if any_file else Reason.NO_FILES
    explanation = progress.capture_end if fact.code is None and progress.capture_end is not None else fact
    return RunEnd(State.COMPLETED, reason, explanation, fact.at)


def _end_by_vendor(progress: RunProgress) -> RunEnd | None:
    ends = progress.vendor_ends if progress.run.shown else [*progress.vendor_ends, *_valid_rejections(progress)]
    if not ends:
        return None
    fact = min(ends, key=ending_rank)
    outcome = fact.outcome
    if outcome is None:
        return None
    at = fact.ended_at or fact.at
    if outcome.stop_wins and progress.stop_requested_before(fact.at):
        return RunEnd(State.STOPPED, Reason.STOP_REQUESTED, fact, at)
    if outcome.life_wins and progress.reached_max_lifetime(fact.at):
        return RunEnd(State.EXPIRED, Reason.MAX_LIFETIME, fact, at)
    return RunEnd(outcome.state, outcome.reason, fact, at)


def _valid_rejections(progress: RunProgress) -> list[Fact]:
    """Returns the rejections of the start, without those of an unanswered attempt before the attempt that was accepted."""
    accepted = max((fact.order for fact in progress.run.facts if fact.kind is FactKind.ACCEPTED and fact.again), default=None)
    rejections = [fact for fact in progress.run.facts if fact.kind is FactKind.REFUSED]
    return rejections if accepted is None else [fact for fact in rejections if fact.order > accepted]


def _end_by_outputs(progress: RunProgress) -> RunEnd | None:
    """Returns the end of a task whose vendor reports outputs only: it ends with its last output, unless one becomes live again."""
    if not progress.all_outputs_ended():
        return None
    fact = next(f for f in reversed(progress.run.facts) if f.kind is FactKind.OUTPUT)
    if progress.stop_accepted_at is not None:
        return RunEnd(State.STOPPED, Reason.STOP_REQUESTED, fact, fact.at)
    if progress.all_outputs_failed():
        return RunEnd(State.FAILED, Reason.VENDOR_ERROR, progress.last_failure() or fact, fact.at, inferred=True)
    return RunEnd(State.STOPPED, Reason.UNSTATED, fact, fact.at, inferred=True)


def _end_by_inference(progress: RunProgress) -> RunEnd | None:
    fact = progress.inferred
    if fact is None or fact.outcome is None or fact.finishing:
        return None
    return RunEnd(fact.outcome.state, fact.outcome.reason, fact, fact.ended_at or fact.received_at, inferred=True)


def _end_by_newer_run(progress: RunProgress) -> RunEnd | None:
    at = progress.run.next_begins_at
    if at is None or progress.capture_end is not None or progress.has_only_files():
        return None
    return RunEnd(State.STOPPED, Reason.UNSTATED, None, at, inferred=True)
