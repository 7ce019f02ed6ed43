"""Defines the shapes of numbers, health and login, as JSON Schema."""

from adapters.settings import Role
from adapters.vendors.registry import vendor_names
from callbacks.desk.http.body_fields import schema_of
from callbacks.desk.http.json_schema import (
    COUNT,
    TEXT,
    TIME,
    Schema,
    described,
    enum_of,
    list_of,
    object_of,
    or_null,
)
from callbacks.desk.service import login
from statemachine.states import Kind, State


def schemas() -> dict[str, Schema]:
    """Returns the schemas by name."""
    return {
        "Stats": _stats_schema(),
        "Login": schema_of("The code of a login link.", login.FIELDS),
        "LoggedIn": object_of("The token that a login code stood for.", token=TEXT, name=TEXT, role=enum_of(Role)),
        "Status": _status_schema(),
    }


def _part_schema() -> Schema:
    return object_of(
        "A part of a process: a thread, or something that it needs.",
        part=TEXT,
        up=described({"type": "boolean"}, "Whether it works."),
        since=described(or_null(TIME), "Since when it does not work."),
        detail=described(or_null(TEXT), "What is wrong with it."),
    )


def _status_schema() -> Schema:
    status = object_of("The state of the service.", status={"type": "string", "enum": ["ok", "ready", "degraded"]})
    parts = described(list_of(fault_schema()), "What does not work, although callbacks are accepted; only with `degraded`.")
    return {**status, "properties": {**status["properties"], "parts": parts}}


def fault_schema() -> Schema:
    return object_of(
        "A part that does not work.", part=TEXT, since=described(TIME, "Since when."), detail=described(TEXT, "What is wrong.")
    )


def _stats_schema() -> Schema:
    age = or_null({"type": "number", "minimum": 0})
    counts: Schema = {"type": "object", "additionalProperties": COUNT}
    return object_of(
        "The numbers. An age is null if there is nothing of that kind.",
        tasks=list_of(
            object_of("A number of tasks.", vendor=enum_of(vendor_names()), kind=enum_of(Kind), state=enum_of(State), count=COUNT)
        ),
        anomalies=described(counts, "Open marks by name."),
        callbacks=object_of(
            "Callbacks.",
            received=COUNT,
            rejected=COUNT,
            last_minute=COUNT,
            by_verdict=counts,
            unrecorded=described(
                COUNT, "Callbacks that could not be stored: answered 503, and lost unless the vendor sent them again."
            ),
            last_unrecorded_at=described(or_null(TIME), "When the last of these came."),
        ),
        unapplied_callbacks=described(COUNT, "Recorded and not applied yet."),
        oldest_unapplied_s=age,
        overdue_deadlines=COUNT,
        most_overdue_s=age,
        undelivered_events=COUNT,
        oldest_undelivered_s=age,
        spool_rows=described(COUNT, "Callbacks in the spool, until the ledger can be reached."),
        parts=described(list_of(_part_schema()), "The parts of the process that answers, and which of them work."),
        clock=object_of(
            "The clock of the machine that answers.",
            steps=described(COUNT, "How often it was set, by 2 s or more, since the process started."),
            last_step=or_null(_clock_step_schema()),
        ),
    )


def _clock_step_schema() -> Schema:
    by_s = described({"type": "number"}, "By how many seconds; negative if it was set back.")
    return object_of("The last step of the clock, in the new time.", at=TIME, by_s=by_s)
