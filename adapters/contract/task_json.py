"""A task as the JSON of the contract: whoever asks at the desk sees it so, and whoever is told of it.

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


def time(ms: int | None) -> str | None:
    """Null where it is unknown, or a vendor told one that no calendar has."""
    try:
        return None if ms is None else to_rfc3339(ms)
    except OverflowError:
        return None


def task(task: Task, *, keys: bool) -> dict[str, Any]:
    view = task.view
    shown = {
        "id": task.id,
        "vendor": task.key.vendor,
        "kind": task.kind.value,
        "app_id": task.key.app_id,
        "room_id": task.key.room_id or view.room_id or None,
        "vendor_task_id": None if task.key.pending else task.key.vendor_task_id or None,
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
    asked = asked_for(task.key.vendor, task.action, task.params, task.policy, keys=keys)
    seen = shown if keys else masking.without_keys(shown)
    return {**seen, **asked, "attempts": task.attempts, **_files_and_times(task, keys=keys), **_others(task)}


def asked_for(
    vendor: str, action: str | None, params: Mapping[str, Any], policy: Mapping[str, Any], *, keys: bool
) -> dict[str, Any]:
    """`params` and `policy` of a task, without secrets."""
    renew, shown = policy.get("renew"), masking.without_secrets(policy)
    shown = shown if keys else masking.without_keys(shown)
    if isinstance(renew, Mapping) and "params" in renew:
        shown["renew"]["params"] = masked_params(vendor, action, renew["params"], keys=keys)
    return {"params": masked_params(vendor, action, params, keys=keys), "policy": shown}


def masked_params(vendor: str, action: str | None, params: Any, *, keys: bool) -> Any:
    """A start call's parameters without secrets: those that the vendor's pages name, and whatever is named like one.

    keys: False: without stream keys too, and what the pages do not name only where it is plainly harmless.
    """
    dialect = DIALECTS[vendor]
    secrets = dialect.secret_paths(action or "")
    for secret in secrets:
        if not (secret.in_url and keys):
            params = masking.at_path(params, secret.path, masking.keyed_url if secret.in_url else masking.hidden)
    if keys:
        return masking.without_secrets(params)
    return masking.harmless(params, dialect.documented_paths(action or ""), frozenset(secret.path for secret in secrets))


def _others(task: Task) -> dict[str, Any]:
    """The tasks that it took over from, or that took over from it."""
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
        "files": [_file(file, keys=keys) for file in view.files],
        **({"files_truncated": True} if view.files_truncated else {}),
        "deadlines": [{"kind": kind.value, "due_at": time(at)} for kind, at in deadlines],
        "created_at": time(task.created_at),
        "accepted_at": time(view.accepted_at),
        "running_at": time(view.running_at),
        "ended_at": time(view.ended_at),
        "updated_at": time(task.updated_at),
        "version": task.version,
    }


def _file(file: File, *, keys: bool) -> dict[str, Any]:
    shown = {field.name: getattr(file, field.name) for field in fields(File)}
    shown["state"] = file.state.value
    shown["started_at"], shown["ended_at"] = time(file.started_at), time(file.ended_at)
    if not keys:
        shown["url"] = masking.file_url(file.url) if file.url else None
        shown["name"] = masking.file_name(file.name) if file.name else file.name
        shown["message"] = masking.text(file.message) if file.message else None
    return shown
