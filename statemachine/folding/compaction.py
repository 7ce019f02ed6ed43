"""Keeps a long lineage short: of many repeats of one sign, the first and the last stay.

A vendor repeats "connecting" every few seconds, and progress every minute, for days. Only the middle ones of three or more equal
signs in a row within one run go, so states, reasons, files and outputs stay what they were.
"""

from collections.abc import Sequence, Set

from statemachine.facts import LIFE, Fact, FactKind
from statemachine.folding.runs import Run

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
    kinds = [fact.kind for fact in facts]
    return [
        facts[index + 1]
        for index, (before, kind, after) in enumerate(zip(kinds, kinds[1:], kinds[2:], strict=False))
        if before is kind is after and _is_repeat(*facts[index : index + 3])
    ]


def _is_repeat(before: Fact, fact: Fact, after: Fact) -> bool:
    sign = _sign(fact)
    return sign is not None and _sign(before) == sign == _sign(after)


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
