"""The dialect: what the door and the workers ask of this vendor."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapters.vendors.catalogue import Calling
from adapters.vendors.json_fields import Fields, NotAnObjectError, UnreadableError, believed, json_object
from adapters.vendors.protocol import Reading
from adapters.vendors.reading_builders import Says, ignored, told, unknown
from adapters.vendors.tencent import answers, requests
from adapters.vendors.tencent.api import API, IDLE
from adapters.vendors.tencent.envelope import bare_task_id, verified
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
from adapters.vendors.tencent.signing import signed
from statemachine.rules import Rules
from statemachine.states import Kind
from statemachine.tasks import TaskKey

_AI = 9
# 310 to 312 come for pages too.
_ONLY_OF_RECORDS = range(301, 310)


class Tencent(Calling):
    name = "tencent"

    verify = staticmethod(verified)
    identity = staticmethod(requests.identity)
    start = staticmethod(requests.start)
    update = staticmethod(requests.update)
    stop = staticmethod(requests.stop)
    inspect = staticmethod(requests.inspect)
    sign = staticmethod(signed)
    read_answer = staticmethod(answers.read_answer)

    def __init__(self) -> None:
        super().__init__(API, IDLE)

    def read(self, app_id: str, body: bytes, *, received_at: int, source: str, dedupe_key: str) -> Reading:
        """See Dialect."""
        try:
            callback = _callback(Fields(json_object(body), received_at))
        except NotAnObjectError:
            return unknown(received_at, "unreadable")
        at = _event_at(callback.info)
        aside = _set_aside(callback, at)
        if aside is not None:
            return aside
        try:
            key, says = self._key(app_id, callback), _says(callback)
            return told(key, says, at=at, received_at=received_at, source=source, dedupe_key=dedupe_key)
        except UnreadableError:
            return unknown(at, "unreadable")

    def _key(self, app_id: str, callback: "_Callback") -> TaskKey:
        """The vendor mints ids, so they need no room beside them."""
        task_id, family = callback.task_id or "", FAMILIES[callback.event.group]
        if family == FAMILIES[RECORDING]:
            task_id = bare_task_id(task_id)
        return TaskKey(vendor=self.name, app_id=app_id, room_id="", vendor_task_id=task_id, family=family)

    def rules(self, kind: Kind, params: Mapping[str, Any], *, callable: bool = False, silence_s: float = 900) -> Rules:
        """See Dialect."""
        askable = callable and self.can_inspect(kind)
        return replace(rules_of(kind, params, askable), callable=callable, askable=askable, silence_s=silence_s)

    def family_of(self, kind: Kind) -> str | None:
        """See Dialect."""
        return FAMILY_OF_KIND.get(kind)

    def can_inspect(self, kind: Kind) -> bool:
        """See Dialect."""
        return kind in requests.QUERY


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callback:
    """What is asked more than once of one callback."""

    #: EventGroupId and EventType, 0 where there is none.
    group: int
    type: int
    #: EventInfo; without fields where it is no object.
    info: Fields
    has_info: bool
    task_id: str | None

    @property
    def event(self) -> TaskEvent:
        return TASK_EVENTS[self.type]


def _callback(fields: Fields) -> _Callback:
    group, event_type = fields.integer("EventGroupId") or 0, fields.integer("EventType") or 0
    info = fields.child("EventInfo")
    return _Callback(
        group=_group(group, event_type),
        type=event_type,
        info=info,
        has_info=isinstance(fields.raw.get("EventInfo"), dict),
        task_id=info.text("TaskId"),
    )


def _group(told: int, event_type: int) -> int:
    """The tables of groups 7 and 9 say "fixed as 4", copied from the relay's page: of a 4 the type decides."""
    meant = event_type // 100
    return meant if told == RELAY and meant in (INGEST, _AI) else told


def _event_at(info: Fields) -> int:
    """The event's own ms, else its seconds; else, or if not believed, the time of receipt."""
    ms = info.integer("EventMsTs", "EventTsMs")
    if ms is None and (seconds := info.integer("EventTs")) is not None:
        ms = seconds * 1000
    at = believed(ms, info.received_at)
    return info.received_at if at is None else at


def _set_aside(callback: _Callback, at: int) -> Reading | None:
    """The reading of an event that concerns no task that we could name; None for all others."""
    if callback.group in NO_TASK:
        return ignored(at, NO_TASK[callback.group])
    if callback.type not in TASK_EVENTS or callback.event.group != callback.group:
        return unknown(at, "unknown_event_type")
    if not callback.has_info:
        return unknown(at, "unreadable")
    if callback.task_id is None:
        return ignored(at, "no_task_id")
    return None


def _says(callback: _Callback) -> Says:
    info, event = callback.info, callback.event
    about: Says = {
        "room_id": info.text("RoomId"),
        "robot": info.text("UserId") if event.group in (RECORDING, RELAY) else None,
        "kind_hint": _kind_hint(callback),
    }
    return {**about, **event.says(info)}


def _kind_hint(callback: _Callback) -> Kind | None:
    """Recordings and pages share their events: what tells which of them this is."""
    group, task_id = callback.event.group, callback.task_id or ""
    if group == PAGE or (group == RECORDING and bare_task_id(task_id) != task_id):
        return Kind.PAGE
    if group == RECORDING and (callback.type in _ONLY_OF_RECORDS or callback.info.text("RoomId") is not None):
        return Kind.RECORD
    return None
