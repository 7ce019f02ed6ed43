"""Writes the script of a task's life before it begins: media, interruptions, and its end unless a call changes it.

Moments of one task lie at least a second apart: some vendors' times have whole seconds only.
"""

from collections import deque
from dataclasses import dataclass

from simulator.plan import START_FAILURES, Cause, Plan
from simulator.seeded_random import SeededRandom
from simulator.tasks import Lifetime, Moment

_S = 1000
#: Longest interruption, ms; a longer one ends the task.
PATIENCE_MS = 60 * _S
#: Time for one interruption or silent phase with the media around it, ms.
_SLOT_MS = 75 * _S

#: (time in ms, moment), soonest first.
Moments = deque[tuple[int, Moment]]


@dataclass(frozen=True, slots=True)
class LifeScript:
    """The planned life of a task."""

    began_at: int
    moments: Moments
    planned_cause: Cause | None


def write_script(lifetime: Lifetime, plan: Plan, random: SeededRandom, now: int) -> LifeScript:
    """Returns the script of a task whose start call comes now."""
    created = now + random.integer_between(1000, 2500)
    began = max(created, lifetime.starts_at)
    end_probabilities = {end: chance for end, chance in plan.end_probabilities.items() if end in lifetime.endings}
    cause = random.weighted_choice(end_probabilities)
    if cause is Cause.REFUSED:
        return LifeScript(began, deque([(began, Moment.ENDED)]), cause)
    if cause in START_FAILURES:
        return LifeScript(began, _failed_start(lifetime, random, created, began), cause)
    if cause is Cause.IDLE and lifetime.idle_ms is not None and random.happens(plan.never_published):
        quiet = began + random.integer_between(1000, 3000)
        return _cut_at_life_limit(
            lifetime,
            began,
            [(created, Moment.CREATED), (quiet, Moment.QUIET), (quiet + lifetime.idle_ms, Moment.ENDED)],
            cause,
        )
    return _cut_at_life_limit(
        lifetime, began, [(created, Moment.CREATED), *_media_moments(lifetime, plan, random, began, cause)], cause
    )


def _failed_start(lifetime: Lifetime, random: SeededRandom, created: int, began: int) -> Moments:
    connecting = began + 1000
    return deque(
        [
            (created, Moment.CREATED),
            *_repeated_moment(lifetime, connecting, Moment.CONNECTING, began + random.integer_between(4000, 20_000)),
        ]
    )


def _repeated_moment(lifetime: Lifetime, at: int, moment: Moment, until: int) -> list[tuple[int, Moment]]:
    """Returns a moment with its repetitions while it lasts, and the end of the task after it."""
    moments = [(at, moment)]
    if lifetime.repeat_ms is not None:
        moments += [(when, moment) for when in range(at + lifetime.repeat_ms, min(until, at + PATIENCE_MS), lifetime.repeat_ms)]
    return [*moments, (until, Moment.ENDED)]


def _media_moments(
    lifetime: Lifetime, plan: Plan, random: SeededRandom, began: int, cause: Cause | None
) -> list[tuple[int, Moment]]:
    connecting, media = began + 1000, began + random.integer_between(2000, 6000)
    moments = [*_repeated_moment(lifetime, connecting, Moment.CONNECTING, media)[:-1], (media, Moment.MEDIA)]
    until = media + random.integer_between(plan.shortest_s * _S, plan.longest_s * _S)
    moments += _interruptions_of(lifetime, plan, random, media, until)
    if cause is Cause.IDLE and lifetime.idle_ms is not None:
        moments += [(until, Moment.QUIET), (until + lifetime.idle_ms, Moment.ENDED)]
    elif cause is Cause.CRASHED and random.happens(0.5):
        moments += _repeated_moment(lifetime, until, Moment.INTERRUPTED, until + PATIENCE_MS)
    elif cause is not None:
        moments += [(until, Moment.ENDED)]
    return moments


def _interruptions_of(lifetime: Lifetime, plan: Plan, random: SeededRandom, media: int, until: int) -> list[tuple[int, Moment]]:
    """Returns interruptions that pass: reconnects, and publishers that leave for less than the idle time."""
    slots = min(random.integer_between(0, plan.interruptions), (until - media) // _SLOT_MS)
    moments: list[tuple[int, Moment]] = []
    for number in range(slots):
        start = media + number * ((until - media) // slots)
        at = start + random.integer_between(2000, 10_000)
        quiet = lifetime.idle_ms is not None and random.happens(0.4)
        longest = min(PATIENCE_MS - 5000, lifetime.idle_ms - 1000 if quiet and lifetime.idle_ms else PATIENCE_MS)
        back = at + random.integer_between(2000, longest)
        moments += [(at, Moment.QUIET)] if quiet else _repeated_moment(lifetime, at, Moment.INTERRUPTED, back)[:-1]
        moments.append((back, Moment.MEDIA))
    return moments


def _cut_at_life_limit(lifetime: Lifetime, began: int, moments: list[tuple[int, Moment]], cause: Cause | None) -> LifeScript:
    """Returns the script, cut off at the task's maximum lifetime."""
    if lifetime.life_ms is None or (cause is not None and moments[-1][0] <= began + lifetime.life_ms):
        return LifeScript(began, deque(moments), cause)
    end = began + lifetime.life_ms
    return LifeScript(began, deque([*((at, moment) for at, moment in moments if at < end), (end, Moment.ENDED)]), Cause.LIFETIME)
