"""The shapes of answers and bodies, as JSON Schema (OpenAPI 3.1)."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from adapters.settings.loading import vendor_names
from adapters.vendors import DIALECTS
from callbacks.desk.callbacks import FILTERS
from callbacks.desk.marks import STATES as MARKED
from statemachine.facts import File
from statemachine.policy import MEMBERS, Member
from statemachine.states import FINAL, Anomaly, Deadline, FileState, Kind, Origin, OutputState, Reason, State, Verdict

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
_ANYTHING: Schema = {"type": "object", "additionalProperties": True}


def schemas() -> dict[str, Schema]:
    """All of them by name."""
    return {
        "Task": _task(),
        "StartTask": _start_task(),
        **_policy(),
        "UpdateTask": _update_task(),
        "TaskPage": _page("Task"),
        "TimelineItem": _timeline_item(),
        "TimelinePage": _page("TimelineItem"),
        "Callback": _callback(),
        "CallbackPage": _page("Callback"),
        "Replay": _replay(),
        "Mark": _mark(),
        "Matched": _object("How many callbacks a replay would concern.", matched=COUNT, dry_run={"const": True}),
        "Replayed": _object("A replay that was asked for.", matched=COUNT, queued=COUNT),
        "Rejection": _rejection(),
        "RejectionPage": _page("Rejection"),
        "Stats": _stats(),
        "Status": _object("A word on how the service does.", status={"type": "string", "enum": ["ok", "ready"]}),
        "Taken": _object("The callback is durable.", code={"const": 0}),
        "Problem": _problem(),
    }


def _start_task() -> Schema:
    actions = [action for dialect in DIALECTS.values() for action in dialect.start_actions]
    properties = {
        "vendor": _words(vendor_names()),
        "action": _said(_words(actions), "The vendor's own name of its start call."),
        "version": _said(TEXT, "Of the vendor's API; left out: the newest."),
        "params": {**_ANYTHING, "description": "The parameters of that call, as the vendor's pages have them."},
        "policy": ref("Policy"),
    }
    return _body("A start call that is to be made.", properties, "vendor", "action", "params")


def _update_task() -> Schema:
    params = {**_ANYTHING, "description": "The parameters of the vendor's update call, without the ids."}
    return _body("An update call that is to be made.", {"params": params}, "params")


def _policy() -> dict[str, Schema]:
    """One schema for the whole and one for each of its sections, from the table that they are checked with."""
    sections = {name: f"Policy{name.capitalize()}" for name in MEMBERS if name}
    top = {name: ref(shape) for name, shape in sections.items()} | _members(MEMBERS[""])
    meaning = "What is to be done by itself. What is left out is as usual; without a section it is not done at all, `start` apart."
    return {"Policy": _body(meaning, top)} | {
        shape: _body(f"`policy.{name}`.", _members(MEMBERS[name]), *(n for n, m in MEMBERS[name].items() if m.required))
        for name, shape in sections.items()
    }


def _members(members: Mapping[str, Member]) -> dict[str, Schema]:
    return {name: _member(member) for name, member in members.items()}


def _member(member: Member) -> Schema:
    meaning = f"{member.meaning} It must be {member.right}."
    if member.default is None:
        kind: Schema = _ANYTHING if member.ok({}) else {"type": "array", "items": _words(sorted(FINAL)), "minItems": 1}
        return _said(kind, meaning)
    kinds = {bool: "boolean", int: "integer", str: "string"}
    return {"type": kinds[type(member.default)], "default": member.default, "description": meaning}


def _body(meaning: str, properties: Mapping[str, Schema], *required: str) -> Schema:
    """What nothing may be added to."""
    shape = {"type": "object", "description": meaning, "properties": dict(properties), "required": list(required)}
    return {**shape, "additionalProperties": False}


def _mark() -> Schema:
    properties = {
        "state": _said(_words(MARKED), "How it ended."),
        "clear": {"type": "array", "items": _words(Anomaly), "description": "Anomalies that are dealt with."},
        "note": {"type": "string", "minLength": 1, "maxLength": 1_000, "description": "Why."},
    }
    return _body("An operator's word; state or clear is needed.", properties, "note")


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(meaning: str, /, **properties: Schema) -> Schema:
    return {"type": "object", "description": meaning, "properties": properties, "required": list(properties)}


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "type": [schema["type"], "null"], "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def _said(schema: Schema, meaning: str) -> Schema:
    return {**schema, "description": meaning}


def _words(words: Any) -> Schema:
    return {"type": "string", "enum": [str(word) for word in words]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _page(name: str) -> Schema:
    return _object(
        f"A page of a list of {name}.",
        items=_list(ref(name)),
        next_cursor=_said(_or_null(TEXT), "For `cursor`, to get the next page; null on the last one."),
    )


def _task() -> Schema:
    return _object(
        "One run of a stream task. Viewers see urls without stream keys.",
        id=TEXT,
        vendor=_words(vendor_names()),
        kind=_words(Kind),
        app_id=TEXT,
        room_id=_or_null(TEXT),
        vendor_task_id=_or_null(TEXT),
        run=_said({"type": "integer", "minimum": 1}, "Counts the runs of the vendor's id."),
        origin=_said(_words(Origin), "`managed`: we started it; `observed`: its first news was a callback."),
        state=_words(State),
        reason=_or_null(_words(Reason)),
        inferred=_said({"type": "boolean"}, "No word of the vendor said so: a deadline or a conclusion did."),
        anomalies=_list(_words(Anomaly)),
        vendor_code=_or_null(TEXT),
        vendor_message=_or_null(TEXT),
        action=_said(_or_null(TEXT), "The vendor's action that started it."),
        params=_said(_ANYTHING, "The parameters of that action; secrets are hidden."),
        policy=_said(_ANYTHING, "As it was given; secrets are hidden."),
        attempts=COUNT,
        outputs=_list(_object("An output url.", url=_or_null(TEXT), state=_words(OutputState))),
        files=_list(_file()),
        deadlines=_list(_object("What happens by itself, and when.", kind=_words(Deadline), due_at=TIME)),
        created_at=TIME,
        accepted_at=_or_null(TIME),
        running_at=_or_null(TIME),
        ended_at=_or_null(TIME),
        updated_at=TIME,
        version=_said({"type": "integer", "minimum": 1}, "Grows with each visible change."),
        renews=_said(_or_null(TEXT), "The task that this one took over from before its life was over."),
        renewed_by=_said(_or_null(TEXT), "The task that took over from this one."),
        restarts=_said(_or_null(TEXT), "The task that this one started again."),
        restarted_by=_said(_or_null(TEXT), "The task that started this one again."),
    )


def _file() -> Schema:
    known = {
        "state": _words(FileState),
        "started_at": _or_null(TIME),
        "ended_at": _or_null(TIME),
        "duration_ms": _or_null(COUNT),
        "size_bytes": _or_null(COUNT),
    }
    return _object("A file.", **{field.name: known.get(field.name, _or_null(TEXT)) for field in fields(File)})


def _timeline_item() -> Schema:
    said = "callback, replay, move, deadline_armed, deadline_passed, anomaly_raised, anomaly_cleared, mark, merged"
    item = _object("Something that happened. What else it has depends on its kind.", at=TIME, kind=_said(TEXT, f"As in {said}."))
    return {**item, "additionalProperties": True}


def _callback() -> Schema:
    return _object(
        "A callback as it was sent, and what became of it.",
        id=TEXT,
        vendor=_words(vendor_names()),
        app_id=TEXT,
        event_type=TEXT,
        received_at=TIME,
        event_at=_said(_or_null(TIME), "The vendor's own time, if it can be believed."),
        applied_at=_said(_or_null(TIME), "When it was decided; null while it waits."),
        verdict=_or_null(_words(Verdict)),
        reason=_or_null(TEXT),
        error=_said(_or_null(TEXT), "Why it was set aside."),
        task_id=_or_null(TEXT),
        masked=_said({"type": "boolean"}, "Headers and body are hidden from this token."),
        headers={"type": ["object", "null"], "additionalProperties": TEXT},
        body=_said(_or_null(TEXT), "The body, if it is UTF-8."),
        body_base64=_or_null(TEXT),
    )


def _replay() -> Schema:
    filters = {param.name: _said(param.schema, param.meaning) for param in FILTERS}
    return {
        "type": "object",
        "description": "What to replay; at least one filter or bound, inside `filter` or beside it.",
        "properties": {
            "filter": {"type": "object", "properties": filters, "additionalProperties": False},
            **filters,
            "dry_run": {"type": "boolean", "default": False, "description": "Only say how many."},
        },
        "additionalProperties": False,
        "examples": [{"filter": {"verdict": "unknown"}, "received_after": "2026-11-21T13:00:00Z", "dry_run": True}],
    }


def _rejection() -> Schema:
    return _object(
        "A callback that was refused.",
        at=TIME,
        vendor=_words(vendor_names()),
        app_id=_or_null(TEXT),
        status=_said(COUNT, "The status it was answered with."),
        reason=_said(TEXT, "As in `bad_signature`."),
        detail=TEXT,
        remote=_said(_or_null(TEXT), "The sender's address."),
        size=_said(COUNT, "Bytes of the body."),
    )


def _stats() -> Schema:
    age = _or_null({"type": "number", "minimum": 0})
    counts: Schema = {"type": "object", "additionalProperties": COUNT}
    return _object(
        "The numbers. Ages are null where there is nothing to age.",
        tasks=_list(_object("So many tasks.", vendor=_words(vendor_names()), kind=_words(Kind), state=_words(State), count=COUNT)),
        anomalies=_said(counts, "Open marks by name."),
        callbacks=_object("Callbacks.", received=COUNT, rejected=COUNT, last_minute=COUNT, by_verdict=counts),
        unapplied_callbacks=_said(COUNT, "Recorded and not decided yet."),
        oldest_unapplied_s=age,
        overdue_deadlines=COUNT,
        most_overdue_s=age,
        undelivered_events=COUNT,
        oldest_undelivered_s=age,
        spool_rows=_said(COUNT, "Callbacks that wait on disk for the ledger to come back."),
    )


def _problem() -> Schema:
    problem = _object(
        "What went wrong (RFC 9457).",
        type=_said(TEXT, "Stable, as in `urn:tallylight:problem:not_found`."),
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
    )
    errors = _list(_object("What is wrong with one field, and what would be right.", field=TEXT, message=TEXT))
    return {**problem, "properties": {**problem["properties"], "errors": errors}}
