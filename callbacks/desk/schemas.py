"""Joins the JSON Schemas of all bodies and answers (OpenAPI 3.1)."""

from callbacks.desk.callbacks import schemas as callback_schemas
from callbacks.desk.events import schemas as event_schemas
from callbacks.desk.http.json_schema import COUNT, TEXT, Schema, described, list_of, object_of
from callbacks.desk.service import schemas as service_schemas
from callbacks.desk.subscriptions import schemas as subscription_schemas
from callbacks.desk.tasks import schemas as task_schemas


def schemas() -> dict[str, Schema]:
    """Returns all schemas by name."""
    return {
        **task_schemas.schemas(),
        **callback_schemas.schemas(),
        **subscription_schemas.schemas(),
        **event_schemas.schemas(),
        **service_schemas.schemas(),
        "Taken": object_of("The callback is durable.", code={"const": 0}),
        "Problem": _problem_schema(),
    }


def _problem_schema() -> Schema:
    problem = object_of(
        "An error (RFC 9457).",
        type=described(TEXT, "A stable name, such as `urn:tallylight:problem:not_found`."),
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
    )
    errors = list_of(object_of("An error of one field, and what would be right.", field=TEXT, message=TEXT))
    parts = described(list_of(service_schemas.fault_schema()), "What does not work; only with `not_ready`.")
    left_out = described(COUNT, "How many more there are, where they are too many to be told.")
    more = {"errors": errors, "errors_left_out": left_out, "parts": parts}
    return {**problem, "properties": {**problem["properties"], **more}}
