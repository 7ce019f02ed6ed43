"""Defines the shapes of tasks and of requests about them, as JSON Schema."""

from collections.abc import Mapping
from dataclasses import fields

from adapters.vendors import DIALECTS
from adapters.vendors.registry import vendor_names
from callbacks.desk.http.body_fields import schema_of
from callbacks.desk.http.json_schema import (
    ANYTHING,
    COUNT,
    TEXT,
    TIME,
    Schema,
    body_of,
    described,
    enum_of,
    list_of,
    object_of,
    or_null,
    page_of,
    ref,
)
from callbacks.desk.tasks import actions, marks
from statemachine.facts import File
from statemachine.policy import POLICY_FIELDS, PolicyField
from statemachine.states import FINAL, Anomaly, Deadline, FileState, Kind, Origin, OutputState, Reason, State


def schemas() -> dict[str, Schema]:
    """Returns the schemas by name."""
    return {
        "Task": _task_schema(),
        "StartTask": _start_task_schema(),
        **_policy_schemas(),
        "UpdateTask": schema_of("A request to update a task.", actions.UPDATE_FIELDS),
        "TaskPage": page_of("Task"),
        "TimelineItem": _timeline_item_schema(),
        "TimelinePage": page_of("TimelineItem"),
        "Mark": schema_of("An operator's statement; state or clear is required.", marks.FIELDS),
    }


def _start_task_schema() -> Schema:
    actions = [action for dialect in DIALECTS.values() for action in dialect.start_actions]
    properties = {
        "vendor": enum_of(vendor_names()),
        "action": described(enum_of(actions), "The vendor's name of its start call."),
        "version": described(TEXT, "The version of the vendor's API; the newest by default."),
        "params": {**ANYTHING, "description": "The parameters of that call, as the vendor's pages have them."},
        "policy": ref("Policy"),
    }
    return body_of("A request to start a task.", properties, "vendor", "action", "params")


def _policy_schemas() -> dict[str, Schema]:
    """Returns a schema for the policy and one for each section, from the table that checks them."""
    sections = {name: f"Policy{name.capitalize()}" for name in POLICY_FIELDS if name}
    top = {name: ref(shape) for name, shape in sections.items()} | _member_schemas(POLICY_FIELDS[""])
    meaning = "What shall happen by itself. Fields have defaults; without its section nothing of it is done, except `start`."
    return {"Policy": body_of(meaning, top)} | {
        shape: body_of(
            f"`policy.{name}`.", _member_schemas(POLICY_FIELDS[name]), *(n for n, m in POLICY_FIELDS[name].items() if m.required)
        )
        for name, shape in sections.items()
    }


def _member_schemas(members: Mapping[str, PolicyField]) -> dict[str, Schema]:
    return {name: _member_schema(member) for name, member in members.items()}


def _member_schema(member: PolicyField) -> Schema:
    meaning = f"{member.meaning} It must be {member.right}."
    if member.default is None:
        kind: Schema = ANYTHING if member.ok({}) else {"type": "array", "items": enum_of(sorted(FINAL)), "minItems": 1}
        return described(kind, meaning)
    kinds = {bool: "boolean", int: "integer", str: "string"}
    return {"type": kinds[type(member.default)], "default": member.default, "description": meaning}


def _task_schema() -> Schema:
    left_out = object_of("Numbers left out.", outputs=COUNT, files=COUNT)
    meaning = "Only in lists, and only if a task has more than 200 outputs or files: how many of each are left out."
    more = "Only if there were more files than are here: a task keeps the first 5,000, an event has the newest 500."
    shape = _task_members_schema()
    optional = {"left_out": described(left_out, meaning), "files_truncated": described({"type": "boolean"}, more)}
    return {**shape, "properties": {**shape["properties"], **optional}}


def _task_members_schema() -> Schema:
    return object_of(
        "One run of a stream task. Viewers see urls without stream keys.",
        id=TEXT,
        vendor=enum_of(vendor_names()),
        kind=enum_of(Kind),
        app_id=TEXT,
        room_id=or_null(TEXT),
        vendor_task_id=or_null(TEXT),
        run=described({"type": "integer", "minimum": 1}, "Counts the runs of the vendor's id."),
        origin=described(enum_of(Origin), "`managed`: started through Tallylight; `observed`: its first news was a callback."),
        state=enum_of(State),
        reason=or_null(enum_of(Reason)),
        inferred=described({"type": "boolean"}, "Concluded by Tallylight; the vendor did not say so."),
        anomalies=list_of(enum_of(Anomaly)),
        vendor_code=or_null(TEXT),
        vendor_message=or_null(TEXT),
        action=described(or_null(TEXT), "The vendor's action that started it."),
        params=described(ANYTHING, "The parameters of that action; secrets are masked."),
        policy=described(ANYTHING, "The policy of the start; secrets are masked."),
        attempts=COUNT,
        outputs=list_of(object_of("An output url.", url=or_null(TEXT), state=enum_of(OutputState))),
        files=list_of(_file_schema()),
        deadlines=list_of(object_of("A deadline: what happens by itself, and when.", kind=enum_of(Deadline), due_at=TIME)),
        created_at=TIME,
        accepted_at=or_null(TIME),
        running_at=or_null(TIME),
        ended_at=or_null(TIME),
        updated_at=TIME,
        version=described({"type": "integer", "minimum": 1}, "Grows with each visible change."),
        renews=described(or_null(TEXT), "The task that this one renews: it took over before the end of that task's life."),
        renewed_by=described(or_null(TEXT), "The task that renews this one."),
        restarts=described(or_null(TEXT), "The task that this one restarts."),
        restarted_by=described(or_null(TEXT), "The task that restarts this one."),
    )


def _file_schema() -> Schema:
    known = {
        "state": enum_of(FileState),
        "started_at": or_null(TIME),
        "ended_at": or_null(TIME),
        "duration_ms": or_null(COUNT),
        "size_bytes": or_null(COUNT),
    }
    return object_of("A file.", **{field.name: known.get(field.name, or_null(TEXT)) for field in fields(File)})


def _timeline_item_schema() -> Schema:
    kinds = "callback, replay, move, deadline_armed, deadline_passed, anomaly_raised, anomaly_cleared, mark, merged"
    item = object_of(
        "Something that happened. What else it has depends on its kind.", at=TIME, kind=described(TEXT, f"For example {kinds}.")
    )
    return {**item, "additionalProperties": True}
