"""What is told of a task, in the shapes of documents 54913, 54914 and 62717, traps included."""

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
    group: int
    type: int
    #: EventInfo.
    info: Data
    #: ms after the moment.
    after: int = 0


class CallbackWriter:
    def __init__(self, setting: WorldContext) -> None:
        self._told = setting.outside_ms
        self._of: Mapping[Kind, Callable[[VendorTask, Moment, int], list[Event]]] = {
            Kind.PUSH: self._relay,
            Kind.RECORD: self._record,
            Kind.INGEST: self._ingest,
            Kind.PAGE: self._page,
        }

    def events(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        """What this moment makes the vendor say; often nothing."""
        return self._of[task.order.kind](task, beat, at)

    # Relays: one stream of events per url, and no event of the task itself.

    def _relay(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        if beat in (Moment.CREATED, Moment.UPDATED):
            told = _outputs_changed(task)
        else:
            told = [(url, payload) for url in task.outputs for payload in _relay_payloads(task, beat, at)]
        return [
            Event(RELAY, 401, self._of_relay(task, at + after, {"Url": url} | payload), after) for url, (after, payload) in told
        ]

    def _of_relay(self, task: VendorTask, at: int, payload: Data) -> Data:
        """The page's table says EventMsTs, its example EventTsMs; a number room comes as number or text."""
        kind = task.params["RoomIdType"]
        room: str | int = task.order.room_id
        if kind != _STRING_ROOM and task.dice.happens(0.5):
            room = int(room)
        when = "EventTsMs" if task.dice.happens(0.3) else "EventMsTs"
        about: Data = {"RoomId": room, "RoomType": kind, when: self._told(at), "UserId": task.order.robot}
        return about | {"TaskId": task.order.vendor_task_id, "Payload": payload}

    # Ingests: Status stands in EventInfo, and there is neither room nor user.

    def _ingest(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        return [Event(INGEST, kind, self._of_ingest(task, at + after, status), after) for after, kind, status in _tries(task, beat)]

    def _of_ingest(self, task: VendorTask, at: int, status: int) -> Data:
        return {"EventMsTs": self._told(at), "TaskId": task.order.vendor_task_id, "Status": status}

    # Recordings.

    def _record(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        return [
            Event(RECORDING, kind, self._of_record(task, at + after, payload), after)
            for after, kind, payload in self._record_payloads(task, beat, at)
        ]

    def _record_payloads(self, task: VendorTask, beat: Moment, at: int) -> list[tuple[int, int, Data]]:
        match beat:
            case Moment.CREATED:
                return [(0, 301, {"Status": 0}), *([] if is_in_media_library(task) else [(40, 303, {"Status": 0})])]
            case Moment.MEDIA if task.media_at == at and not is_in_media_library(task):
                return [(900, 304, playlist(task)), (950, 307, slice_payload(task, self._told))]
            case Moment.INTERRUPTED if task.dice.happens(0.3):
                return [(0, 306, {"Status": 0})]
            case Moment.ENDED if task.cause is Cause.REFUSED:
                return [(0, 301, {"Status": 1})]
            case Moment.ENDED if task.cause is not None:
                return [(0, 302, {"LeaveCode": LEAVE_CODES[task.cause]})]
            case Moment.LATE:
                return self._delivered(task, stuck=True)
            case Moment.DELIVERED:
                return self._delivered(task, stuck=False)
        return []

    def _delivered(self, task: VendorTask, *, stuck: bool) -> list[tuple[int, int, Data]]:
        if is_in_media_library(task):
            last = [] if stuck else [(200, 312, {"Status": 0})]
            return [*((n, 311, vod_payload(task, n, self._told, stuck=stuck)) for n in range(len(task.files))), *last]
        status = 1 if stuck else 2 if task.has_late_files else 0
        # The newest table names the key LeaveCode, everything else Status.
        uploaded = (0, 305, {"LeaveCode" if task.dice.happens(0.2) else "Status": status})
        if task.order.kind is Kind.RECORD and not _has_mp4(task):
            return [uploaded]
        mp4 = [(2600, 310, mp4_payload(task, self._told, stuck=stuck))] if task.files else []
        return [uploaded, *mp4] if task.order.kind is Kind.RECORD else mp4

    def _of_record(self, task: VendorTask, at: int, payload: Data) -> Data:
        """EventTs is a number here and text there."""
        seconds: int | str = self._told(at) // 1000
        seconds = str(seconds) if task.dice.happens(0.4) else seconds
        about: Data = {"RoomId": task.order.room_id, "EventTs": seconds, "EventMsTs": self._told(at), "UserId": task.order.robot}
        return about | {"TaskId": task.order.vendor_task_id, "Payload": payload}

    # Pages: their files come as recording events.

    def _page(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        if beat in (Moment.LATE, Moment.DELIVERED):
            return [self._page_file(task, at, *event) for event in self._delivered(task, stuck=beat is Moment.LATE)]
        return [
            Event(PAGE, kind, self._of_page(task, at, {"Status": status, "EventMessage": message}))
            for kind, status, message in _page_payloads(task, beat, at)
        ]

    def _of_page(self, task: VendorTask, at: int, payload: Data) -> Data:
        return {"EventMsTs": self._told(at), "TaskId": task.order.vendor_task_id, "Payload": payload}

    def _page_file(self, task: VendorTask, at: int, after: int, kind: int, payload: Data) -> Event:
        """Of an mp4 in a bucket the TaskId has the start behind it."""
        info = self._of_page(task, at + after, payload)
        if kind == 310:
            info["TaskId"] += f"_StartTimeMs_{self._told(task.media_at or 0):013}"
        return Event(RECORDING, kind, info, after)


def _has_mp4(task: VendorTask) -> bool:
    return task.params["RecordParams"].get("OutputFormat", 0) in (1, 3)


def _outputs_changed(task: VendorTask) -> list[tuple[str, tuple[int, Data]]]:
    """Urls that an update took away end; new ones connect, and run once the task shows media."""
    wanted = tuple(output["PublishCdnUrl"] for output in task.params.get("PublishCdnParams", []))
    removed = [url for url in task.outputs if url not in wanted]
    added = [url for url in wanted if url not in task.outputs and task.phase is Moment.MEDIA]
    task.outputs = wanted
    gone = [(url, told) for url in removed for told in ((0, {"Status": 5}), (60, {"Status": 0}))]
    return gone + [(url, told) for url in added for told in ((0, {"Status": 1}), (1500, {"Status": 2}))]


def _relay_payloads(task: VendorTask, beat: Moment, at: int) -> list[tuple[int, Data]]:
    match beat:
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


def _tries(task: VendorTask, beat: Moment) -> list[tuple[int, int, int]]:
    """(ms after, EventType, Status): a start that fails is tried again after 0, 1 and 3 s."""
    match beat:
        case Moment.CONNECTING if task.planned_cause is Cause.BAD_SOURCE:
            return [(0, 701, 1), (10, 701, 2), (1010, 701, 1), (1020, 701, 2), (3020, 701, 1)]
        case Moment.CONNECTING if task.dice.happens(0.2):
            return [(0, 701, 1), (10, 701, 2)]
        case Moment.INTERRUPTED:
            return [(0, 701, 2)]
        case Moment.MEDIA:
            return [(0, 701, 0)]
        case Moment.ENDED if task.cause is not Cause.BAD_SOURCE:
            return [(0, 702, 0)]
    return []


def _page_payloads(task: VendorTask, beat: Moment, at: int) -> list[tuple[int, int, str]]:
    """(EventType, Status, EventMessage); 1 is a success."""
    match beat:
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
