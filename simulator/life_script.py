"""Writes a task's life before it begins: when it shows media, when it is interrupted, and how it ends unless somebody interferes.

Moments of one task lie at least a second apart: some vendors tell no more than seconds.
"""

from collections import deque
from dataclasses import dataclass

from simulator.plan import START_FAILURES, Cause, Plan
from simulator.seeded_random import SeededRandom
from simulator.tasks import Lifetime, Moment

_S = 1000
#: An interruption that lasts longer than this breaks the task.
PATIENCE_MS = 60 * _S
#: Room for one interruption or spell of silence and the media around it.
_SLOT_MS = 75 * _S

Moments = deque[tuple[int, Moment]]


@dataclass(frozen=True, slots=True)
class LifeScript:
    began_at: int
    moments: Moments
    planned_cause: Cause | None


def write_script(nature: Lifetime, plan: Plan, dice: SeededRandom, now: int) -> LifeScript:
    """The life of a task whose start call comes now."""
    created = now + dice.integer_between(1000, 2500)
    began = max(created, nature.starts_at)
    fates = {cause: chance for cause, chance in plan.end_probabilities.items() if cause in nature.endings}
    fate = dice.weighted_choice(fates)
    if fate is Cause.REFUSED:
        return LifeScript(began, deque([(began, Moment.ENDED)]), fate)
    if fate in START_FAILURES:
        return LifeScript(began, _failed_start(nature, dice, created, began), fate)
    if fate is Cause.IDLE and nature.idle_ms is not None and dice.happens(plan.never_published):
        quiet = began + dice.integer_between(1000, 3000)
        return _cut_at_life_limit(
            nature, began, [(created, Moment.CREATED), (quiet, Moment.QUIET), (quiet + nature.idle_ms, Moment.ENDED)], fate
        )
    return _cut_at_life_limit(nature, began, [(created, Moment.CREATED), *_media_moments(nature, plan, dice, began, fate)], fate)


def _failed_start(nature: Lifetime, dice: SeededRandom, created: int, began: int) -> Moments:
    connecting = began + 1000
    return deque(
        [
            (created, Moment.CREATED),
            *_repeated_moment(nature, connecting, Moment.CONNECTING, began + dice.integer_between(4000, 20_000)),
        ]
    )


def _repeated_moment(nature: Lifetime, at: int, beat: Moment, until: int) -> list[tuple[int, Moment]]:
    """A beat, told again as long as it lasts; its end, if it is the task's, behind it."""
    told = [(at, beat)]
    if nature.repeat_ms is not None:
        told += [(when, beat) for when in range(at + nature.repeat_ms, min(until, at + PATIENCE_MS), nature.repeat_ms)]
    return [*told, (until, Moment.ENDED)]


def _media_moments(nature: Lifetime, plan: Plan, dice: SeededRandom, began: int, fate: Cause | None) -> list[tuple[int, Moment]]:
    connecting, media = began + 1000, began + dice.integer_between(2000, 6000)
    moments = [*_repeated_moment(nature, connecting, Moment.CONNECTING, media)[:-1], (media, Moment.MEDIA)]
    until = media + dice.integer_between(plan.shortest_s * _S, plan.longest_s * _S)
    moments += _interruptions(nature, plan, dice, media, until)
    if fate is Cause.IDLE and nature.idle_ms is not None:
        moments += [(until, Moment.QUIET), (until + nature.idle_ms, Moment.ENDED)]
    elif fate is Cause.CRASHED and dice.happens(0.5):
        moments += _repeated_moment(nature, until, Moment.INTERRUPTED, until + PATIENCE_MS)
    elif fate is not None:
        moments += [(until, Moment.ENDED)]
    return moments


def _interruptions(nature: Lifetime, plan: Plan, dice: SeededRandom, media: int, until: int) -> list[tuple[int, Moment]]:
    """What passes: reconnects, and publishers that go away for less than the idle time."""
    slots = min(dice.integer_between(0, plan.interruptions), (until - media) // _SLOT_MS)
    told: list[tuple[int, Moment]] = []
    for number in range(slots):
        start = media + number * ((until - media) // slots)
        at = start + dice.integer_between(2000, 10_000)
        quiet = nature.idle_ms is not None and dice.happens(0.4)
        longest = min(PATIENCE_MS - 5000, nature.idle_ms - 1000 if quiet and nature.idle_ms else PATIENCE_MS)
        back = at + dice.integer_between(2000, longest)
        told += [(at, Moment.QUIET)] if quiet else _repeated_moment(nature, at, Moment.INTERRUPTED, back)[:-1]
        told.append((back, Moment.MEDIA))
    return told


def _cut_at_life_limit(nature: Lifetime, began: int, moments: list[tuple[int, Moment]], fate: Cause | None) -> LifeScript:
    """The same, cut off where the allowed life is over."""
    if nature.life_ms is None or (fate is not None and moments[-1][0] <= began + nature.life_ms):
        return LifeScript(began, deque(moments), fate)
    end = began + nature.life_ms
    return LifeScript(began, deque([*((at, beat) for at, beat in moments if at < end), (end, Moment.ENDED)]), Cause.LIFETIME)
