"""Removes secrets from tasks that do not need them any more, and from the tasks that events carry.

A task needs its secrets until it has ended, has no pending call, and will be neither renewed nor restarted.
"""

from adapters.contract import task_json
from statemachine.fast_dataclasses import fast_replace
from statemachine.states import FINAL, Deadline
from statemachine.tasks import Task

#: Files that an event lists at most; the newest are listed. An event with 50,000 of them would be 3 MB for each callback.
MAX_FILES_IN_EVENT = 500


def wipe_if_done(task: Task) -> Task:
    """Returns the task, without its secrets if nothing may need them any more."""
    if task.action is None or task.wiped:
        return task
    ended = task.view.state in FINAL and not task.calls and Deadline.RESTART not in task.deadlines
    return fast_replace(without_secrets(task), wiped=True) if ended or task.merged_into is not None else task


def without_secrets(task: Task) -> Task:
    """Returns the task without the secrets of its start request. Stream keys that the vendor itself sent stay."""
    if task.action is None:
        return task
    return fast_replace(task, **task_json.render_request(task.key.vendor, task.action, task.params, task.policy, keys=False))


def event_task(task: Task) -> Task:
    """Returns the task as an event carries it: without pending calls, which may contain secrets, and with limited files."""
    clean = without_secrets(task)
    if len(clean.view.files) > MAX_FILES_IN_EVENT:
        view = fast_replace(clean.view, files=clean.view.files[-MAX_FILES_IN_EVENT:], files_truncated=True)
        clean = fast_replace(clean, view=view)
    return fast_replace(clean, calls={}) if clean.calls else clean
