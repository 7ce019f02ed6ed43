"""A task's story as text, for people in a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.clock import to_rfc3339
from adapters.ledger import Connection, search, timeline
from adapters.process.terminal import visible
from statemachine.tasks import Task

#: Lines of the timeline that are read.
_LINES = 10_000


def find_tasks(connection: Connection, name: str, limit: int = 5) -> list[Task]:
    """The tasks that a person may mean: by our id, or by any id of the vendor, whole or its beginning; newest first."""
    task = search.find(connection, name)
    return [task] if task else search.page(connection, search.TaskFilter(q=name), before=None, limit=limit)


def explain_task(connection: Connection, task: Task) -> str:
    return "\n".join(map(visible, [*_head(task), "", *_body(connection, task)])) + "\n"


def _head(task: Task) -> Iterator[str]:
    view = task.view
    why = f" ({view.reason.value}{', inferred' if view.inferred else ''})" if view.reason else ""
    yield f"{task.kind.value} {task.id} at {task.key.vendor}: {view.state.value}{why}"
    name = "not named yet" if task.key.is_provisional else task.key.vendor_task_id
    yield f"  app {task.key.app_id}, room {task.key.room_id or view.room_id or '?'}, task {name}, run {task.run}"
    if task.anomalies:
        yield f"  anomalies: {', '.join(a.value for a in task.anomalies)}"
    times = (("accepted", view.accepted_at), ("running", view.running_at), ("ended", view.ended_at))
    yield "  " + ", ".join(f"{word} {to_rfc3339(at)}" for word, at in times if at is not None)
    yield from (f"  output {output.url}: {output.state.value}" for output in view.outputs)
    yield from (f"  file {file.name or file.file_id}: {file.state.value}" for file in view.files)
    yield from (f"  deadline {kind.value} at {to_rfc3339(at)}" for kind, at in task.deadlines.items())


def _body(connection: Connection, task: Task) -> Iterator[str]:
    for _, line in timeline.page(connection, task.id, after=0, limit=_LINES):
        for entry in line.entries:
            yield f"{to_rfc3339(line.at)}  {_sentence(entry)}"


def _sentence(entry: Mapping[str, Any]) -> str:
    match entry["kind"]:
        case "callback" | "replay":
            said = f"callback {entry['callback_id']} of {to_rfc3339(entry['event_at'])} says {entry.get('says', 'nothing')}"
            return f"{said}: {entry['verdict']}{_told(entry)}"
        case "move":
            why = f" ({entry['reason']})" if "reason" in entry else ""
            how = "".join(f", {word}" for word in ("inferred", "corrects") if entry.get(word))
            return f"moves {entry['from'] or 'new'} -> {entry['to']}{why}{how}"
        case "deadline_armed":
            return f"{entry['deadline']} armed for {to_rfc3339(entry['due_at'])}"
        case "deadline_passed":
            return f"{entry['deadline']} passed"
        case "call":
            return _call(entry)
        case "start_asked" | "stop_asked" | "update_asked" | "retry_asked":
            return f"{entry['kind'].removesuffix('_asked')} asked for by {entry['by'] or 'nobody'}"
        case "named":
            return f"the vendor calls it {entry['vendor_task_id']}"
        case "adopted":
            return f"its callbacks are heard: the vendor calls it {entry['vendor_task_id']}"
        case _:
            return " ".join(str(value) for value in entry.values())


def _call(entry: Mapping[str, Any]) -> str:
    took = f" ({entry['duration_ms']} ms)" if "duration_ms" in entry else ""
    says = f", says {entry['says']}" if "says" in entry else ""
    request = f", request {entry['request_id']}" if "request_id" in entry else ""
    return f"call {entry.get('action') or entry['operation']}: {entry['outcome']}{took}{says}{_told(entry)}{request}"


def _told(entry: Mapping[str, Any]) -> str:
    told = [f"{word} {entry[word]}" for word in ("code", "message") if word in entry]
    return f" ({', '.join(told)})" if told else ""
