"""An operator's own word about a task: that it ended, or that a mark on it is dealt with. Audited in the task's timeline.

The desk only puts the word into the inbox; a worker decides what it changes.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract import task_json
from adapters.ledger import inbox
from adapters.ledger.lineages import shard_of_key
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import FieldError, Invalid
from callbacks.desk.http.responses import answer
from callbacks.desk.tasks.queries import find, moved, path_of
from statemachine.states import Anomaly, State
from statemachine.tasks import Task

#: Ends that an operator may tell.
STATES = (State.STOPPED, State.FAILED, State.LOST)
_EXAMPLE = '{"clear": ["zombie"], "note": "stopped it at the console"}'
_MAX_NOTE = 1_000


async def mark(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)
    task = await desk.queries.run(request, caller.name, find, desk, request.path_params["id"])
    word = _word(request_body.document(await request_body.read(request), _EXAMPLE))
    if task.merged_into is not None:
        return moved(task.merged_into, "/mark")
    await desk.queries.run(request, caller.name, _post, desk, task, {**word, "task_id": task.id, "by": caller.name})
    return answer(task_json.task(task, keys=caller.sees_keys), status=202, headers={"Location": path_of(task.id)})


def _post(desk: Desk, task: Task, payload: Mapping[str, Any]) -> None:
    with desk.ledger.write() as connection:
        inbox.post(connection, inbox.MARK, (str(uuid4()),), payload, desk.clock(), shard=shard_of_key(task.key))
    desk.ring()


def _word(document: Mapping[str, Any]) -> dict[str, Any]:
    """state, clear and note. Raises Invalid with everything that is wrong."""
    errors = request_body.unknown_members(document, ("state", "clear", "note"))
    state, clear, note = document.get("state"), document.get("clear", []), document.get("note")
    if "state" in document and state not in STATES:
        errors.append(FieldError(field="state", message=f"must be one of {', '.join(STATES)}"))
    if not isinstance(clear, list) or len(clear) > len(Anomaly) or not all(item in list(Anomaly) for item in clear):
        errors.append(FieldError(field="clear", message=f"must be a list of {', '.join(Anomaly)}"))
    if not isinstance(note, str) or not note.strip() or len(note) > _MAX_NOTE:
        errors.append(FieldError(field="note", message=f"must say why, in at most {_MAX_NOTE} characters"))
    if not errors and "state" not in document and not clear:
        errors.append(FieldError(field="state", message="state or clear must be given"))
    if errors:
        raise Invalid("this does not say what to mark", errors)
    return {"state": state, "clear": clear, "note": note}
