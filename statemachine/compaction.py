"""Keeps a long lineage short: of many repeats of one sign, the first and the last stay.

A vendor repeats "connecting" every few seconds, and progress every minute, for days. Only the middle ones of three or more equal
signs in a row within one run go, so states, reasons, files and outputs stay what they were.
"""

from collections.abc import Sequence, Set

from statemachine.facts import LIFE, Fact, FactKind
from statemachine.runs import Run

#: Below this many facts nothing is dropped.
THRESHOLD = 64

_REPEATABLE = LIFE | {FactKind.NOTE, FactKind.UPLOAD}


def compacted(facts: Sequence[Fact], runs: Sequence[Run], anchors: Set[str], threshold: int = THRESHOLD) -> tuple[Fact, ...]:
    """The facts, in order, without the middle ones of repeated signs; those that made a task stay."""
    if len(facts) <= threshold:
        return tuple(facts)
    dropped = {fact.key for run in runs for fact in _middles(run.facts)} - anchors
    return tuple(fact for fact in facts if fact.key not in dropped)


def _middles(facts: Sequence[Fact]) -> list[Fact]:
    signs = [_sign(fact) for fact in facts]
    return [
        fact
        for before, sign, after, fact in zip(signs, signs[1:], signs[2:], facts[1:], strict=False)
        if sign is not None and before == sign == after
    ]


def _sign(fact: Fact) -> tuple[object, ...] | None:
    """What makes two facts repeats of one sign; None where each one counts.

    A start sign counts: should an end come late, the next one opens a run. So does what tells of all files of a run.
    """
    if fact.kind not in _REPEATABLE or fact.opens or fact.files or fact.file_state or fact.delivery or fact.outcome:
        return None
    return (
        fact.kind,
        fact.output,
        fact.media,
        fact.idle,
        fact.started_at,
        fact.scheduled_at,
        fact.progress is None,
        fact.remark,
        fact.room_id,
        fact.robot,
        fact.kind_hint,
        fact.code,
        fact.message,
    )
