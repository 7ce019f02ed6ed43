"""Defines the shapes of events, as JSON Schema."""

from callbacks.desk.http.json_schema import (
    ANYTHING,
    COUNT,
    TEXT,
    TIME,
    Schema,
    described,
    list_of,
    object_of,
    ref,
)


def schemas() -> dict[str, Schema]:
    """Returns the schemas by name."""
    return {
        "CloudEvent": _cloud_event_schema(),
        "EventPage": _event_page_schema(),
    }


def _cloud_event_schema() -> Schema:
    data = "`tally.task.*`: the task as it was then, with `previous_state` and `cause`; stream keys only for operators."
    return object_of(
        "An event, as a CloudEvent 1.0 in JSON (structured mode).",
        specversion={"const": "1.0"},
        id=described(TEXT, "The same for every delivery of the event: drop ids that you have seen."),
        source=described(TEXT, "The app at its vendor, such as `urn:tallylight:VENDOR:APP_ID`; else `urn:tallylight`."),
        type=described(
            TEXT, "For example `tally.task.running`: `tally.task.` and the state, `outputs`, `files`, `anomaly` or `updated`."
        ),
        subject=described(TEXT, "The id of the task."),
        time=described(TIME, "When it happened."),
        sequence=described({"type": "integer", "minimum": 1}, "The task's version, a number: for one subject it only grows."),
        epoch=described(COUNT, "0; after the ledger was restored from a backup, the number from which versions continue."),
        datacontenttype={"const": "application/json"},
        data=described(ANYTHING, data),
    )


def _event_page_schema() -> Schema:
    behind = "For `after`, to get the next page: the position of the last item; unchanged if there is none."
    return object_of("A page of events, oldest first.", items=list_of(ref("CloudEvent")), next_after=described(COUNT, behind))
