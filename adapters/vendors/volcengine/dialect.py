"""The dialect: what the door and the workers ask of this vendor."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.vendors.answers import Reply
from adapters.vendors.calling import Calling
from adapters.vendors.calls import Account, Answer, Call, HttpRequest, Identity, TaskRef, WireError
from adapters.vendors.json_fields import Fields, NotAnObjectError, UnreadableError, json_object
from adapters.vendors.plausible_times import believed
from adapters.vendors.protocol import Envelope, Reading, SecretsOf
from adapters.vendors.reading_builders import Says, ignored, told, unknown
from adapters.vendors.volcengine import answers, inspections, requests
from adapters.vendors.volcengine.api import API, IDLE
from adapters.vendors.volcengine.envelope import verified
from adapters.vendors.volcengine.events import NO_TASK, TASK_EVENTS, TaskEvent
from adapters.vendors.volcengine.rules import rules_of
from adapters.vendors.volcengine.shapes import rfc3339_ms
from adapters.vendors.volcengine.signing import signed
from statemachine.facts import Rules, TaskKey
from statemachine.states import Kind


class Volcengine(Calling):
    name = "volcengine"

    def __init__(self) -> None:
        super().__init__(API, IDLE)

    def verify(self, headers: Mapping[str, str], body: bytes, secrets_of: SecretsOf) -> Envelope:
        """See Dialect. The headers say nothing here: signature and app stand in the body."""
        return verified(body, secrets_of)

    def read(self, app_id: str, body: bytes, *, received_at: int, source: str, dedupe_key: str) -> Reading:
        """See Dialect."""
        try:
            envelope = Fields(json_object(body), received_at)
            data = Fields(json_object(envelope.text("EventData") or ""), received_at)
        except NotAnObjectError:
            return unknown(received_at, "unreadable")
        at, event_type = _event_at(envelope, data), envelope.text("EventType") or ""
        aside = _set_aside(event_type, data, at)
        if aside is not None:
            return aside
        try:
            event = TASK_EVENTS[event_type]
            key, says = self._key(app_id, event, data), _says(event, data)
            return told(key, says, at=at, received_at=received_at, source=source, dedupe_key=dedupe_key)
        except UnreadableError:
            return unknown(at, "unreadable")

    def _key(self, app_id: str, event: TaskEvent, data: Fields) -> TaskKey:
        room_id, task_id = data.text("RoomId") or "", data.text("TaskId") or ""
        if event.in_room and not room_id:
            raise UnreadableError("RoomId is missing; ids are unique only within a room")
        family = self.family_of(event.kind)
        return TaskKey(vendor=self.name, app_id=app_id, room_id=room_id, vendor_task_id=task_id, family=family)

    def rules(self, kind: Kind, params: Mapping[str, Any], *, callable: bool = False, silence_s: float = 900) -> Rules:
        """See Dialect."""
        askable = callable and self.can_inspect(kind)
        return replace(rules_of(kind, params, askable), callable=callable, askable=askable, silence_s=silence_s)

    def family_of(self, kind: Kind) -> str:
        """See Dialect. The caller chooses ids, so tasks of two kinds may share one."""
        return kind.value

    def identity(self, action: str, params: Mapping[str, Any]) -> Identity:
        """See Dialect."""
        return requests.identity(action, params)

    def start(self, action: str, version: str | None, params: Mapping[str, Any], *, record_id: str | None = None) -> Call:
        """See Dialect."""
        return requests.start(action, version, params)

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
        return kind in inspections.ASKABLE

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


def _event_at(envelope: Fields, data: Fields) -> int:
    """EventData.Timestamp (ms) where it is there, else EventTime (whole seconds); else, or if not believed, of receipt."""
    ms = data.integer("Timestamp")
    if not ms:  # a zero stands for "not told"
        ms = rfc3339_ms(envelope.text("EventTime") or "")
    at = believed(ms, data.received_at)
    return data.received_at if at is None else at


def _set_aside(event_type: str, data: Fields, at: int) -> Reading | None:
    """The reading of an event that concerns no task that we could name; None for all others."""
    if event_type in NO_TASK:
        return ignored(at, NO_TASK[event_type])
    if event_type not in TASK_EVENTS:
        return unknown(at, "unknown_event_type")
    if data.text("TaskId") is None:
        return ignored(at, "no_task_id")
    return None


def _says(event: TaskEvent, data: Fields) -> Says:
    about: Says = {
        "room_id": data.text("RoomId"),
        "code": data.code("Code"),
        "message": data.message("ErrorMessage", "Msg"),
    }
    return {**about, **event.says(data)}
