"""Whom somebody wants told of what: reads the request, and says everything that is wrong with it before anything is recorded."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.contract.cloud_events import TASK_PREFIX, TYPES
from adapters.ledger.subscriptions import matches_type
from adapters.text import FieldProblem, is_storable
from adapters.vendors.registry import vendor_names
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.context import Desk
from callbacks.desk.http.parameters import GivenValue
from callbacks.desk.http.problems import Invalid
from statemachine.delivery_policy import SubscriptionState
from statemachine.states import Kind

EXAMPLE = '{"sink": {"type": "webhook", "url": "https://..."}, "types": ["tally.task.*"]}'
CHANGE_EXAMPLE = '{"types": ["tally.task.*"]}'
MAX_TYPES, MAX_DESCRIPTION = 50, 200
#: States that somebody may ask for.
STATES = (SubscriptionState.ACTIVE, SubscriptionState.PAUSED)
#: What a new one has where nothing else is asked for.
DEFAULTS: Mapping[str, Any] = {"types": [f"{TASK_PREFIX}*"], "filter": {}, "description": ""}
FILTERS = (
    parameters.choice("vendor", vendor_names(), "Events of tasks at this vendor."),
    parameters.text("app_id", "Events of tasks of this app."),
    parameters.choice("kind", Kind, "Events of tasks of this kind."),
)

#: So many problems are told at most, and so many characters of a name.
_TOLD, _NAME_SHOWN = 100, 100
#: A value as it is kept, and what is wrong with it: then it is not.
_Read = tuple[Any, list[FieldProblem]]


def new(desk: Desk, document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a subscription that somebody wants; null: not given. Looks names up. Raises Invalid."""
    given = {name: value for name, value in document.items() if value is not None or name not in DEFAULTS}
    return _fields(desk, {"sink": None, **DEFAULTS, **given}, ("sink", *DEFAULTS))


def changed(desk: Desk, document: Mapping[str, Any]) -> dict[str, Any]:
    """The same of fields that somebody wants changed. Nothing is null: that could mean to leave it, or to clear it."""
    return _fields(desk, document, tuple(_READERS))


def _fields(desk: Desk, given: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    errors = request_body.unknown_members(given, known)
    for name in known:
        if name in given:
            fields[name], more = _READERS[name](desk, given[name])
            errors += more
    if errors:
        raise Invalid("this does not say whom to tell of what", errors[:_TOLD])
    return fields


def _sink(desk: Desk, given: Any) -> _Read:
    if not isinstance(given, dict):
        return None, [FieldProblem(field="sink", message='must be an object, as in {"type": "webhook", "url": "https://..."}')]
    type_ = given.get("type")
    sink = desk.sinks.get(type_) if isinstance(type_, str) else None
    if sink is None:
        return None, [FieldProblem(field="sink.type", message=f"must be one of {', '.join(desk.sinks)}")]
    if masked := request_body.masked_members(given, "sink"):
        return None, masked
    return sink.parse(given)


def _types(desk: Desk, given: Any) -> _Read:
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_TYPES:
        return None, [FieldProblem(field="types", message=f"must be a list of 1 to {MAX_TYPES} types")]
    wrong = ((number, _wrong_type(each, given[:number])) for number, each in enumerate(given))
    return given, [FieldProblem(field=f"types[{number}]", message=message) for number, message in wrong if message]


def _wrong_type(given: Any, before: Sequence[Any]) -> str:
    if not isinstance(given, str) or not any(matches_type(known, (given,)) for known in TYPES):
        return f"must be one of {', '.join(TYPES)}, or how some of them begin, and *"
    return "must be given once" if given in before else ""


def _filter(desk: Desk, given: Any) -> _Read:
    if not isinstance(given, dict):
        return None, [FieldProblem(field="filter", message="must be an object; {} for everything")]
    texts, errors = _members(given)
    values, more = parameters.read_values(FILTERS, texts)
    wanted = {name: value for name, value in values.items() if value is not None}
    return wanted, [*errors, *more, *_app_errors(desk, wanted)]


def _members(given: Mapping[str, Any]) -> tuple[list[GivenValue], list[FieldProblem]]:
    """The members that are text, or that there should not be, as parameters; null: not given."""
    known, texts, errors = {param.name for param in FILTERS}, [], []
    for name, value in given.items():
        field = f"filter.{name}"[:_NAME_SHOWN]
        if name not in known or isinstance(value, str):
            texts.append(GivenValue(name=name, field=field, value=str(value)))
        elif value is not None:
            errors.append(FieldProblem(field=field, message="must be text"))
    return texts, errors


def _app_errors(desk: Desk, wanted: Mapping[str, str]) -> list[FieldProblem]:
    app_id, vendor = wanted.get("app_id"), wanted.get("vendor")
    apps = [app for app in desk.settings.apps if vendor in (None, app.vendor)]
    if app_id is None or any(app.app_id == app_id for app in apps):
        return []
    whose = "" if vendor is None else " for this vendor"
    return [FieldProblem(field="filter.app_id", message=f"must be the app_id of one of the [[apps]] that are configured{whose}")]


def _description(desk: Desk, given: Any) -> _Read:
    if not isinstance(given, str) or len(given) > MAX_DESCRIPTION or not is_storable(given):
        message = f"must be text of at most {MAX_DESCRIPTION} characters, without NUL and surrogates"
        return None, [FieldProblem(field="description", message=message)]
    return given, []


def _state(desk: Desk, given: Any) -> _Read:
    if given not in list(STATES):
        return None, [FieldProblem(field="state", message=f"must be one of {', '.join(STATES)}")]
    return SubscriptionState(given), []


_READERS: Mapping[str, Callable[[Desk, Any], _Read]] = {
    "sink": _sink,
    "types": _types,
    "filter": _filter,
    "description": _description,
    "state": _state,
}
