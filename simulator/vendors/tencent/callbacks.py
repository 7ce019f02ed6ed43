"""The events of tasks, in the shapes of documents 54913, 54914 and 62717, with their inconsistencies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.plan import Cause
from simulator.protocol import WorldContext
from simulator.tasks import Moment, VendorTask
from simulator.vendors.tencent.endings import LEAVE_CODES, is_in_media_library
from simulator.vendors.tencent.files import mp4_payload, playlist, slice_payload, vod_payload
from statemachine.states import Kind

Data = dict[str, Any]
RELAY, RECORDING, INGEST, PAGE = 4, 3, 7, 8
_STRING_ROOM = 1


@dataclass(frozen=True, slots=True)
class Event:
    """An event before it becomes a callback."""

    group: int
    type: int
    #: EventInfo.
    info: Data
    #: ms after the moment.
    after: int = 0


class CallbackWriter:
    """Writes the events of a task's moments."""

    def __init__(self, context: WorldContext) -> None:
        self._outside_ms = context.outside_ms
        self._events_of_kind: Mapping[Kind, Callable[[VendorTask, Moment, int], list[Event]]] = {
            Kind.PUSH: self._relay_events,
            Kind.RECORD: self._record_events,
            Kind.INGEST: self._ingest_events,
            Kind.PAGE: self._page_events,
        }

    def events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        """Returns the events of a moment; often none."""
        return self._events_of_kind[task.order.kind](task, moment, at)

    # Relays: events per url, and no event of the task itself.

    def _relay_events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        if moment in (Moment.CREATED, Moment.UPDATED):
            payloads = _outputs_changed(task)
        else:
            payloads = [(url, payload) for url in task.outputs for payload in _relay_payloads(task, moment, at)]
        return [
            Event(RELAY, 401, self._relay_info(task, at + after, {"Url": url} | payload), after)
            for url, (after, payload) in payloads
        ]

    def _relay_info(self, task: VendorTask, at: int, payload: Data) -> Data:
        """Returns EventInfo. The page's table says EventMsTs, its example EventTsMs; a numeric room comes as number or text."""
        kind = task.params["RoomIdType"]
        room: str | int = task.order.room_id
        if kind != _STRING_ROOM and task.random.happens(0.5):
            room = int(room)
        when = "EventTsMs" if task.random.happens(0.3) else "EventMsTs"
        about: Data = {"RoomId": room, "RoomType": kind, when: self._outside_ms(at), "UserId": task.order.robot}
        return about | {"TaskId": task.order.vendor_task_id, "Payload": payload}

    # Ingests: Status is in EventInfo, without room and user.

    def _ingest_events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        attempts = _ingest_attempts(task, moment)
        return [Event(INGEST, kind, self._ingest_info(task, at + after, status), after) for after, kind, status in attempts]

    def _ingest_info(self, task: VendorTask, at: int, status: int) -> Data:
        return {"EventMsTs": self._outside_ms(at), "TaskId": task.order.vendor_task_id, "Status": status}

    # Recordings.

    def _record_events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        return [
            Event(RECORDING, kind, self._record_info(task, at + after, payload), after)
            for after, kind, payload in self._record_payloads(task, moment, at)
        ]

    def _record_payloads(self, task: VendorTask, moment: Moment, at: int) -> list[tuple[int, int, Data]]:
        match moment:
            case Moment.CREATED:
                return [(0, 301, {"Status": 0}), *([] if is_in_media_library(task) else [(40, 303, {"Status": 0})])]
            case Moment.MEDIA if task.media_at == at and not is_in_media_library(task):
                return [(900, 304, playlist(task)), (950, 307, slice_payload(task, self._outside_ms))]
            case Moment.INTERRUPTED if task.random.happens(0.3):
                return [(0, 306, {"Status": 0})]
            case Moment.ENDED if task.cause is Cause.REFUSED:
                return [(0, 301, {"Status": 1})]
            case Moment.ENDED if task.cause is not None:
                return [(0, 302, {"LeaveCode": LEAVE_CODES[task.cause]})]
            case Moment.LATE:
                return self._delivery_payloads(task, stuck=True)
            case Moment.DELIVERED:
                return self._delivery_payloads(task, stuck=False)
        return []

    def _delivery_payloads(self, task: VendorTask, *, stuck: bool) -> list[tuple[int, int, Data]]:
        if is_in_media_library(task):
            last = [] if stuck else [(200, 312, {"Status": 0})]
            return [*((n, 311, vod_payload(task, n, self._outside_ms, stuck=stuck)) for n in range(len(task.files))), *last]
        status = 1 if stuck else 2 if task.has_late_files else 0
        # The newest table names the field LeaveCode, all other pages Status.
        uploaded = (0, 305, {"LeaveCode" if task.random.happens(0.2) else "Status": status})
        if task.order.kind is Kind.RECORD and not _has_mp4(task):
            return [uploaded]
        mp4 = [(2600, 310, mp4_payload(task, self._outside_ms, stuck=stuck))] if task.files else []
        return [uploaded, *mp4] if task.order.kind is Kind.RECORD else mp4

    def _record_info(self, task: VendorTask, at: int, payload: Data) -> Data:
        """Returns EventInfo. EventTs is a number on some pages and text on others."""
        seconds: int | str = self._outside_ms(at) // 1000
        seconds = str(seconds) if task.random.happens(0.4) else seconds
        about: Data = {
            "RoomId": task.order.room_id,
            "EventTs": seconds,
            "EventMsTs": self._outside_ms(at),
            "UserId": task.order.robot,
        }
        return about | {"TaskId": task.order.vendor_task_id, "Payload": payload}

    # Pages: their files come as recording events.

    def _page_events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        if moment in (Moment.LATE, Moment.DELIVERED):
            return [self._page_file_event(task, at, *event) for event in self._delivery_payloads(task, stuck=moment is Moment.LATE)]
        return [
            Event(PAGE, kind, self._page_info(task, at, {"Status": status, "EventMessage": message}))
            for kind, status, message in _page_payloads(task, moment, at)
        ]

    def _page_info(self, task: VendorTask, at: int, payload: Data) -> Data:
        return {"EventMsTs": self._outside_ms(at), "TaskId": task.order.vendor_task_id, "Payload": payload}

    def _page_file_event(self, task: VendorTask, at: int, after: int, kind: int, payload: Data) -> Event:
        """Returns a file event. For an mp4 in a bucket, the start time is appended to the TaskId."""
        info = self._page_info(task, at + after, payload)
        if kind == 310:
            info["TaskId"] += f"_StartTimeMs_{self._outside_ms(task.media_at or 0):013}"
        return Event(RECORDING, kind, info, after)


def _has_mp4(task: VendorTask) -> bool:
    return task.params["RecordParams"].get("OutputFormat", 0) in (1, 3)


def _outputs_changed(task: VendorTask) -> list[tuple[str, tuple[int, Data]]]:
    """Returns the events of an update: removed urls end; added ones connect, and run if the task has media."""
    urls = tuple(output["PublishCdnUrl"] for output in task.params.get("PublishCdnParams", []))
    removed = [url for url in task.outputs if url not in urls]
    added = [url for url in urls if url not in task.outputs and task.phase is Moment.MEDIA]
    task.outputs = urls
    gone = [(url, status) for url in removed for status in ((0, {"Status": 5}), (60, {"Status": 0}))]
    return gone + [(url, status) for url in added for status in ((0, {"Status": 1}), (1500, {"Status": 2}))]


def _relay_payloads(task: VendorTask, moment: Moment, at: int) -> list[tuple[int, Data]]:
    match moment:
        case Moment.CONNECTING:
            return [(0, {"Status": 1})]
        case Moment.MEDIA:
            return [(0, {"Status": 2})] if task.media_at == at or task.previous_phase is Moment.INTERRUPTED else []
        case Moment.INTERRUPTED:
            return [(0, {"Status": 3})]
        case Moment.ENDED if task.cause is Cause.CRASHED:
            return [(0, {"Status": 4, "ErrorCode": 1, "ErrorMsg": "connect timeout"}), (60, {"Status": 0})]
        case Moment.ENDED:
            return [(0, {"Status": 5}), (60, {"Status": 0})]
    return []


def _ingest_attempts(task: VendorTask, moment: Moment) -> list[tuple[int, int, int]]:
    """Returns (ms after, EventType, Status): a failed start is retried after 0, 1 and 3 s."""
    match moment:
        case Moment.CONNECTING if task.planned_cause is Cause.BAD_SOURCE:
            return [(0, 701, 1), (10, 701, 2), (1010, 701, 1), (1020, 701, 2), (3020, 701, 1)]
        case Moment.CONNECTING if task.random.happens(0.2):
            return [(0, 701, 1), (10, 701, 2)]
        case Moment.INTERRUPTED:
            return [(0, 701, 2)]
        case Moment.MEDIA:
            return [(0, 701, 0)]
        case Moment.ENDED if task.cause is not Cause.BAD_SOURCE:
            return [(0, 702, 0)]
    return []


def _page_payloads(task: VendorTask, moment: Moment, at: int) -> list[tuple[int, int, str]]:
    """Returns (EventType, Status, EventMessage); Status 1 is success."""
    match moment:
        case Moment.MEDIA if task.media_at == at:
            return [(801, 1, "Success")]
        case Moment.MEDIA if task.previous_phase is Moment.INTERRUPTED:
            return [(803, 3, "Success")]
        case Moment.INTERRUPTED:
            return [(801, 3, "Chrome exception")]
        case Moment.ENDED if task.cause is Cause.REFUSED:
            return [(801, 2, "StartRecording error")]
        case Moment.ENDED if task.cause is Cause.BAD_SOURCE:
            return [(801, 2, "Goto url timeout")]
        case Moment.ENDED if task.cause is Cause.CRASHED:
            return [(801, 5, "Exception error, exit task")]
        case Moment.ENDED if task.cause is Cause.LIFETIME:
            return [(804, 1, "Over time limit")]
        case Moment.ENDED:
            return [(802, 1, "Success")]
    return []
