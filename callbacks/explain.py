"""`tally explain`: the history of a task as text, for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.clock import to_rfc3339
from adapters.ledger import Connection, search, timeline
from adapters.process.terminal import escape_unprintable
from statemachine.tasks import Task

#: Lines of the timeline that are read, at most.
_MAX_LINES = 10_000


def find_tasks(connection: Connection, name: str, limit: int = 5) -> list[Task]:
    """Returns the tasks that a name may mean, newest first: our id, or any id of the vendor, whole or its beginning."""
    task = search.find(connection, name)
    return [task] if task else search.page(connection, search.TaskFilter(q=name), before=None, limit=limit)


def explain_task(connection: Connection, task: Task) -> str:
    """Returns the state of a task and its timeline, a line for each entry."""
    return "\n".join(map(escape_unprintable, [*_header_lines(task), "", *_timeline_lines(connection, task)])) + "\n"


def _header_lines(task: Task) -> Iterator[str]:
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


def _timeline_lines(connection: Connection, task: Task) -> Iterator[str]:
    for _, line in timeline.page(connection, task.id, after=0, limit=_MAX_LINES):
        for entry in line.entries:
            yield f"{to_rfc3339(line.at)}  {_describe_entry(entry)}"


def _describe_entry(entry: Mapping[str, Any]) -> str:
    match entry["kind"]:
        case "callback" | "replay":
            callback = f"callback {entry['callback_id']} of {to_rfc3339(entry['event_at'])} says {entry.get('says', 'nothing')}"
            return f"{callback}: {entry['verdict']}{_code_and_message(entry)}"
        case "move":
            why = f" ({entry['reason']})" if "reason" in entry else ""
            how = "".join(f", {word}" for word in ("inferred", "corrects") if entry.get(word))
            return f"moves {entry['from'] or 'new'} -> {entry['to']}{why}{how}"
        case "deadline_armed":
            return f"{entry['deadline']} armed for {to_rfc3339(entry['due_at'])}"
        case "deadline_passed":
            return f"{entry['deadline']} passed"
        case "call":
            return _describe_call(entry)
        case "start_asked" | "stop_asked" | "update_asked" | "retry_asked":
            return f"{entry['kind'].removesuffix('_asked')} requested by {entry['by'] or 'an unknown caller'}"
        case "named":
            return f"the vendor calls it {entry['vendor_task_id']}"
        case "adopted":
            return f"its callbacks arrive: the vendor calls it {entry['vendor_task_id']}"
        case _:
            return " ".join(str(value) for value in entry.values())


def _describe_call(entry: Mapping[str, Any]) -> str:
    took = f" ({entry['duration_ms']} ms)" if "duration_ms" in entry else ""
    says = f", says {entry['says']}" if "says" in entry else ""
    request = f", request {entry['request_id']}" if "request_id" in entry else ""
    return f"call {entry.get('action') or entry['operation']}: {entry['outcome']}{took}{says}{_code_and_message(entry)}{request}"


def _code_and_message(entry: Mapping[str, Any]) -> str:
    words = [f"{word} {entry[word]}" for word in ("code", "message") if word in entry]
    return f" ({', '.join(words)})" if words else ""
