"""What the ledger knows, as the JSON of the contract. `keys`: whether the reader may see stream keys and raw callbacks."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from adapters import masking
from adapters.clock import to_rfc3339
from adapters.ledger.callbacks import Callback
from adapters.ledger.rejections import Refused
from adapters.ledger.stats import Stats
from adapters.ledger.timeline import Line
from adapters.vendors import DIALECTS
from adapters.vendors.calls import SecretPath
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
        **asked_for(task.key.vendor, task.action, task.params, task.policy, keys=keys),
        "attempts": task.attempts,
        "outputs": [{"url": output.url, "state": output.state.value} for output in view.outputs],
    }
    return {**(shown if keys else masking.without_keys(shown)), **_files_and_times(task, keys=keys), **_others(task)}


def asked_for(
    vendor: str, action: str | None, params: Mapping[str, Any], policy: Mapping[str, Any], *, keys: bool
) -> dict[str, Any]:
    """`params` and `policy` of a task, without secrets."""
    paths = DIALECTS[vendor].secret_paths(action) if action is not None else ()
    return {"params": _masked(paths, params, keys=keys), "policy": _masked(paths, policy, keys=keys, below="renew.params.")}


def _masked(paths: Sequence[SecretPath], value: Any, *, keys: bool, below: str = "") -> Any:
    """A start call's parameters without secrets: those that the vendor's pages name, and whatever is named like one.

    below: where the parameters stand in the value.
    """
    for secret in paths:
        if not (secret.in_url and keys):
            value = masking.at_path(value, below + secret.path, masking.keyed_url if secret.in_url else masking.hidden)
    return masking.without_secrets(value)


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
        shown["message"] = masking.text(file.message) if file.message else None
    return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One item of a timeline. `place`: (its line's position, its number in the line); `at`: when it was applied, ms."""

    place: tuple[int, int]
    at: int
    said: Mapping[str, Any]


def entries(lines: Iterable[tuple[int, Line]]) -> list[Entry]:
    """A timeline's items, in order."""
    return [
        Entry(place=(position, number), at=line.at, said=said)
        for position, line in lines
        for number, said in enumerate(line.entries)
    ]


def entry(entry: Entry, *, keys: bool) -> dict[str, Any]:
    shown = {"at": time(entry.at), "kind": entry.said.get("kind")} | {
        name: value for name, value in _with_times(entry.said).items() if name not in ("at", "kind")
    }
    safe: dict[str, Any] = masking.without_secrets(shown)
    return safe if keys else masking.without_keys(safe)


def _with_times(value: Any) -> Any:
    """The ledger has times as ms, under names that end in `_at`."""
    if isinstance(value, Mapping):
        return {
            name: time(item) if name.endswith("_at") and type(item) is int else _with_times(item) for name, item in value.items()
        }
    return [_with_times(item) for item in value] if isinstance(value, list) else value


def callback(callback: Callback, *, keys: bool) -> dict[str, Any]:
    """Headers, body and error text, which may quote the body, need to be allowed."""
    return {
        "id": str(callback.id),
        "vendor": callback.vendor,
        "app_id": callback.app_id,
        "event_type": callback.event_type,
        "received_at": time(callback.received_at),
        "event_at": time(callback.event_at),
        "applied_at": time(callback.applied_at),
        "verdict": callback.verdict,
        "reason": callback.reason,
        "error": callback.error if keys or callback.error is None else masking.HIDDEN,
        "task_id": callback.task_id,
        "masked": not keys,
        "headers": dict(callback.headers) if keys else None,
        "body": _as_text(callback.body) if keys else None,
        "body_base64": base64.b64encode(callback.body).decode() if keys else None,
    }


def _as_text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def rejection(refused: Refused, *, keys: bool) -> dict[str, Any]:
    shown = {field.name: getattr(refused, field.name) for field in fields(Refused)}
    shown["at"] = time(refused.at)
    return shown if keys else masking.without_keys(shown)


def stats(stats: Stats, *, spool_rows: int) -> dict[str, Any]:
    return {
        "tasks": [
            {"vendor": vendor, "kind": kind, "state": state, "count": count} for (vendor, kind, state), count in stats.tasks.items()
        ],
        "anomalies": stats.anomalies,
        "callbacks": {
            "received": stats.received,
            "rejected": stats.rejected,
            "last_minute": stats.last_minute,
            "by_verdict": stats.by_verdict,
        },
        "unapplied_callbacks": stats.unapplied_callbacks,
        "oldest_unapplied_s": stats.oldest_unapplied_s,
        "overdue_deadlines": stats.overdue_deadlines,
        "most_overdue_s": stats.most_overdue_s,
        "undelivered_events": 0,
        "oldest_undelivered_s": None,
        "spool_rows": spool_rows,
    }
