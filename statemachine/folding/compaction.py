"""Drops repeated facts of a long lineage: of equal facts in a row, the first and the last stay.

A vendor repeats "connecting" every few seconds, and progress every minute, for days. Only the middle facts of three or more equal
ones in a row within one run are dropped, so states, reasons, files and outputs do not change.
"""

from collections.abc import Sequence, Set

from statemachine.facts import LIFE_KINDS, Fact, FactKind
from statemachine.folding.runs import Run

#: Facts of a lineage up to which nothing is dropped.
MIN_FACTS = 64

_REPEATABLE = LIFE_KINDS | {FactKind.NOTE, FactKind.UPLOAD}


def drop_repeats(facts: Sequence[Fact], runs: Sequence[Run], anchors: Set[str], threshold: int = MIN_FACTS) -> tuple[Fact, ...]:
    """Returns the facts, in order, without the middle ones of repeats. anchors: keys of facts that made a task, and stay."""
    if len(facts) <= threshold:
        return tuple(facts)
    dropped = {fact.key for run in runs for fact in _redundant_facts(run.facts)} - anchors
    return tuple(fact for fact in facts if fact.key not in dropped)


def _redundant_facts(facts: Sequence[Fact]) -> list[Fact]:
    kinds = [fact.kind for fact in facts]
    return [
        facts[index + 1]
        for index, (before, kind, after) in enumerate(zip(kinds, kinds[1:], kinds[2:], strict=False))
        if before is kind is after and _is_repeat(*facts[index : index + 3])
    ]


def _is_repeat(before: Fact, fact: Fact, after: Fact) -> bool:
    key = _repeat_key(fact)
    return key is not None and _repeat_key(before) == key == _repeat_key(after)


def _repeat_key(fact: Fact) -> tuple[object, ...] | None:
    """Returns the key that is equal for repeats of one fact; None if each such fact counts.

    Each start sign counts: if an end arrives late, the next start sign begins a new run. So does a fact about all files of a run.
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
