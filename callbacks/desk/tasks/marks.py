"""Takes an operator's statement about a task: that it ended, or that an anomaly is dealt with.

The desk only puts the statement into the inbox; a worker decides what it changes. It stays in the task's timeline, with the name of
the token.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import inbox
from adapters.text import FieldProblem
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.body_fields import BodyField, read_fields
from callbacks.desk.http.context import Desk
from callbacks.desk.http.json_schema import enum_of, list_of
from callbacks.desk.http.problems import Invalid
from callbacks.desk.tasks.actions import record_action
from callbacks.desk.tasks.queries import find_task, redirect_to_merged
from statemachine.states import Anomaly, State

#: Final states that an operator may state.
_STATES = (State.STOPPED, State.FAILED, State.LOST)
_EXAMPLE = '{"clear": ["zombie"], "note": "stopped it at the console"}'
_MAX_NOTE = 1_000


def _read_state(given: Any) -> str:
    if given not in _STATES:
        raise ValueError(f"must be one of {', '.join(_STATES)}")
    return str(given)


def _read_anomalies(given: Any) -> list[str]:
    if not isinstance(given, list) or len(given) > len(Anomaly) or not all(item in list(Anomaly) for item in given):
        raise ValueError(f"must be a list of {', '.join(Anomaly)}")
    return given


def _read_note(given: Any) -> str:
    if not isinstance(given, str) or not given.strip() or len(given) > _MAX_NOTE:
        raise ValueError(f"must say why, in at most {_MAX_NOTE} characters")
    return given


FIELDS = (
    BodyField(name="state", meaning="The state in which it ended.", schema=enum_of(_STATES), read=_read_state),
    BodyField(name="clear", meaning="Anomalies to clear.", schema=list_of(enum_of(Anomaly)), read=_read_anomalies, default=[]),
    BodyField(
        name="note",
        meaning="Why.",
        schema={"type": "string", "minLength": 1, "maxLength": _MAX_NOTE},
        read=_read_note,
        required=True,
    ),
)


async def mark(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    task = await desk.query_pool.run(request, caller.name, find_task, desk, request.path_params["id"])
    statement = _read_mark(request_body.parse_document(await request_body.read_body(request), _EXAMPLE))
    if task.merged_into is not None:
        return redirect_to_merged(task.merged_into, "/mark")
    return await record_action(desk, request, caller, task, inbox.MARK, statement)


def _read_mark(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns state, clear and note. Raises Invalid."""
    values, errors = read_fields(FIELDS, document)
    if not errors and values["state"] is None and not values["clear"]:
        errors.append(FieldProblem(field="state", message="state or clear must be given"))
    if errors:
        raise Invalid("the body does not say what to mark", errors)
    return values
