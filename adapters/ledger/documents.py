"""Encodes tasks and facts as JSON text and decodes them, for the ledger only: the API has its own format."""

import json
from typing import Any

from statemachine.calls import Operation, pending_call_from_doc, pending_call_to_doc
from statemachine.facts import Fact, Output, fact_from_doc, fact_to_doc, file_from_doc, file_to_doc
from statemachine.fast_dataclasses import sparse_encoder
from statemachine.folding.run_view import View
from statemachine.states import Anomaly, Deadline, Kind, Origin, OutputState, Reason, State
from statemachine.tasks import DeadlinePass, Task, TaskKey

_dump_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def facts_text(facts: tuple[Fact, ...]) -> str:
    return _dump_json([fact_to_doc(fact) for fact in facts])


def facts_of(text: str) -> tuple[Fact, ...]:
    return tuple(fact_from_doc(doc) for doc in json.loads(text))


def json_text(value: Any) -> str:
    return _dump_json(value)


def task_text(task: Task) -> str:
    """Returns a task as JSON, without its key, which the lineage's columns hold."""
    doc = _sparse_task(task)
    doc["view"] = _sparse_view(task.view)
    if task.view.files:
        doc["view"]["files"] = [file_to_doc(file) for file in task.view.files]
    if task.view.outputs:
        doc["view"]["outputs"] = [[output.url, output.state] for output in task.view.outputs]
    if task.passed:
        doc["passed"] = {kind: [p.base, p.at, p.times] for kind, p in task.passed.items()}
    if task.calls:
        doc["calls"] = {operation: pending_call_to_doc(pursuit) for operation, pursuit in task.calls.items()}
    return _dump_json(doc)


class TaskTexts:
    """Cache of task documents for one transaction, so that each task is encoded once for its row and its event.

    Valid for as long as the tasks live: the key is the object's identity.
    """

    def __init__(self) -> None:
        self._texts: dict[int, tuple[Task, str]] = {}

    def text_of(self, task: Task) -> str:
        entry = self._texts.get(id(task))
        if entry is None:
            entry = self._texts[id(task)] = (task, task_text(task))
        return entry[1]


def task_of(key: TaskKey, text: str) -> Task:
    return task_from_doc(key, json.loads(text))


def task_from_doc(key: TaskKey, doc: dict[str, Any]) -> Task:
    """Decodes a task from the parsed JSON of `task_text`. Modifies `doc`."""
    doc["kind"] = Kind(doc["kind"])
    doc["origin"] = Origin(doc["origin"])
    if "anomalies" in doc:
        doc["anomalies"] = tuple(Anomaly(word) for word in doc["anomalies"])
    if "deadlines" in doc:
        doc["deadlines"] = {Deadline(kind): at for kind, at in doc["deadlines"].items()}
    if "raised" in doc:
        doc["raised"] = {Anomaly(word): at for word, at in doc["raised"].items()}
    if "passed" in doc:
        doc["passed"] = {
            Deadline(kind): DeadlinePass(base=base, at=at, times=times) for kind, (base, at, times) in doc["passed"].items()
        }
    if "calls" in doc:
        doc["calls"] = {Operation(word): pending_call_from_doc(pursuit) for word, pursuit in doc["calls"].items()}
    doc["view"] = _view_of(doc["view"])
    return Task(key=key, **doc)


def _view_of(doc: dict[str, Any]) -> View:
    doc["state"] = State(doc["state"])
    if "reason" in doc:
        doc["reason"] = Reason(doc["reason"])
    if "revoked" in doc:
        doc["revoked"] = Deadline(doc["revoked"])
    if "fallback" in doc:
        doc["fallback"] = (State(doc["fallback"][0]), Reason(doc["fallback"][1]))
    if "files" in doc:
        doc["files"] = tuple(file_from_doc(file) for file in doc["files"])
    if "outputs" in doc:
        doc["outputs"] = tuple(Output(url=url, state=OutputState(state)) for url, state in doc["outputs"])
    return View(**doc)


_sparse_task = sparse_encoder(Task, without=("key", "view"))
_sparse_view = sparse_encoder(View)
