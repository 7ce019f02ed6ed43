"""Takes secrets out of tasks that need them no more: that have ended, and will be neither called, renewed nor started again."""

from collections.abc import Mapping
from typing import Any

from adapters import masking
from adapters.vendors import DIALECTS
from statemachine.states import FINAL, Deadline
from statemachine.tasks import Task
from statemachine.values import changed


def wiped(task: Task) -> Task:
    """The task, without its secrets if nothing may need them."""
    if task.action is None or task.wiped:
        return task
    ended = task.view.state in FINAL and not task.calls and Deadline.RESTART not in task.deadlines
    return changed(without_secrets(task), wiped=True) if ended or task.merged_into is not None else task


def without_secrets(task: Task) -> Task:
    """The task as anybody may know it, stream keys apart."""
    if task.action is None:
        return task
    policy = task.policy
    if "renew" in policy:
        renew = {**policy["renew"], "params": _without_secrets(task, policy["renew"]["params"])}
        policy = {**policy, "renew": renew}
    return changed(task, params=_without_secrets(task, task.params), policy=policy)


def as_told(task: Task) -> Task:
    """The task as others are told of it: calls that are under way are the workers' business, and may carry secrets."""
    clean = without_secrets(task)
    return changed(clean, calls={}) if clean.calls else clean


def _without_secrets(task: Task, params: Mapping[str, Any]) -> Any:
    clean: Any = params
    for path in DIALECTS[task.key.vendor].secret_paths(task.action or ""):
        clean = masking.at_path(clean, path.path, masking.keyed_url if path.in_url else masking.hidden)
    return masking.without_secrets(clean)
