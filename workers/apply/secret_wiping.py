"""Takes secrets out of tasks that need them no more: that have ended, and will be neither called, renewed nor started again."""

from adapters.contract import task_json
from statemachine.fast_dataclasses import changed
from statemachine.states import FINAL, Deadline
from statemachine.tasks import Task

#: Files that an event carries.
MOST_FILES_TOLD = 500


def wiped(task: Task) -> Task:
    """The task, without its secrets if nothing may need them."""
    if task.action is None or task.wiped:
        return task
    ended = task.view.state in FINAL and not task.calls and Deadline.RESTART not in task.deadlines
    return changed(without_secrets(task), wiped=True) if ended or task.merged_into is not None else task


def without_secrets(task: Task) -> Task:
    """The task as anybody may know it, apart from the stream keys that the vendor itself told."""
    if task.action is None:
        return task
    return changed(task, **task_json.asked_for(task.key.vendor, task.action, task.params, task.policy, keys=False))


def as_told(task: Task) -> Task:
    """The task as others are told of it: calls that are under way are the workers' business, and may carry secrets.

    Of very many files the newest are told: an event with 50,000 of them would be 3 MB for each callback.
    """
    clean = without_secrets(task)
    if len(clean.view.files) > MOST_FILES_TOLD:
        view = changed(clean.view, files=clean.view.files[-MOST_FILES_TOLD:], files_truncated=True)
        clean = changed(clean, view=view)
    return changed(clean, calls={}) if clean.calls else clean
