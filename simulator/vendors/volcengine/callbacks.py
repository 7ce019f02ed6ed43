"""The events of tasks, in the shapes of document 75125, with their inconsistencies."""

from collections.abc import Callable, Mapping
from typing import Any

from simulator.plan import Cause
from simulator.protocol import WorldContext
from simulator.tasks import Moment, VendorTask
from simulator.vendors.volcengine.endings import PUSH_CODES, RELAY_REASONS
from simulator.vendors.volcengine.files import file_list
from statemachine.states import Kind

Data = dict[str, Any]
#: EventType, EventData, ms after the moment.
Event = tuple[str, Data, int]

MIXED = "StartPushMixedStreamToCDN"
_RELAY_STATUS = {Moment.CREATED: 1, Moment.QUIET: 1, Moment.CONNECTING: 2, Moment.INTERRUPTED: 2, Moment.MEDIA: 3, Moment.ENDED: 4}


class CallbackWriter:
    """Writes the events of a task's moments."""

    def __init__(self, context: WorldContext) -> None:
        self._outside_ms = context.outside_ms
        self._events_of_kind: Mapping[Kind, Callable[[VendorTask, Moment, int], list[Event]]] = {
            Kind.PUSH: self._push_events,
            Kind.RECORD: self._record_events,
            Kind.INGEST: self._relay_events,
            Kind.PAGE: self._page_events,
        }

    def events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        """Returns the events of a moment; often none."""
        return self._events_of_kind[task.order.kind](task, moment, at)

    # Pushes.

    def _push_events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        match moment:
            case Moment.CREATED:
                return [("TranscodeStarted", self._push_data(task, at, 0), 0)]
            case Moment.MEDIA:
                return [self._push_state_event(task, at, 3)]
            case Moment.INTERRUPTED:
                return [self._push_state_event(task, at, 2, 4, "connect cdn failed")]
            case Moment.QUIET:
                return [self._push_state_event(task, at, 1)]
            case Moment.UPDATED:
                url = {"PushURL": task.params.get("PushURL", "")}
                return [("TranscodeUpdated", self._push_data(task, at, 0) | url, 0)]
            case Moment.ENDED:
                return self._push_ended(task, at)
        return []

    def _push_ended(self, task: VendorTask, at: int) -> list[Event]:
        if task.cause is Cause.REFUSED:
            return [("TranscodeStarted", self._push_data(task, at, 1, "start task failed"), 0)]
        code = PUSH_CODES.get(task.cause, 0) if task.cause else 0
        ended = self._push_state_event(task, at, 1, code, "task failed" if code else "")
        stopped: Event = ("TranscodeStopped", self._push_data(task, at + 12, 0), 12)
        # Not documented: whether an idle task's end has a TranscodeStopped too. Here it sometimes has.
        return [ended] if task.cause is Cause.IDLE and task.number % 2 else [ended, stopped]

    def _push_data(self, task: VendorTask, at: int, code: int, message: str = "") -> Data:
        """Returns EventData of a push; PushURL is in events of mixed streams only."""
        url = {"PushURL": task.params["PushURL"]} if task.order.action == MIXED else {}
        about = {**_task_ids(task), "Timestamp": self._outside_ms(at), **url}
        return about | {"Code": code, "ErrorMessage": message}

    def _push_state_event(self, task: VendorTask, at: int, state: int, code: int = 0, message: str = "") -> Event:
        finished = self._outside_ms(at) if task.phase is Moment.ENDED else 0
        times = {"StartTime": self._outside_ms(task.began_at), "FinishTime": finished, "TaskState": state}
        return ("TranscodeStateChanged", self._push_data(task, at, code, message) | times, 0)

    # Relays: without AppId and Timestamp.

    def _relay_events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        status = _RELAY_STATUS.get(moment)
        if status is None:
            return []
        control = task.params["Control"]
        data: Data = {
            "RoomId": task.order.room_id,
            "TaskId": task.order.vendor_task_id,
            "UserId": task.order.robot,
            "StreamUrl": control["StreamUrl"],
            "Status": status,
            "StartTimeStamp": control.get("StartTimeStamp", 0),
            "Msg": "",
        }
        if moment is Moment.ENDED and task.cause is not None:
            data["Reason"] = RELAY_REASONS[task.cause]
        elif task.random.happens(0.5):
            data["Reason"] = 0
        return [("RelayStreamStateChanged", data, 0)]

    # Recordings: only events of streams have their own time.

    def _record_events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        ok = _record_data(task)
        match moment:
            case Moment.CREATED:
                return [("RecordStarted", ok, 0)]
            case Moment.MEDIA | Moment.QUIET:
                return self._stream_events(task, at, publishing=moment is Moment.MEDIA)
            case Moment.ENDED:
                return self._record_ended(task)
            case Moment.UPLOADING:
                return [("RecordUploadStarted", ok, 0)]
            case Moment.LATE:
                return [("RecordUploadBackuped", ok, 0)]
            case Moment.DELIVERED:
                progress = [("RecordUploadProcessing", ok | {"Progress": 9000}, -1000)] if task.has_late_files else []
                return [*progress, ("RecordUploadDone", ok, 0)]
        return []

    def _record_ended(self, task: VendorTask) -> list[Event]:
        if task.cause is Cause.REFUSED:
            return [("RecordStarted", _record_data(task, 1, "start record failed"), 0)]
        if task.cause is Cause.CRASHED:
            return [("RecordStopped", _record_data(task, 1, "record failed") | {"RecordFileList": []}, 0)]
        return [("RecordStopped", _record_data(task) | {"RecordFileList": file_list(task, self._outside_ms)}, 0)]

    def _stream_events(self, task: VendorTask, at: int, *, publishing: bool) -> list[Event]:
        about = _record_data(task)
        del about["Code"], about["ErrorMessage"]
        about |= {"UserId": "host", "StreamType": 0, "State": int(publishing), "Timestamp": self._outside_ms(at)}
        return [("RecordAudioStreamStateChanged", about, 0), ("RecordVideoStreamStateChanged", about, 3)]

    # Pages.

    def _page_events(self, task: VendorTask, moment: Moment, at: int) -> list[Event]:
        if moment is Moment.MEDIA and task.media_at == at:
            return [_page_status(task, 1)]
        if moment is Moment.INTERRUPTED:
            return [_page_status(task, 4, "PageFreeze")]
        if moment is Moment.ENDED:
            left = task.cause in (Cause.CRASHED, Cause.EVICTED, Cause.REMOVED, Cause.DISMISSED)
            return [_page_status(task, 3, "PageCrash") if left else _page_status(task, 2)]
        return []


def _task_ids(task: VendorTask) -> Data:
    order = task.order
    return {"AppId": order.app.app_id, "RoomId": order.room_id, "TaskId": order.vendor_task_id}


def _record_data(task: VendorTask, code: int = 0, message: str = "") -> Data:
    ids = _task_ids(task)
    business = task.params.get("BusinessId", "")
    return {"AppId": ids.pop("AppId"), "BusinessId": business, **ids, "Code": code, "ErrorMessage": message}


def _page_status(task: VendorTask, status: int, reason: str | None = None) -> Event:
    about = {**_task_ids(task), "BusinessId": task.params.get("BusinessId", ""), "Status": status}
    return ("Webcast", about if reason is None else about | {"Reason": reason}, 0)
