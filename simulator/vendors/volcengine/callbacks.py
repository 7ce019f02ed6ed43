"""What is told of a task, in the shapes of document 75125, traps included."""

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
    def __init__(self, setting: WorldContext) -> None:
        self._told = setting.outside_ms
        self._of: Mapping[Kind, Callable[[VendorTask, Moment, int], list[Event]]] = {
            Kind.PUSH: self._push,
            Kind.RECORD: self._record,
            Kind.INGEST: self._relay,
            Kind.PAGE: self._page,
        }

    def events(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        """What this moment makes the vendor say; often nothing."""
        return self._of[task.order.kind](task, beat, at)

    # Pushes.

    def _push(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        match beat:
            case Moment.CREATED:
                return [("TranscodeStarted", self._of_push(task, at, 0), 0)]
            case Moment.MEDIA:
                return [self._pushing(task, at, 3)]
            case Moment.INTERRUPTED:
                return [self._pushing(task, at, 2, 4, "connect cdn failed")]
            case Moment.QUIET:
                return [self._pushing(task, at, 1)]
            case Moment.UPDATED:
                url = {"PushURL": task.params.get("PushURL", "")}
                return [("TranscodeUpdated", self._of_push(task, at, 0) | url, 0)]
            case Moment.ENDED:
                return self._push_ended(task, at)
        return []

    def _push_ended(self, task: VendorTask, at: int) -> list[Event]:
        if task.cause is Cause.REFUSED:
            return [("TranscodeStarted", self._of_push(task, at, 1, "start task failed"), 0)]
        code = PUSH_CODES.get(task.cause, 0) if task.cause else 0
        ended = self._pushing(task, at, 1, code, "task failed" if code else "")
        stopped: Event = ("TranscodeStopped", self._of_push(task, at + 12, 0), 12)
        # Whether an idle task's end is told by TranscodeStopped too is not documented: sometimes it is.
        return [ended] if task.cause is Cause.IDLE and task.number % 2 else [ended, stopped]

    def _of_push(self, task: VendorTask, at: int, code: int, message: str = "") -> Data:
        """PushURL is told of mixed streams only."""
        url = {"PushURL": task.params["PushURL"]} if task.order.action == MIXED else {}
        about = {**_ids(task), "Timestamp": self._told(at), **url}
        return about | {"Code": code, "ErrorMessage": message}

    def _pushing(self, task: VendorTask, at: int, state: int, code: int = 0, message: str = "") -> Event:
        finished = self._told(at) if task.phase is Moment.ENDED else 0
        times = {"StartTime": self._told(task.began_at), "FinishTime": finished, "TaskState": state}
        return ("TranscodeStateChanged", self._of_push(task, at, code, message) | times, 0)

    # Relays: the ids stand alone, there is neither AppId nor Timestamp.

    def _relay(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        status = _RELAY_STATUS.get(beat)
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
        if beat is Moment.ENDED and task.cause is not None:
            data["Reason"] = RELAY_REASONS[task.cause]
        elif task.dice.happens(0.5):
            data["Reason"] = 0
        return [("RelayStreamStateChanged", data, 0)]

    # Recordings: only the streams' states have a time of their own.

    def _record(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        ok = _of_record(task)
        match beat:
            case Moment.CREATED:
                return [("RecordStarted", ok, 0)]
            case Moment.MEDIA | Moment.QUIET:
                return self._streams(task, at, publishing=beat is Moment.MEDIA)
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
            return [("RecordStarted", _of_record(task, 1, "start record failed"), 0)]
        if task.cause is Cause.CRASHED:
            return [("RecordStopped", _of_record(task, 1, "record failed") | {"RecordFileList": []}, 0)]
        return [("RecordStopped", _of_record(task) | {"RecordFileList": file_list(task, self._told)}, 0)]

    def _streams(self, task: VendorTask, at: int, *, publishing: bool) -> list[Event]:
        about = _of_record(task)
        del about["Code"], about["ErrorMessage"]
        about |= {"UserId": "host", "StreamType": 0, "State": int(publishing), "Timestamp": self._told(at)}
        return [("RecordAudioStreamStateChanged", about, 0), ("RecordVideoStreamStateChanged", about, 3)]

    # Pages.

    def _page(self, task: VendorTask, beat: Moment, at: int) -> list[Event]:
        if beat is Moment.MEDIA and task.media_at == at:
            return [_page_status(task, 1)]
        if beat is Moment.INTERRUPTED:
            return [_page_status(task, 4, "PageFreeze")]
        if beat is Moment.ENDED:
            left = task.cause in (Cause.CRASHED, Cause.EVICTED, Cause.REMOVED, Cause.DISMISSED)
            return [_page_status(task, 3, "PageCrash") if left else _page_status(task, 2)]
        return []


def _ids(task: VendorTask) -> Data:
    order = task.order
    return {"AppId": order.app.app_id, "RoomId": order.room_id, "TaskId": order.vendor_task_id}


def _of_record(task: VendorTask, code: int = 0, message: str = "") -> Data:
    ids = _ids(task)
    business = task.params.get("BusinessId", "")
    return {"AppId": ids.pop("AppId"), "BusinessId": business, **ids, "Code": code, "ErrorMessage": message}


def _page_status(task: VendorTask, status: int, reason: str | None = None) -> Event:
    about = {**_ids(task), "BusinessId": task.params.get("BusinessId", ""), "Status": status}
    return ("Webcast", about if reason is None else about | {"Reason": reason}, 0)
