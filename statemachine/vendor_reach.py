"""Tells whether the vendor can be queried about a task: only a query proves how a task is doing."""

from statemachine.rules import Rules
from statemachine.tasks import Task


def can_be_queried(task: Task, rules: Rules, now: int) -> bool:
    """Returns whether a query can tell how this task is doing now. now: ms.

    Not if the vendor has no query, no account is configured, or the task's key has a newer run; not before the vendor's id is known
    unless the rules allow that; and not after the time within which the vendor promises to know the task (`Rules.reach_s`).
    """
    if task.view.followed or (task.key.is_provisional and not rules.askable_unnamed):
        return False
    return rules.askable and (rules.reach_s is None or task.view.started_at is None or now < reach_ends_at(task, rules))


def reach_ends_at(task: Task, rules: Rules) -> int:
    """Returns until when the vendor answers queries and stop calls for this task, ms."""
    return (task.view.started_at or 0) + int((rules.reach_s or 0) * 1000)
