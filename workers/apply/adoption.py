"""Callbacks of ids that nobody knows: some are of starts of ours whose answer is late, or never came.

While a start of their app and kind is on the wire they wait for its answer. Then whoever the vendor sent into the room, its robot,
says whose they are; where nothing says it, what began alone within a minute of a lone start is that start's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from adapters.ledger import Connection, adoption_candidates, effects
from adapters.ledger.adoption_candidates import Robot
from adapters.ledger.inbox import CALLBACK
from adapters.ledger.lineages import Stored
from statemachine.calls import Operation, Outcome
from statemachine.events import Answered, Heard, Passed
from statemachine.facts import Rules, TaskKey
from statemachine.states import LIVE, Deadline, Kind
from statemachine.tasks import Task
from workers.apply.inbox_decoder import Asked, Question, kind_of_key
from workers.apply.rules import Rulebook

#: How long a callback waits for the answer that may say whose it is, ms.
HELD_MS = 15_000
#: Before a call was sent nothing of it can begin; but clocks differ by so much, ms.
_SKEW_MS = 5_000


def held(
    connection: Connection, asked: Sequence[Asked], stored: Mapping[TaskKey, Stored], rulebook: Rulebook, now: int
) -> dict[int, int]:
    """row id -> until when it waits, ms: callbacks of unknown ids that a start on the wire may explain."""
    strange = {item.row.id: _whose(item) for item in asked if _is_strange(item, stored, rulebook, now)}
    under_way = effects.starts_under_way(connection, sorted(set(strange.values())))
    return {item.row.id: item.row.received_at + HELD_MS for item in asked if strange.get(item.row.id) in under_way}


def _is_strange(item: Asked, stored: Mapping[TaskKey, Stored], rulebook: Rulebook, now: int) -> bool:
    if item.row.kind != CALLBACK or abs(now - item.row.received_at) >= HELD_MS or len(item.questions) != 1:
        return False
    return _is_unknown(item.questions[0].key, stored, rulebook)


def _is_unknown(key: TaskKey, stored: Mapping[TaskKey, Stored], rulebook: Rulebook | None) -> bool:
    if stored[key].id is not None:
        return False
    return rulebook is None or rulebook.of(key)(kind_of_key(key) or Kind.RECORD, {}).single_run


def _whose(item: Asked) -> tuple[str, str, str]:
    key = item.questions[0].key
    return key.vendor, key.app_id, key.family


def adopting(
    connection: Connection, asked: Sequence[Asked], stored: Mapping[TaskKey, Stored], rulebook: Rulebook, now: int
) -> list[Asked]:
    """The same, where it is found out whose an unknown id is."""
    by_robot = _by_robot(connection, [item for item in asked if _may_be_anothers(item, stored)], stored)
    found = []
    for item in asked:
        if not _may_be_anothers(item, stored):
            found.append(item)
            continue
        by_name = [_told_by_robot(question, by_robot, stored) for question in item.questions]
        known = [_known_by_now(connection, question, stored, rulebook, now) for question in by_name]
        questions = tuple(question for each in known for question in each)
        found.append(replace(item, questions=questions) if questions != item.questions else item)
    return found


def _may_be_anothers(item: Asked, stored: Mapping[TaskKey, Stored]) -> bool:
    """Whether it is about an id that nobody knows, or about a task that waits for its id. Of a busy batch few are."""
    return any(stored[question.key].id is None or question.key.pending for question in item.questions)


def _by_robot(connection: Connection, asked: Sequence[Asked], stored: Mapping[TaskKey, Stored]) -> Mapping[Robot, TaskKey]:
    robots = [robot for item in asked for question in item.questions if (robot := _robot(question, stored)) is not None]
    return adoption_candidates.awaited(connection, robots)


def _robot(question: Question, stored: Mapping[TaskKey, Stored]) -> Robot | None:
    """Whom the vendor sent into a room, as a callback of an unknown id tells it."""
    if not isinstance(question.event, Heard) or not _is_unknown(question.key, stored, None):
        return None
    fact, key = question.event.fact, question.key
    if fact.robot is None or not fact.shows_life:  # the end of a robot that ours threw out is not ours
        return None
    return Robot(vendor=key.vendor, app_id=key.app_id, room_id=fact.room_id, name=fact.robot, at=fact.at)


def _told_by_robot(question: Question, by_robot: Mapping[Robot, TaskKey], stored: Mapping[TaskKey, Stored]) -> Question:
    robot = _robot(question, stored)
    return replace(question, adopts=by_robot[robot]) if robot is not None and robot in by_robot else question


def _known_by_now(
    connection: Connection, question: Question, stored: Mapping[TaskKey, Stored], rulebook: Rulebook, now: int
) -> list[Question]:
    """What a start of ours made may have been heard of before it is known that nobody answers for that start.

    That is looked for when no answer came, and before such a start is tried again or given up.
    """
    event = question.event
    if not question.key.pending or not isinstance(event, Passed | Answered):
        return [question]
    task = next((task for task in stored[question.key].lineage.tasks if task.id == event.task_id), None)
    if task is None:
        return [question]
    rules = rulebook.of(task.key)(task.kind, task.params)
    adoption = Question(key=question.key, event=None, adopts=question.key)
    if isinstance(event, Answered):
        unsure = event.operation is Operation.START and event.outcome is Outcome.AMBIGUOUS
        twin = _seen(connection, task, rules) if unsure else None
        return [question] if twin is None else [question, replace(adoption, key=twin.key)]
    start = task.calls.get(Operation.START)
    if event.kind is not Deadline.START_RETRY or start is None or start.ambiguous_at is None or (start.retry_at or 0) > now:
        return [question]
    meets_ms = None if rules.meets_s is None else int(rules.meets_s * 1000)
    twin = _seen(connection, task, rules) if meets_ms is None else _met(connection, task, start.ambiguous_at, meets_ms)
    return [question] if twin is None else [replace(adoption, key=twin.key)]


def _seen(connection: Connection, task: Task, rules: Rules) -> Task | None:
    """What its robot was seen in. Where a newer start throws out the older one, only what lives can be the newest."""
    seen = adoption_candidates.seen(connection, task)
    living = next((twin for twin in seen if twin.view.state in LIVE), None)
    return living or (seen[0] if seen and not rules.replaces else None)


def _met(connection: Connection, task: Task, sent_at: int, meets_ms: int) -> Task | None:
    """The one task that began so soon after the one start that may have made it."""
    began = adoption_candidates.begun(connection, task, sent_at - _SKEW_MS, sent_at + meets_ms)
    if len(began) != 1:
        return None
    others = [other for other in adoption_candidates.unnamed(connection, task) if other.id != task.id]
    return None if any(_may_have_made(other, began[0], meets_ms) for other in others) else began[0]


def _may_have_made(task: Task, began: Task, meets_ms: int) -> bool:
    start = task.calls.get(Operation.START)
    sent_at = start.ambiguous_at if start is not None and start.ambiguous_at is not None else task.created_at
    return sent_at - _SKEW_MS <= began.view.begins_at < sent_at + meets_ms
