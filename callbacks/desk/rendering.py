"""What the ledger knows, as the JSON of the contract. `keys`: whether the reader may see stream keys and raw callbacks."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from adapters.clock_watch import ClockWatch, Step
from adapters.contract import masking, task_json
from adapters.contract.task_json import time
from adapters.ledger.callbacks import Callback, Listed
from adapters.ledger.rejections import Refused
from adapters.ledger.stats import Stats
from adapters.ledger.timeline import Line
from adapters.supervision import Fault
from adapters.vendors import Rejection
from statemachine.tasks import Task

#: Files, and outputs, of a task in a list.
_SHOWN = 200


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


def listed_task(task: Task, *, keys: bool) -> dict[str, Any]:
    """A task as lists show it: of thousands of files and outputs the first ones, and how many are left out."""
    view = task.view
    left_out = {"outputs": len(view.outputs) - _SHOWN, "files": len(view.files) - _SHOWN}
    if max(left_out.values()) <= 0:
        return task_json.task(task, keys=keys)
    part = replace(task, view=replace(view, outputs=view.outputs[:_SHOWN], files=view.files[:_SHOWN]))
    return {**task_json.task(part, keys=keys), "left_out": {name: max(0, number) for name, number in left_out.items()}}


def callback(callback: Callback | Listed, *, keys: bool) -> dict[str, Any]:
    """Headers, body and error text, which may quote the body, need to be allowed. In lists there is no body."""
    whole = callback if keys and isinstance(callback, Callback) else None
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
        "size": callback.size,
        "headers": dict(whole.headers) if whole else None,
        "body": _as_text(whole.body) if whole else None,
        "body_base64": base64.b64encode(whole.body).decode() if whole else None,
    }


def _as_text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


#: Reasons whose details quote nothing that came.
_OUR_WORDS = frozenset({Rejection.BAD_SIGNATURE.value, Rejection.TOO_LARGE.value})


def rejection(refused: Refused, *, keys: bool) -> dict[str, Any]:
    shown = {field.name: getattr(refused, field.name) for field in fields(Refused)}
    shown["at"] = time(refused.at)
    if keys:
        return shown
    quoted = {name: shown[name] for name in ("app_id", "detail") if refused.reason not in _OUR_WORDS}
    return {**shown, **masking.without_keys(quoted)}


def fault(fault: Fault) -> dict[str, Any]:
    """A part that does not work."""
    return {"part": fault.part, "since": time(fault.since), "detail": fault.detail}


def part(name: str, fault_: Fault | None) -> dict[str, Any]:
    """A part of the process; `since` and `detail` are null while it works."""
    said = {"since": None, "detail": None} if fault_ is None else {"since": time(fault_.since), "detail": fault_.detail}
    return {"part": name, "up": fault_ is None, **said}


def stats(
    stats: Stats, *, spool_rows: int, parts: Mapping[str, Fault | None], unwritten: tuple[int, int | None], clock: ClockWatch
) -> dict[str, Any]:
    """unwritten: callbacks that could not be made durable, of which the ledger does not know yet."""
    number, last = unwritten
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
            "unrecorded": stats.unrecorded + number,
            "last_unrecorded_at": time(stats.last_unrecorded_at if last is None else last),
        },
        "unapplied_callbacks": stats.unapplied_callbacks,
        "oldest_unapplied_s": stats.oldest_unapplied_s,
        "overdue_deadlines": stats.overdue_deadlines,
        "most_overdue_s": stats.most_overdue_s,
        "undelivered_events": stats.undelivered_events,
        "oldest_undelivered_s": stats.oldest_undelivered_s,
        "spool_rows": spool_rows,
        "parts": [part(name, fault_) for name, fault_ in parts.items()],
        "clock": {"steps": clock.steps, "last_step": clock_step(clock.last) if clock.last is not None else None},
    }


def clock_step(step: Step) -> dict[str, Any]:
    return {"at": time(step.at), "by_s": step.by_s}
