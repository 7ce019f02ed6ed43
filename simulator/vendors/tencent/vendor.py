"""The vendor: what its API does."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.calls import Operation
from adapters.vendors.json_fields import NotAnObjectError, json_object
from adapters.vendors.parameters import find_problems
from adapters.vendors.reading_builders import positive_param
from adapters.vendors.tencent.api import API
from adapters.vendors.tencent.requests import identity
from simulator.messages import CallRefused, GatewayReply, OutgoingEvent, ReceivedCall, Request
from simulator.plan import Cause
from simulator.protocol import EndState, WorldContext, WorldControl
from simulator.tasks import App, Moment, StartOrder, VendorTask
from simulator.vendors.tencent import endings, errors, replies
from simulator.vendors.tencent.call_verification import verify_call
from simulator.vendors.tencent.callback_signing import sign_callback
from simulator.vendors.tencent.callbacks import CallbackWriter
from simulator.vendors.tencent.files import file_names, playlist_name
from simulator.vendors.tencent.lifetimes import lifetime_of
from statemachine.states import Kind

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
_ID_LENGTH = 78
# Relays can be updated and stopped for 30 days, recordings for ResourceExpiredHour.
_RELAY_REACH_H, _RECORD_REACH_H = 30 * 24, 72
_HOUR_MS = 3600 * 1000
_FIRST_PAUSE_MS, _PAUSE_MS, _OLDEST_MS = 10, 10_000, 60_000
_LATE_MS = 60_000


class Tencent:
    name = "tencent"
    timeout_s = 5.0

    def __init__(self, setting: WorldContext) -> None:
        self._setting = setting
        self._callback_writer = CallbackWriter(setting)
        self._by_record_id: dict[tuple[str, str], VendorTask] = {}

    @staticmethod
    def recognizes(request: Request) -> bool:
        return "x-tc-action" in request.headers

    def read_call(self, request: Request, now: int) -> ReceivedCall:
        if request.method != "POST":
            raise CallRefused("UnsupportedProtocol", "Calls are POST only.")
        access_key_id = verify_call(request, self._setting.secret_of, now)
        action, version = request.headers.get("x-tc-action", ""), request.headers.get("x-tc-version", "")
        api = API.get(action)
        if api is None:
            raise CallRefused("InvalidAction", f"The action {action} does not exist.")
        if version not in api.versions:
            raise CallRefused("NoSuchVersion", f"The version {version} does not exist.")
        if not request.headers.get("x-tc-region"):
            raise CallRefused("MissingParameter", "X-TC-Region is missing.")
        return ReceivedCall(
            action=action,
            version=version,
            api=api,
            access_key_id=access_key_id,
            region=request.headers["x-tc-region"],
            params=_params_of_body(request.body),
            request_id="",
        )

    def check_call(self, asked: ReceivedCall) -> None:
        found = find_problems(asked.api.versions[asked.version], asked.params)
        if found:
            raise errors.wrong_parameter(found[0])
        app_id = asked.params.get("SdkAppId")
        app = self._setting.apps.get(f"{self.name} {app_id}")
        if app_id is not None and (app is None or app.access_key_id != asked.access_key_id):
            raise CallRefused("InvalidParameter.SdkAppId", "The SdkAppId is not one of this account.")

    def perform(self, asked: ReceivedCall, hands: WorldControl) -> dict[str, Any]:
        match asked.api.operation:
            case Operation.START:
                return {"TaskId": self._start(asked, hands).order.vendor_task_id}
            case Operation.STOP:
                return self._stop(asked, hands)
            case Operation.UPDATE:
                return self._update(asked, hands)
            case Operation.INSPECT:
                return self._inspect(asked, hands)

    # Starts.

    def _start(self, asked: ReceivedCall, hands: WorldControl) -> VendorTask:
        about = identity(asked.action, asked.params)
        app = self._setting.apps[f"{self.name} {about.app_id}"]
        self._make_room(about.kind, app, about.room_id, about.robot, hands)
        record_id = (about.app_id, asked.params.get("RecordId", ""))
        if record_id in self._by_record_id:
            hands.repeat(self._by_record_id[record_id])
            raise CallRefused("FailedOperation.TaskExist", "The task exists already.")
        task = hands.start(
            StartOrder(
                kind=about.kind,
                app=app,
                action=asked.action,
                version=asked.version,
                room_id=about.room_id,
                vendor_task_id=hands.mint(about.kind.value).random_text(_LETTERS, _ID_LENGTH) + "..",
                robot=about.robot,
                params=asked.params,
                lifetime=lifetime_of(about.kind, asked.params),
            )
        )
        if record_id[1]:
            self._by_record_id[record_id] = task
        return task

    @staticmethod
    def _make_room(kind: Kind, app: App, room_id: str, robot: str | None, hands: WorldControl) -> None:
        """A robot id that is used again throws out who used it; but of ingests the vendor says that the task exists."""
        if robot is None:
            return
        for other in list(hands.tasks.under_robot(app, room_id, robot)):
            if kind is Kind.INGEST and other.order.kind is Kind.INGEST:
                hands.repeat(other)
                raise CallRefused("FailedOperation.TaskExist", "The task exists already.")
            hands.end(other, Cause.EVICTED)

    # All others.

    def _live_task(self, asked: ReceivedCall, hands: WorldControl) -> VendorTask:
        """The task that is meant, alive and within reach. Raises Refused."""
        kind, operation = asked.api.kind, asked.api.operation
        task = self._named_task(asked, hands)
        if task is None or task.order.kind is not kind or not task.is_known:
            raise errors.unknown_task(kind, operation)
        if not task.is_alive or hands.now - task.requested_at > _reach_ms(task):
            raise errors.ended_task(kind, operation)
        return task

    def _named_task(self, asked: ReceivedCall, hands: WorldControl) -> VendorTask | None:
        params, task_id = asked.params, asked.params.get("TaskId")
        if task_id is None:
            return self._by_record_id.get((str(params["SdkAppId"]), params["RecordId"]))
        mine = [app for app in self._setting.apps.values() if (app.vendor, app.access_key_id) == (self.name, asked.access_key_id)]
        meant = [app for app in mine if str(params.get("SdkAppId", app.app_id)) == app.app_id]
        return next((task for app in meant if (task := hands.tasks.by_minted_id(app, task_id)) is not None), None)

    def _stop(self, asked: ReceivedCall, hands: WorldControl) -> dict[str, Any]:
        task = self._live_task(asked, hands)
        hands.stop(task)
        return {"TaskId": task.order.vendor_task_id} if task.order.kind in (Kind.PUSH, Kind.RECORD) else {}

    def _update(self, asked: ReceivedCall, hands: WorldControl) -> dict[str, Any]:
        task, number = self._live_task(asked, hands), asked.params.get("SequenceNumber")
        if number is not None and task.sequence is not None and number <= task.sequence:
            raise CallRefused("InvalidParameter", "SequenceNumber must grow.")
        task.sequence = number
        hands.update(task, {name: value for name, value in asked.params.items() if name not in ("SdkAppId", "TaskId")})
        return {"Status": "InProgress"} if task.order.kind is Kind.INGEST else {"TaskId": task.order.vendor_task_id}

    def _inspect(self, asked: ReceivedCall, hands: WorldControl) -> dict[str, Any]:
        if asked.api.kind is Kind.INGEST:
            task = self._named_task(asked, hands)
            return {"Status": "InProgress" if task is not None and task.is_alive else "NotExist"}
        task = self._live_task(asked, hands)
        if asked.api.kind is Kind.PAGE:
            found = {"TaskId": task.order.vendor_task_id, "Status": 1}
            return found | ({"RecordId": task.params["RecordId"]} if "RecordId" in task.params else {})
        return {
            "TaskId": task.order.vendor_task_id,
            "Status": "InProgress" if task.phase in (Moment.MEDIA, Moment.INTERRUPTED) else "Idle",
            "StorageFileList": self._stored(task),
        }

    def _stored(self, task: VendorTask) -> list[dict[str, Any]]:
        """What lies in the bucket while it records; nothing of a media library."""
        if task.media_at is None or endings.is_in_media_library(task):
            return []
        about = {"UserId": "host", "FileName": playlist_name(task), "TrackType": "audio_video"}
        return [about | {"BeginTimeStamp": self._setting.outside_ms(task.media_at)}]

    def success_reply(self, asked: ReceivedCall, result: Any) -> GatewayReply:
        return replies.success_reply(asked, result)

    def error_reply(self, request: Request, refused: CallRefused, request_id: str) -> GatewayReply:
        return replies.error_reply(refused, request_id)

    def throttled(self) -> CallRefused:
        return CallRefused("RequestLimitExceeded", "The number of requests exceeds the frequency limit.")

    def permanent_refusal(self) -> CallRefused:
        return CallRefused("UnsupportedOperation", "The operation is not supported for this app.")

    # What follows an end, and what is told.

    def moments_after_end(self, task: VendorTask) -> list[tuple[int, Moment]]:
        if not _delivers_files(task):
            return []
        done = task.dice.integer_between(300, 4000)
        return (
            [(done, Moment.LATE), (done + _LATE_MS, Moment.DELIVERED)]
            if task.has_late_files and task.files
            else [(done, Moment.DELIVERED)]
        )

    def files_of(self, task: VendorTask) -> tuple[str, ...]:
        return file_names(task) if _delivers_files(task) else ()

    def events_of(self, task: VendorTask, beat: Moment, at: int) -> list[tuple[int, OutgoingEvent]]:
        found = []
        for event in self._callback_writer.events(task, beat, at):
            task.callbacks_made += 1
            name = f"{task.order.app.app_id} {task.number} {task.callbacks_made}"
            data = {"EventGroupId": event.group, "EventInfo": event.info}
            told = self._setting.outside_ms(at + event.after)
            found.append((event.after, OutgoingEvent(app=task.order.app, event=str(event.type), data=data, at=told, name=name)))
        return found

    def sign_callback(self, news: OutgoingEvent, sent_at: int) -> tuple[bytes, Mapping[str, str]]:
        return sign_callback(news, sent_at)

    def retry_at(self, attempt: int, first_at: int, now: int) -> int | None:
        """At once, then every 10 s, until it is a minute old."""
        at = now + (_FIRST_PAUSE_MS if attempt == 1 else _PAUSE_MS)
        return at if at - first_at <= _OLDEST_MS else None

    def end_from_callbacks(self, task: VendorTask) -> EndState | None:
        return endings.end_from_callbacks(task)

    def end_from_query(self, task: VendorTask) -> EndState | None:
        return endings.end_from_query(task)

    def true_end(self, task: VendorTask) -> EndState | None:
        return endings.true_end(task)


def _params_of_body(body: bytes) -> dict[str, Any]:
    try:
        return json_object(body)
    except NotAnObjectError:
        raise CallRefused("InvalidRequest", "The body is not a JSON object.") from None


def _reach_ms(task: VendorTask) -> int:
    match task.order.kind:
        case Kind.PUSH:
            return _RELAY_REACH_H * _HOUR_MS
        case Kind.RECORD:
            return (positive_param(task.order.params, "ResourceExpiredHour") or _RECORD_REACH_H) * _HOUR_MS
    return 2**62


def _delivers_files(task: VendorTask) -> bool:
    if task.order.kind is Kind.RECORD:
        return task.cause is not Cause.REFUSED
    return task.order.kind is Kind.PAGE and task.cause not in (Cause.REFUSED, Cause.BAD_SOURCE, Cause.CRASHED)
