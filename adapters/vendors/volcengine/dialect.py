"""The dialect: this vendor's implementation of `Dialect`. The methods are functions of the modules beside this one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.vendors.catalogue import CatalogueDialect
from adapters.vendors.json_fields import Fields, NotAnObjectError, UnreadableError, json_object, plausible_time
from adapters.vendors.protocol import Reading
from adapters.vendors.reading_builders import FactFields, ignored, task_reading, unknown
from adapters.vendors.volcengine import answers, inspections, requests
from adapters.vendors.volcengine.api import API, IDLE
from adapters.vendors.volcengine.envelope import verify_callback
from adapters.vendors.volcengine.events import FAMILY_OF_KIND, NO_TASK, TASK_EVENTS, TaskEvent
from adapters.vendors.volcengine.rules import rules_of
from adapters.vendors.volcengine.shapes import rfc3339_ms
from adapters.vendors.volcengine.signing import sign_call
from statemachine.rules import Rules
from statemachine.states import Kind
from statemachine.tasks import TaskKey


class Volcengine(CatalogueDialect):
    """See Dialect."""

    name = "volcengine"

    verify = staticmethod(verify_callback)
    identity = staticmethod(requests.identity)
    start = staticmethod(requests.start)
    update = staticmethod(requests.update)
    stop = staticmethod(requests.stop)
    inspect = staticmethod(requests.inspect)
    sign = staticmethod(sign_call)
    read_answer = staticmethod(answers.read_answer)

    def __init__(self) -> None:
        super().__init__(API, IDLE)

    def read(self, app_id: str, body: bytes, *, received_at: int, source: str, dedupe_key: str) -> Reading:
        try:
            envelope = Fields(json_object(body), received_at)
            data = Fields(json_object(envelope.text("EventData") or ""), received_at)
        except NotAnObjectError:
            return unknown(received_at, "unreadable")
        at, event_type = _event_time(envelope, data), envelope.text("EventType") or ""
        aside = _reading_without_task(event_type, data, at)
        if aside is not None:
            return aside
        try:
            event = TASK_EVENTS[event_type]
            key, fields = self._task_key(app_id, event, data), _fact_fields(event, data)
            return task_reading(key, fields, at=at, received_at=received_at, source=source, dedupe_key=dedupe_key)
        except UnreadableError:
            return unknown(at, "unreadable")

    def _task_key(self, app_id: str, event: TaskEvent, data: Fields) -> TaskKey:
        room_id, task_id = data.text("RoomId") or "", data.text("TaskId") or ""
        if event.in_room and not room_id:
            raise UnreadableError("RoomId is missing; ids are unique only within a room")
        family = FAMILY_OF_KIND[event.kind]
        return TaskKey(vendor=self.name, app_id=app_id, room_id=room_id, vendor_task_id=task_id, family=family)

    def rules(self, kind: Kind, params: Mapping[str, Any], *, callable: bool = False, silence_s: float = 900) -> Rules:
        askable = callable and self.can_inspect(kind)
        return replace(rules_of(kind, params, askable), callable=callable, askable=askable, silence_s=silence_s)

    def family_of(self, kind: Kind) -> str | None:
        return FAMILY_OF_KIND.get(kind)

    def can_inspect(self, kind: Kind) -> bool:
        return kind in inspections.INSPECTABLE


def _event_time(envelope: Fields, data: Fields) -> int:
    """Returns EventData.Timestamp (ms), else EventTime (whole seconds); if missing or implausible, the time of receipt."""
    ms = data.integer("Timestamp")
    if not ms:  # zero means: not given
        ms = rfc3339_ms(envelope.text("EventTime") or "")
    at = plausible_time(ms, data.received_at)
    return data.received_at if at is None else at


def _reading_without_task(event_type: str, data: Fields, at: int) -> Reading | None:
    """Returns the reading of an event that names no task; None for all other events."""
    if event_type in NO_TASK:
        return ignored(at, NO_TASK[event_type])
    if event_type not in TASK_EVENTS:
        return unknown(at, "unknown_event_type")
    if data.text("TaskId") is None:
        return ignored(at, "no_task_id")
    return None


def _fact_fields(event: TaskEvent, data: Fields) -> FactFields:
    about: FactFields = {
        "room_id": data.text("RoomId"),
        "code": data.code("Code"),
        "message": data.message("ErrorMessage", "Msg"),
    }
    return {**about, **event.read_fields(data)}
