"""The shapes of answers and bodies, as JSON Schema (OpenAPI 3.1)."""

from collections.abc import Mapping
from dataclasses import fields

from adapters.settings import Role
from adapters.settings.loading import vendor_names
from adapters.vendors import DIALECTS
from callbacks.desk import subscription_schemas
from callbacks.desk.callbacks import FILTERS
from callbacks.desk.marks import STATES as MARKED
from callbacks.desk.shapes import (
    ANYTHING,
    COUNT,
    TEXT,
    TIME,
    Schema,
    body_of,
    list_of,
    object_of,
    or_null,
    page_of,
    ref,
    said,
    words,
)
from statemachine.facts import File
from statemachine.policy import MEMBERS, Member
from statemachine.states import FINAL, Anomaly, Deadline, FileState, Kind, Origin, OutputState, Reason, State, Verdict


def schemas() -> dict[str, Schema]:
    """All of them by name."""
    return {
        "Task": _task(),
        "StartTask": _start_task(),
        **_policy(),
        "UpdateTask": _update_task(),
        "TaskPage": page_of("Task"),
        "TimelineItem": _timeline_item(),
        "TimelinePage": page_of("TimelineItem"),
        "Callback": _callback(),
        "CallbackPage": page_of("Callback"),
        "Replay": _replay(),
        "Mark": _mark(),
        "Matched": object_of("How many callbacks a replay would concern.", matched=COUNT, dry_run={"const": True}),
        "Replayed": object_of("A replay that was asked for.", matched=COUNT, queued=COUNT),
        "Rejection": _rejection(),
        "RejectionPage": page_of("Rejection"),
        **subscription_schemas.schemas(),
        "CloudEvent": _cloud_event(),
        "EventPage": _event_page(),
        "Stats": _stats(),
        "Login": body_of("The code of a login link.", {"code": TEXT}, "code"),
        "LoggedIn": object_of("The token that a login code stood for.", token=TEXT, name=TEXT, role=words(Role)),
        "Status": _status(),
        "Taken": object_of("The callback is durable.", code={"const": 0}),
        "Problem": _problem(),
    }


def _start_task() -> Schema:
    actions = [action for dialect in DIALECTS.values() for action in dialect.start_actions]
    properties = {
        "vendor": words(vendor_names()),
        "action": said(words(actions), "The vendor's own name of its start call."),
        "version": said(TEXT, "Of the vendor's API; left out: the newest."),
        "params": {**ANYTHING, "description": "The parameters of that call, as the vendor's pages have them."},
        "policy": ref("Policy"),
    }
    return body_of("A start call that is to be made.", properties, "vendor", "action", "params")


def _update_task() -> Schema:
    params = {**ANYTHING, "description": "The parameters of the vendor's update call, without the ids."}
    return body_of("An update call that is to be made.", {"params": params}, "params")


def _policy() -> dict[str, Schema]:
    """One schema for the whole and one for each of its sections, from the table that they are checked with."""
    sections = {name: f"Policy{name.capitalize()}" for name in MEMBERS if name}
    top = {name: ref(shape) for name, shape in sections.items()} | _members(MEMBERS[""])
    meaning = "What is to be done by itself. What is left out is as usual; without a section it is not done at all, `start` apart."
    return {"Policy": body_of(meaning, top)} | {
        shape: body_of(f"`policy.{name}`.", _members(MEMBERS[name]), *(n for n, m in MEMBERS[name].items() if m.required))
        for name, shape in sections.items()
    }


def _members(members: Mapping[str, Member]) -> dict[str, Schema]:
    return {name: _member(member) for name, member in members.items()}


def _member(member: Member) -> Schema:
    meaning = f"{member.meaning} It must be {member.right}."
    if member.default is None:
        kind: Schema = ANYTHING if member.ok({}) else {"type": "array", "items": words(sorted(FINAL)), "minItems": 1}
        return said(kind, meaning)
    kinds = {bool: "boolean", int: "integer", str: "string"}
    return {"type": kinds[type(member.default)], "default": member.default, "description": meaning}


def _mark() -> Schema:
    properties = {
        "state": said(words(MARKED), "How it ended."),
        "clear": {"type": "array", "items": words(Anomaly), "description": "Anomalies that are dealt with."},
        "note": {"type": "string", "minLength": 1, "maxLength": 1_000, "description": "Why."},
    }
    return body_of("An operator's word; state or clear is needed.", properties, "note")


def _task() -> Schema:
    left_out = object_of("How many are left out.", outputs=COUNT, files=COUNT)
    meaning = "Only in lists, and only where a task has more than 200 outputs or files: how many of each are left out."
    more = "Only where more files were told than are here: a task keeps the first 5,000, an event carries the newest 500."
    shape = _whole_task()
    optional = {"left_out": said(left_out, meaning), "files_truncated": said({"type": "boolean"}, more)}
    return {**shape, "properties": {**shape["properties"], **optional}}


def _whole_task() -> Schema:
    return object_of(
        "One run of a stream task. Viewers see urls without stream keys.",
        id=TEXT,
        vendor=words(vendor_names()),
        kind=words(Kind),
        app_id=TEXT,
        room_id=or_null(TEXT),
        vendor_task_id=or_null(TEXT),
        run=said({"type": "integer", "minimum": 1}, "Counts the runs of the vendor's id."),
        origin=said(words(Origin), "`managed`: we started it; `observed`: its first news was a callback."),
        state=words(State),
        reason=or_null(words(Reason)),
        inferred=said({"type": "boolean"}, "No word of the vendor said so: a deadline or a conclusion did."),
        anomalies=list_of(words(Anomaly)),
        vendor_code=or_null(TEXT),
        vendor_message=or_null(TEXT),
        action=said(or_null(TEXT), "The vendor's action that started it."),
        params=said(ANYTHING, "The parameters of that action; secrets are hidden."),
        policy=said(ANYTHING, "As it was given; secrets are hidden."),
        attempts=COUNT,
        outputs=list_of(object_of("An output url.", url=or_null(TEXT), state=words(OutputState))),
        files=list_of(_file()),
        deadlines=list_of(object_of("What happens by itself, and when.", kind=words(Deadline), due_at=TIME)),
        created_at=TIME,
        accepted_at=or_null(TIME),
        running_at=or_null(TIME),
        ended_at=or_null(TIME),
        updated_at=TIME,
        version=said({"type": "integer", "minimum": 1}, "Grows with each visible change."),
        renews=said(or_null(TEXT), "The task that this one took over from before its life was over."),
        renewed_by=said(or_null(TEXT), "The task that took over from this one."),
        restarts=said(or_null(TEXT), "The task that this one started again."),
        restarted_by=said(or_null(TEXT), "The task that started this one again."),
    )


def _file() -> Schema:
    known = {
        "state": words(FileState),
        "started_at": or_null(TIME),
        "ended_at": or_null(TIME),
        "duration_ms": or_null(COUNT),
        "size_bytes": or_null(COUNT),
    }
    return object_of("A file.", **{field.name: known.get(field.name, or_null(TEXT)) for field in fields(File)})


def _timeline_item() -> Schema:
    kinds = "callback, replay, move, deadline_armed, deadline_passed, anomaly_raised, anomaly_cleared, mark, merged"
    item = object_of("Something that happened. What else it has depends on its kind.", at=TIME, kind=said(TEXT, f"As in {kinds}."))
    return {**item, "additionalProperties": True}


def _callback() -> Schema:
    return object_of(
        "A callback as it was sent, and what became of it.",
        id=TEXT,
        vendor=words(vendor_names()),
        app_id=TEXT,
        event_type=TEXT,
        received_at=TIME,
        event_at=said(or_null(TIME), "The vendor's own time, if it can be believed."),
        applied_at=said(or_null(TIME), "When it was decided; null while it waits."),
        verdict=or_null(words(Verdict)),
        reason=or_null(TEXT),
        error=said(or_null(TEXT), "Why it was set aside."),
        task_id=or_null(TEXT),
        masked=said({"type": "boolean"}, "Headers and body are hidden from this token."),
        size=said(COUNT, "Bytes of the body."),
        headers={"type": ["object", "null"], "additionalProperties": TEXT, "description": "Null in lists, and where `masked`."},
        body=said(or_null(TEXT), "The body, if it is UTF-8. Null in lists, and where `masked`: the callback's own path has it."),
        body_base64=said(or_null(TEXT), "The body, whatever it is. Null in lists, and where `masked`."),
    )


def _replay() -> Schema:
    filters = {param.name: said(or_null(param.schema), param.meaning) for param in FILTERS}
    return {
        "type": "object",
        "description": "What to replay; at least one filter or bound, inside `filter` or beside it. null means left out.",
        "properties": {
            "filter": {"type": ["object", "null"], "properties": filters, "additionalProperties": False},
            **filters,
            "dry_run": {"type": ["boolean", "null"], "default": False, "description": "Only say how many."},
        },
        "additionalProperties": False,
        "examples": [{"filter": {"verdict": "unknown"}, "received_after": "2026-11-21T13:00:00Z", "dry_run": True}],
    }


def _rejection() -> Schema:
    return object_of(
        "A callback that was refused.",
        at=TIME,
        vendor=said(words((*vendor_names(), "")), "Empty where the path is no vendor's."),
        app_id=or_null(TEXT),
        status=said(COUNT, "The status it was answered with."),
        reason=said(TEXT, "As in `bad_signature`."),
        detail=TEXT,
        remote=said(or_null(TEXT), "The sender's address."),
        size=said(COUNT, "Bytes of the body."),
    )


def _cloud_event() -> Schema:
    data = "`tally.task.*`: the task as it was then, with `previous_state` and `cause`; stream keys are for operators."
    return object_of(
        "What came to pass, as a CloudEvent 1.0 in JSON (structured mode).",
        specversion={"const": "1.0"},
        id=said(TEXT, "The same however often it is told: leave out what you had before."),
        source=said(TEXT, "The app at its vendor, as in `urn:tallylight:VENDOR:APP_ID`; `urn:tallylight` for all else."),
        type=said(TEXT, "As in `tally.task.running`: `tally.task.` and the state, `outputs`, `files`, `anomaly` or `updated`."),
        subject=said(TEXT, "The id of the task."),
        time=said(TIME, "When it came to pass."),
        sequence=said({"type": "integer", "minimum": 1}, "The task's version, a number: of one subject it only grows."),
        epoch=said(COUNT, "0; after the ledger was restored from a backup, the number from which versions go on."),
        datacontenttype={"const": "application/json"},
        data=said(ANYTHING, data),
    )


def _event_page() -> Schema:
    behind = "For `after`, to get the next page: the position of the last item; the same as before where there is none."
    return object_of("A page of events, oldest first.", items=list_of(ref("CloudEvent")), next_after=said(COUNT, behind))


def _part() -> Schema:
    return object_of(
        "A part of a process: a thread, or something that it needs.",
        part=TEXT,
        up=said({"type": "boolean"}, "Whether it works."),
        since=said(or_null(TIME), "Since when it does not."),
        detail=said(or_null(TEXT), "In what way it does not."),
    )


def _status() -> Schema:
    status = object_of("A word on how the service does.", status={"type": "string", "enum": ["ok", "ready", "degraded"]})
    parts = said(list_of(_fault()), "What does not work, although callbacks are taken; only of `degraded`.")
    return {**status, "properties": {**status["properties"], "parts": parts}}


def _fault() -> Schema:
    return object_of("A part that does not work.", part=TEXT, since=said(TIME, "Since when."), detail=said(TEXT, "In what way."))


def _stats() -> Schema:
    age = or_null({"type": "number", "minimum": 0})
    counts: Schema = {"type": "object", "additionalProperties": COUNT}
    return object_of(
        "The numbers. Ages are null where there is nothing to age.",
        tasks=list_of(object_of("So many tasks.", vendor=words(vendor_names()), kind=words(Kind), state=words(State), count=COUNT)),
        anomalies=said(counts, "Open marks by name."),
        callbacks=object_of(
            "Callbacks.",
            received=COUNT,
            rejected=COUNT,
            last_minute=COUNT,
            by_verdict=counts,
            unrecorded=said(
                COUNT, "That neither the ledger nor the spool took: answered 503, and lost unless the vendor sent them again."
            ),
            last_unrecorded_at=said(or_null(TIME), "When the last of these came."),
        ),
        unapplied_callbacks=said(COUNT, "Recorded and not decided yet."),
        oldest_unapplied_s=age,
        overdue_deadlines=COUNT,
        most_overdue_s=age,
        undelivered_events=COUNT,
        oldest_undelivered_s=age,
        spool_rows=said(COUNT, "Callbacks that wait on disk for the ledger to come back."),
        parts=said(list_of(_part()), "The parts of the process that answers, and which of them work."),
        clock=object_of(
            "The clock of the machine that answers.",
            steps=said(COUNT, "How often it was set, by 2 s or more, since the process began."),
            last_step=or_null(_clock_step()),
        ),
    )


def _clock_step() -> Schema:
    by_s = said({"type": "number"}, "By how many seconds; less than 0: it was set back.")
    return object_of("When the clock was last set, by the new time.", at=TIME, by_s=by_s)


def _problem() -> Schema:
    problem = object_of(
        "What went wrong (RFC 9457).",
        type=said(TEXT, "Stable, as in `urn:tallylight:problem:not_found`."),
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
    )
    errors = list_of(object_of("What is wrong with one field, and what would be right.", field=TEXT, message=TEXT))
    parts = said(list_of(_fault()), "What does not work; only of `not_ready`.")
    left_out = said(COUNT, "How many more there are, where they are too many to be told.")
    more = {"errors": errors, "errors_left_out": left_out, "parts": parts}
    return {**problem, "properties": {**problem["properties"], **more}}
