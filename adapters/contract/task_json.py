"""A task as the JSON of the contract: the API and the events show tasks in this form.

`keys`: whether the reader may see stream keys.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from adapters.clock import to_rfc3339
from adapters.contract import masking
from adapters.vendors import DIALECTS
from statemachine.facts import File
from statemachine.tasks import Task


def format_time(ms: int | None) -> str | None:
    """Returns the time (ms) in RFC 3339; None if it is unknown, or outside the calendar (a vendor may report any number)."""
    try:
        return None if ms is None else to_rfc3339(ms)
    except OverflowError:
        return None


def render_task(task: Task, *, keys: bool) -> dict[str, Any]:
    """Returns a task as JSON data."""
    view = task.view
    members = {
        "id": task.id,
        "vendor": task.key.vendor,
        "kind": task.kind.value,
        "app_id": task.key.app_id,
        "room_id": task.key.room_id or view.room_id or None,
        "vendor_task_id": None if task.key.is_provisional else task.key.vendor_task_id or None,
        "run": task.run,
        "origin": task.origin.value,
        "state": view.state.value,
        "reason": view.reason.value if view.reason else None,
        "inferred": view.inferred,
        "anomalies": [anomaly.value for anomaly in task.anomalies],
        "vendor_code": view.vendor_code,
        "vendor_message": view.vendor_message,
        "action": task.action,
        "outputs": [{"url": output.url, "state": output.state.value} for output in view.outputs],
    }
    request = render_request(task.key.vendor, task.action, task.params, task.policy, keys=keys)
    visible = members if keys else masking.without_keys(members)
    return {**visible, **request, "attempts": task.attempts, **_files_and_times(task, keys=keys), **_related_tasks(task)}


def render_request(
    vendor: str, action: str | None, params: Mapping[str, Any], policy: Mapping[str, Any], *, keys: bool
) -> dict[str, Any]:
    """Returns `params` and `policy` of a task, without secrets."""
    renew, masked = policy.get("renew"), masking.without_secrets(policy)
    masked = masked if keys else masking.without_keys(masked)
    if isinstance(renew, Mapping) and "params" in renew:
        masked["renew"]["params"] = masked_params(vendor, action, renew["params"], keys=keys)
    return {"params": masked_params(vendor, action, params, keys=keys), "policy": masked}


def masked_params(vendor: str, action: str | None, params: Any, *, keys: bool) -> Any:
    """Returns a start call's parameters without secrets: those that the vendor's documents name, and values with names of secrets.

    keys False: also without stream keys, and undocumented values only if they are plainly harmless.
    """
    dialect = DIALECTS[vendor]
    secrets = dialect.secret_paths(action or "")
    for secret in secrets:
        if not (secret.in_url and keys):
            params = masking.mask_at_path(params, secret.path, masking.mask_url_value if secret.in_url else masking.hide_value)
    if keys:
        return masking.without_secrets(params)
    return masking.mask_undocumented(params, dialect.documented_paths(action or ""), frozenset(secret.path for secret in secrets))


def _related_tasks(task: Task) -> dict[str, Any]:
    """Returns the ids of the task's predecessors and successors."""
    return {
        "renews": task.renews,
        "renewed_by": task.renewed_by,
        "restarts": task.restarts,
        "restarted_by": task.restarted_by,
    }


def _files_and_times(task: Task, *, keys: bool) -> dict[str, Any]:
    view = task.view
    deadlines = sorted(task.deadlines.items(), key=lambda item: (item[1], item[0]))
    return {
        "files": [_render_file(file, keys=keys) for file in view.files],
        **({"files_truncated": True} if view.files_truncated else {}),
        "deadlines": [{"kind": kind.value, "due_at": format_time(at)} for kind, at in deadlines],
        "created_at": format_time(task.created_at),
        "accepted_at": format_time(view.accepted_at),
        "running_at": format_time(view.running_at),
        "ended_at": format_time(view.ended_at),
        "updated_at": format_time(task.updated_at),
        "version": task.version,
    }


def _render_file(file: File, *, keys: bool) -> dict[str, Any]:
    members = {field.name: getattr(file, field.name) for field in fields(File)}
    members["state"] = file.state.value
    members["started_at"], members["ended_at"] = format_time(file.started_at), format_time(file.ended_at)
    if not keys:
        members["url"] = masking.mask_file_url(file.url) if file.url else None
        members["name"] = masking.mask_file_name(file.name) if file.name else file.name
        members["message"] = masking.mask_text(file.message) if file.message else None
    return members
