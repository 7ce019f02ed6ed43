"""Declares and reads the bodies that make and change subscriptions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from adapters.contract.cloud_events import TASK_PREFIX, TYPES
from adapters.ledger.subscriptions import matches_type
from adapters.text import FieldProblem, is_storable
from adapters.vendors.registry import vendor_names
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.body_fields import BodyField, NestedError, field_of, read_fields, schema_of
from callbacks.desk.http.context import Desk
from callbacks.desk.http.json_schema import TEXT, Schema, enum_of, list_of, ref
from callbacks.desk.http.problems import Invalid
from statemachine.delivery_policy import SubscriptionState
from statemachine.states import Kind

EXAMPLE = '{"sink": {"type": "webhook", "url": "https://..."}, "types": ["tally.task.*"]}'
CHANGE_EXAMPLE = '{"types": ["tally.task.*"]}'
_MAX_TYPES, _MAX_DESCRIPTION = 50, 200
#: States that a request may set.
_STATES = (SubscriptionState.ACTIVE, SubscriptionState.PAUSED)
FILTER_FIELDS = tuple(
    field_of(param)
    for param in (
        parameters.choice("vendor", vendor_names(), "Events of tasks at this vendor."),
        parameters.text("app_id", "Events of tasks of this app."),
        parameters.choice("kind", Kind, "Events of tasks of this kind."),
    )
)
#: Errors reported at most.
_MAX_ERRORS = 100


def _read_sink(desk: Desk, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise ValueError('must be an object, as in {"type": "webhook", "url": "https://..."}')
    type_ = given.get("type")
    sink = desk.sinks.get(type_) if isinstance(type_, str) else None
    if sink is None:
        raise NestedError([FieldProblem(field=".type", message=f"must be one of {', '.join(desk.sinks)}")])
    if masked := request_body.masked_members(given, "sink"):
        raise _nested_error("sink", masked)
    parsed, problems = sink.parse(given)
    if problems:
        raise _nested_error("sink", problems)
    return parsed


def _nested_error(name: str, problems: Sequence[FieldProblem]) -> NestedError:
    """Returns the error of a member whose problems have whole paths."""
    return NestedError([FieldProblem(field=each.field.removeprefix(name), message=each.message) for each in problems])


def _read_types(desk: Desk, given: Any) -> list[str]:
    if not isinstance(given, list) or not 1 <= len(given) <= _MAX_TYPES:
        raise ValueError(f"must be a list of 1 to {_MAX_TYPES} types")
    messages = [_type_message(each, given[:number]) for number, each in enumerate(given)]
    if any(messages):
        raise NestedError([FieldProblem(field=f"[{number}]", message=each) for number, each in enumerate(messages) if each])
    return given


def _type_message(given: Any, before: Sequence[Any]) -> str:
    """Returns what is wrong with a type; empty if it is right."""
    if not isinstance(given, str) or not any(matches_type(known, (given,)) for known in TYPES):
        return f"must be one of {', '.join(TYPES)}, or a prefix of some of them and *"
    return "must be given once" if given in before else ""


def _read_filter(desk: Desk, given: Any) -> Mapping[str, str]:
    if not isinstance(given, dict):
        raise ValueError("must be an object; {} for all events")
    values, errors = read_fields(FILTER_FIELDS, given)
    chosen = {name: value for name, value in values.items() if value is not None}
    errors += _app_problems(desk, chosen)
    if errors:
        raise NestedError([FieldProblem(field=f".{each.field}", message=each.message) for each in errors])
    return chosen


def _app_problems(desk: Desk, chosen: Mapping[str, str]) -> list[FieldProblem]:
    app_id, vendor = chosen.get("app_id"), chosen.get("vendor")
    apps = [app for app in desk.settings.apps if vendor in (None, app.vendor)]
    if app_id is None or any(app.app_id == app_id for app in apps):
        return []
    which = "" if vendor is None else " for this vendor"
    return [FieldProblem(field="app_id", message=f"must be the app_id of one of the [[apps]] that are configured{which}")]


def _read_description(desk: Desk, given: Any) -> str:
    if not isinstance(given, str) or len(given) > _MAX_DESCRIPTION or not is_storable(given):
        raise ValueError(f"must be text of at most {_MAX_DESCRIPTION} characters, without NUL and surrogates")
    return given


def _read_state(desk: Desk, given: Any) -> SubscriptionState:
    if given not in list(_STATES):
        raise ValueError(f"must be one of {', '.join(_STATES)}")
    return SubscriptionState(given)


def _desk_field(name: str, meaning: str, schema: Schema, read: Callable[[Desk, Any], Any], **more: Any) -> BodyField:
    """Returns a member whose reader takes the desk first; `_bind_desk` binds it."""
    return BodyField(name=name, meaning=meaning, schema=schema, read=read, **more)  # type: ignore[arg-type]


_SINK = _desk_field("sink", "Where events go.", {}, _read_sink, required=True)
_TYPES = _desk_field(
    "types",
    "Types of events; one that ends in `*` is a prefix. There are " + ", ".join(TYPES) + ".",
    {**list_of(TEXT), "minItems": 1, "maxItems": _MAX_TYPES, "uniqueItems": True},
    _read_types,
    default=[f"{TASK_PREFIX}*"],
)
_FILTER = _desk_field("filter", "Which tasks' events.", ref("Filter"), _read_filter, default={})
_DESCRIPTION = _desk_field(
    "description", "For people.", {"type": "string", "maxLength": _MAX_DESCRIPTION}, _read_description, default=""
)
_STATE = _desk_field("state", "`active` resumes it, `paused` pauses it.", enum_of(_STATES), _read_state)
_NEW = (_SINK, _TYPES, _FILTER, _DESCRIPTION)
_CHANGES = (*_NEW, _STATE)


def read_new(desk: Desk, document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a new subscription. Resolves host names. Raises Invalid."""
    values, errors = read_fields(_bind_desk(desk, _NEW), document)
    return _require_valid(values, errors)


def read_changes(desk: Desk, document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the changed fields. Here null is an error: it could mean to leave a field, or to clear it. Raises Invalid."""
    fields = [replace(field, required=True) for field in _bind_desk(desk, _CHANGES) if field.name in document]
    known = {name: value for name, value in document.items() if name in {field.name for field in fields}}
    values, errors = read_fields(fields, known)
    errors += request_body.unknown_members(document, [field.name for field in _CHANGES])
    return _require_valid(values, errors)


def _bind_desk(desk: Desk, fields: Sequence[BodyField]) -> list[BodyField]:
    return [replace(field, read=partial(field.read, desk)) for field in fields]


def _require_valid(values: dict[str, Any], errors: Sequence[FieldProblem]) -> dict[str, Any]:
    if errors:
        raise Invalid("the body does not say which events go where", errors[:_MAX_ERRORS])
    return values


def new_schema(sink: Schema) -> Schema:
    """Returns the schema of the body that makes a subscription. sink: that of its sink."""
    return schema_of("Which events go where.", [replace(_SINK, schema=sink), *_NEW[1:]])


def change_schema(sink: Schema) -> Schema:
    """Returns the schema of the body that changes a subscription."""
    fields = [replace(field, required=True, default=None) for field in (replace(_SINK, schema=sink), *_CHANGES[1:])]
    return {**schema_of("What changes; the rest stays as it is.", fields), "required": []}


def filter_schema() -> Schema:
    """Returns the schema of a filter."""
    return schema_of("Which tasks' events; a member that is left out or null matches all.", FILTER_FIELDS)


def shown_schemas(sink: Schema) -> dict[str, Schema]:
    """Returns the schemas of these members in answers."""
    properties: dict[str, Schema] = new_schema(sink)["properties"]
    plain = schema_of("", [replace(field, required=True, default=None) for field in (replace(_SINK, schema=sink), *_NEW[1:])])
    return {name: plain["properties"][name] for name in properties}
