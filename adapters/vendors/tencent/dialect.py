"""The dialect: this vendor's implementation of `Dialect`. The methods are functions of the modules beside this one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapters.vendors.catalogue import CatalogueDialect
from adapters.vendors.json_fields import Fields, NotAnObjectError, UnreadableError, json_object, plausible_time
from adapters.vendors.protocol import Reading
from adapters.vendors.reading_builders import FactFields, ignored, task_reading, unknown
from adapters.vendors.tencent import answers, requests
from adapters.vendors.tencent.api import API, IDLE
from adapters.vendors.tencent.envelope import bare_task_id, verify_callback
from adapters.vendors.tencent.events import (
    FAMILIES,
    FAMILY_OF_KIND,
    INGEST,
    NO_TASK,
    PAGE,
    RECORDING,
    RELAY,
    TASK_EVENTS,
    TaskEvent,
)
from adapters.vendors.tencent.rules import rules_of
from adapters.vendors.tencent.signing import sign_call
from statemachine.rules import Rules
from statemachine.states import Kind
from statemachine.tasks import TaskKey

_AI = 9
# 310 to 312 come for pages too; these only for recordings.
_ONLY_OF_RECORDS = range(301, 310)


class Tencent(CatalogueDialect):
    """See Dialect."""

    name = "tencent"

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
            callback = _parse_callback(Fields(json_object(body), received_at))
        except NotAnObjectError:
            return unknown(received_at, "unreadable")
        at = _event_time(callback.info)
        aside = _reading_without_task(callback, at)
        if aside is not None:
            return aside
        try:
            key, fields = self._task_key(app_id, callback), _fact_fields(callback)
            return task_reading(key, fields, at=at, received_at=received_at, source=source, dedupe_key=dedupe_key)
        except UnreadableError:
            return unknown(at, "unreadable")

    def _task_key(self, app_id: str, callback: "_Callback") -> TaskKey:
        """Returns the task's key. The vendor creates the ids, so the room is not part of the key."""
        task_id, family = callback.task_id or "", FAMILIES[callback.event.group]
        if family == FAMILIES[RECORDING]:
            task_id = bare_task_id(task_id)
        return TaskKey(vendor=self.name, app_id=app_id, room_id="", vendor_task_id=task_id, family=family)

    def rules(self, kind: Kind, params: Mapping[str, Any], *, callable: bool = False, silence_s: float = 900) -> Rules:
        askable = callable and self.can_inspect(kind)
        return replace(rules_of(kind, params, askable), callable=callable, askable=askable, silence_s=silence_s)

    def family_of(self, kind: Kind) -> str | None:
        return FAMILY_OF_KIND.get(kind)

    def can_inspect(self, kind: Kind) -> bool:
        return kind in requests.QUERY


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callback:
    """The fields of a callback that are used more than once."""

    #: EventGroupId and EventType; 0 if missing.
    group: int
    type: int
    #: EventInfo; empty if it is not an object.
    info: Fields
    has_info: bool
    task_id: str | None

    @property
    def event(self) -> TaskEvent:
        return TASK_EVENTS[self.type]


def _parse_callback(fields: Fields) -> _Callback:
    group, event_type = fields.integer("EventGroupId") or 0, fields.integer("EventType") or 0
    info = fields.child("EventInfo")
    return _Callback(
        group=_event_group(group, event_type),
        type=event_type,
        info=info,
        has_info=isinstance(fields.raw.get("EventInfo"), dict),
        task_id=info.text("TaskId"),
    )


def _event_group(group: int, event_type: int) -> int:
    """Returns the group. The tables of groups 7 and 9 say "fixed as 4", copied from the relay's page: for 4 the type decides."""
    by_type = event_type // 100
    return by_type if group == RELAY and by_type in (INGEST, _AI) else group


def _event_time(info: Fields) -> int:
    """Returns the event's own ms, else its seconds; if missing or implausible, the time of receipt."""
    ms = info.integer("EventMsTs", "EventTsMs")
    if ms is None and (seconds := info.integer("EventTs")) is not None:
        ms = seconds * 1000
    at = plausible_time(ms, info.received_at)
    return info.received_at if at is None else at


def _reading_without_task(callback: _Callback, at: int) -> Reading | None:
    """Returns the reading of an event that names no task; None for all other events."""
    if callback.group in NO_TASK:
        return ignored(at, NO_TASK[callback.group])
    if callback.type not in TASK_EVENTS or callback.event.group != callback.group:
        return unknown(at, "unknown_event_type")
    if not callback.has_info:
        return unknown(at, "unreadable")
    if callback.task_id is None:
        return ignored(at, "no_task_id")
    return None


def _fact_fields(callback: _Callback) -> FactFields:
    info, event = callback.info, callback.event
    about: FactFields = {
        "room_id": info.text("RoomId"),
        "robot": info.text("UserId") if event.group in (RECORDING, RELAY) else None,
        "kind_hint": _kind_hint(callback),
    }
    return {**about, **event.read_fields(info)}


def _kind_hint(callback: _Callback) -> Kind | None:
    """Returns the kind if the callback tells it: recordings and pages share their events."""
    group, task_id = callback.event.group, callback.task_id or ""
    if group == PAGE or (group == RECORDING and bare_task_id(task_id) != task_id):
        return Kind.PAGE
    if group == RECORDING and (callback.type in _ONLY_OF_RECORDS or callback.info.text("RoomId") is not None):
        return Kind.RECORD
    return None
