"""Writes a task's life before it begins: when it shows media, when it is interrupted, and how it ends unless somebody interferes.

Moments of one task lie at least a second apart: some vendors tell no more than seconds.
"""

from collections import deque
from dataclasses import dataclass

from simulator.plan import STILLBORN, Cause, Plan
from simulator.seeded_random import Dice
from simulator.tasks import Beat, Nature

_S = 1000
#: An interruption that lasts longer than this breaks the task.
PATIENCE_MS = 60 * _S
#: Room for one interruption or spell of silence and the media around it.
_SLOT_MS = 75 * _S

Moments = deque[tuple[int, Beat]]


@dataclass(frozen=True, slots=True)
class Script:
    began_at: int
    moments: Moments
    fate: Cause | None


def write(nature: Nature, plan: Plan, dice: Dice, now: int) -> Script:
    """The life of a task whose start call comes now."""
    created = now + dice.within(1000, 2500)
    began = max(created, nature.starts_at)
    fates = {cause: chance for cause, chance in plan.fates.items() if cause in nature.endings}
    fate = dice.fate(fates)
    if fate is Cause.REFUSED:
        return Script(began, deque([(began, Beat.ENDED)]), fate)
    if fate in STILLBORN:
        return Script(began, _stillborn(nature, dice, created, began), fate)
    if fate is Cause.IDLE and nature.idle_ms is not None and dice.chance(plan.never_published):
        quiet = began + dice.within(1000, 3000)
        return _limited(nature, began, [(created, Beat.CREATED), (quiet, Beat.QUIET), (quiet + nature.idle_ms, Beat.ENDED)], fate)
    return _limited(nature, began, [(created, Beat.CREATED), *_lived(nature, plan, dice, began, fate)], fate)


def _stillborn(nature: Nature, dice: Dice, created: int, began: int) -> Moments:
    connecting = began + 1000
    return deque([(created, Beat.CREATED), *_repeated(nature, connecting, Beat.CONNECTING, began + dice.within(4000, 20_000))])


def _repeated(nature: Nature, at: int, beat: Beat, until: int) -> list[tuple[int, Beat]]:
    """A beat, told again as long as it lasts; its end, if it is the task's, behind it."""
    told = [(at, beat)]
    if nature.repeat_ms is not None:
        told += [(when, beat) for when in range(at + nature.repeat_ms, min(until, at + PATIENCE_MS), nature.repeat_ms)]
    return [*told, (until, Beat.ENDED)]


def _lived(nature: Nature, plan: Plan, dice: Dice, began: int, fate: Cause | None) -> list[tuple[int, Beat]]:
    connecting, media = began + 1000, began + dice.within(2000, 6000)
    moments = [*_repeated(nature, connecting, Beat.CONNECTING, media)[:-1], (media, Beat.MEDIA)]
    until = media + dice.within(plan.shortest_s * _S, plan.longest_s * _S)
    moments += _troubles(nature, plan, dice, media, until)
    if fate is Cause.IDLE and nature.idle_ms is not None:
        moments += [(until, Beat.QUIET), (until + nature.idle_ms, Beat.ENDED)]
    elif fate is Cause.CRASHED and dice.chance(0.5):
        moments += _repeated(nature, until, Beat.INTERRUPTED, until + PATIENCE_MS)
    elif fate is not None:
        moments += [(until, Beat.ENDED)]
    return moments


def _troubles(nature: Nature, plan: Plan, dice: Dice, media: int, until: int) -> list[tuple[int, Beat]]:
    """What passes: reconnects, and publishers that go away for less than the idle time."""
    slots = min(dice.within(0, plan.interruptions), (until - media) // _SLOT_MS)
    told: list[tuple[int, Beat]] = []
    for number in range(slots):
        start = media + number * ((until - media) // slots)
        at = start + dice.within(2000, 10_000)
        quiet = nature.idle_ms is not None and dice.chance(0.4)
        longest = min(PATIENCE_MS - 5000, nature.idle_ms - 1000 if quiet and nature.idle_ms else PATIENCE_MS)
        back = at + dice.within(2000, longest)
        told += [(at, Beat.QUIET)] if quiet else _repeated(nature, at, Beat.INTERRUPTED, back)[:-1]
        told.append((back, Beat.MEDIA))
    return told


def _limited(nature: Nature, began: int, moments: list[tuple[int, Beat]], fate: Cause | None) -> Script:
    """The same, cut off where the allowed life is over."""
    if nature.life_ms is None or (fate is not None and moments[-1][0] <= began + nature.life_ms):
        return Script(began, deque(moments), fate)
    end = began + nature.life_ms
    return Script(began, deque([*((at, beat) for at, beat in moments if at < end), (end, Beat.ENDED)]), Cause.LIFETIME)
