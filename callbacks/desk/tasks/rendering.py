"""Renders tasks of lists and timelines as JSON. `keys`: whether the reader may see stream keys."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapters.contract import masking, task_json
from adapters.contract.task_json import format_time
from adapters.ledger.timeline import TimelineRow
from statemachine.tasks import Task

#: Files, and outputs, of a task shown in lists at most.
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One item of a timeline. `place`: (position of its row, number in the row); `at`: when it was applied, ms."""

    place: tuple[int, int]
    at: int
    content: Mapping[str, Any]


def timeline_entries(lines: Iterable[tuple[int, TimelineRow]]) -> list[TimelineEntry]:
    """Returns a timeline's items, in order."""
    return [
        TimelineEntry(place=(position, number), at=line.at, content=said)
        for position, line in lines
        for number, said in enumerate(line.entries)
    ]


def render_entry(entry: TimelineEntry, *, keys: bool) -> dict[str, Any]:
    shown = {"at": format_time(entry.at), "kind": entry.content.get("kind")} | {
        name: value for name, value in _with_times(entry.content).items() if name not in ("at", "kind")
    }
    safe: dict[str, Any] = masking.without_secrets(shown)
    return safe if keys else masking.without_keys(safe)


def _with_times(value: Any) -> Any:
    """Renders times: the ledger has them as ms, under names that end in `_at`."""
    if isinstance(value, Mapping):
        return {
            name: format_time(item) if name.endswith("_at") and type(item) is int else _with_times(item)
            for name, item in value.items()
        }
    return [_with_times(item) for item in value] if isinstance(value, list) else value


def render_listed_task(task: Task, *, keys: bool) -> dict[str, Any]:
    """Renders a task for a list: with at most 200 files and outputs, and how many are left out."""
    view = task.view
    left_out = {"outputs": len(view.outputs) - _SHOWN, "files": len(view.files) - _SHOWN}
    if max(left_out.values()) <= 0:
        return task_json.render_task(task, keys=keys)
    part = replace(task, view=replace(view, outputs=view.outputs[:_SHOWN], files=view.files[:_SHOWN]))
    return {**task_json.render_task(part, keys=keys), "left_out": {name: max(0, number) for name, number in left_out.items()}}
