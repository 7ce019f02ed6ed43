"""The dialect: what the door and the workers ask of this vendor."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.vendors.answers import Reply
from adapters.vendors.calling import Calling
from adapters.vendors.calls import Account, Answer, Call, HttpRequest, Identity, TaskRef, WireError
from adapters.vendors.protocol import Envelope, Reading, SecretsOf
from adapters.vendors.readings import Says, ignored, told, unknown
from adapters.vendors.tencent import answers, requests
from adapters.vendors.tencent.api import API, IDLE
from adapters.vendors.tencent.envelope import bare_task_id, verified
from adapters.vendors.tencent.events import (
    FAMILIES,
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
from adapters.vendors.times import believed
from adapters.vendors.wire import Fields, NotAnObjectError, UnreadableError, json_object
from statemachine.facts import Rules, TaskKey
from statemachine.states import Kind

_AI = 9
# 310 to 312 come for pages too.
_ONLY_OF_RECORDS = range(301, 310)
_GROUP_OF = {Kind.PUSH: RELAY, Kind.INGEST: INGEST, Kind.RECORD: RECORDING, Kind.PAGE: PAGE}


class Tencent(Calling):
    name = "tencent"

    def __init__(self) -> None:
        super().__init__(API, IDLE)

    def verify(self, headers: Mapping[str, str], body: bytes, secrets_of: SecretsOf) -> Envelope:
        """See Dialect."""
        return verified(headers, body, secrets_of)

    def read(self, app_id: str, body: bytes, *, received_at: int, source: str, dedupe_key: str) -> Reading:
        """See Dialect."""
        try:
            callback = Fields(json_object(body), received_at)
        except NotAnObjectError:
            return unknown(received_at, "unreadable")
        at = _event_at(callback.child("EventInfo"))
        aside = _set_aside(callback, at)
        if aside is not None:
            return aside
        try:
            key, says = self._key(app_id, callback), _says(callback)
            return told(key, says, at=at, received_at=received_at, source=source, dedupe_key=dedupe_key)
        except UnreadableError:
            return unknown(at, "unreadable")

    def _key(self, app_id: str, callback: Fields) -> TaskKey:
        """The vendor mints ids, so they need no room beside them."""
        task_id = callback.child("EventInfo").text("TaskId") or ""
        family = FAMILIES[_event(callback).group]
        if family == FAMILIES[RECORDING]:
            task_id = bare_task_id(task_id)
        return TaskKey(vendor=self.name, app_id=app_id, room_id="", vendor_task_id=task_id, family=family)

    def rules(self, kind: Kind, params: Mapping[str, Any], *, callable: bool = False, silence_s: float = 900) -> Rules:
        """See Dialect."""
        askable = callable and self.can_inspect(kind)
        return replace(rules_of(kind, params, askable), callable=callable, askable=askable, silence_s=silence_s)

    def family_of(self, kind: Kind) -> str:
        """See Dialect."""
        return FAMILIES[_GROUP_OF[kind]]

    def identity(self, action: str, params: Mapping[str, Any]) -> Identity:
        """See Dialect."""
        return requests.identity(action, params)

    def start(self, action: str, version: str | None, params: Mapping[str, Any], *, record_id: str | None = None) -> Call:
        """See Dialect."""
        return requests.start(action, version, params, record_id)

    def update(self, task: TaskRef, params: Mapping[str, Any]) -> Call | None:
        """See Dialect."""
        return requests.update(task, params)

    def stop(self, task: TaskRef) -> Call | None:
        """See Dialect."""
        return requests.stop(task)

    def inspect(self, task: TaskRef) -> list[Call]:
        """See Dialect."""
        return requests.inspect(task)

    def can_inspect(self, kind: Kind) -> bool:
        """See Dialect."""
        return kind in requests.QUERY

    def sign(self, call: Call, account: Account, now_ms: int) -> HttpRequest:
        """See Dialect."""
        return signed(call, account, now_ms)

    def read_answer(
        self,
        call: Call,
        status: int | None,
        headers: Mapping[str, str],
        body: bytes | None,
        error: WireError | None = None,
        *,
        received_at: int,
    ) -> Answer:
        """See Dialect."""
        reply = Reply(operation=call.operation, status=status, headers=headers, body=body, error=error)
        return answers.read(call, reply, received_at)


def _group(callback: Fields) -> int:
    """EventGroupId, 0 where there is none.

    The tables of groups 7 and 9 say "fixed as 4", copied from the relay's page: of a 4 the type decides.
    """
    group, event_type = callback.integer("EventGroupId") or 0, callback.integer("EventType") or 0
    meant = event_type // 100
    return meant if group == RELAY and meant in (INGEST, _AI) else group


def _event_at(info: Fields) -> int:
    """The event's own ms, else its seconds; else, or if not believed, the time of receipt."""
    ms = info.integer("EventMsTs", "EventTsMs")
    if ms is None and (seconds := info.integer("EventTs")) is not None:
        ms = seconds * 1000
    at = believed(ms, info.received_at)
    return info.received_at if at is None else at


def _set_aside(callback: Fields, at: int) -> Reading | None:
    """The reading of an event that concerns no task that we could name; None for all others."""
    group, event_type = _group(callback), callback.integer("EventType") or 0
    if group in NO_TASK:
        return ignored(at, NO_TASK[group])
    if event_type not in TASK_EVENTS or TASK_EVENTS[event_type].group != group:
        return unknown(at, "unknown_event_type")
    if not isinstance(callback.raw.get("EventInfo"), dict):
        return unknown(at, "unreadable")
    if callback.child("EventInfo").text("TaskId") is None:
        return ignored(at, "no_task_id")
    return None


def _event(callback: Fields) -> TaskEvent:
    return TASK_EVENTS[callback.needed("EventType")]


def _says(callback: Fields) -> Says:
    info, event = callback.child("EventInfo"), _event(callback)
    about: Says = {
        "room_id": info.text("RoomId"),
        "robot": info.text("UserId") if event.group in (RECORDING, RELAY) else None,
        "kind_hint": _kind_hint(callback.needed("EventType"), event.group, info),
    }
    return {**about, **event.says(info)}


def _kind_hint(event_type: int, group: int, info: Fields) -> Kind | None:
    """Recordings and pages share their events: what tells which of them this is."""
    task_id = info.text("TaskId") or ""
    if group == PAGE or (group == RECORDING and bare_task_id(task_id) != task_id):
        return Kind.PAGE
    if group == RECORDING and (event_type in _ONLY_OF_RECORDS or info.text("RoomId") is not None):
        return Kind.RECORD
    return None
