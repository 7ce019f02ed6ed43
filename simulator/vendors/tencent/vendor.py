"""The simulated vendor: the effects of its API calls, and the protocol `Vendor`."""

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
from simulator.protocol import WorldContext, WorldControl
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
    """See protocol.Vendor."""

    name = "tencent"
    timeout_s = 5.0

    success_reply = staticmethod(replies.success_reply)
    end_from_callbacks = staticmethod(endings.end_from_callbacks)
    end_from_query = staticmethod(endings.end_from_query)
    true_end = staticmethod(endings.true_end)

    def __init__(self, context: WorldContext) -> None:
        self._context = context
        self._callback_writer = CallbackWriter(context)
        self._by_record_id: dict[tuple[str, str], VendorTask] = {}

    @staticmethod
    def recognizes(request: Request) -> bool:
        return "x-tc-action" in request.headers

    def read_call(self, request: Request, now: int) -> ReceivedCall:
        if request.method != "POST":
            raise CallRefused("UnsupportedProtocol", "Calls are POST only.")
        access_key_id = verify_call(request, self._context.secret_of, now)
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

    def check_call(self, call: ReceivedCall) -> None:
        problems = find_problems(call.api.versions[call.version], call.params)
        if problems:
            raise errors.wrong_parameter(problems[0])
        app_id = call.params.get("SdkAppId")
        app = self._context.apps.get(f"{self.name} {app_id}")
        if app_id is not None and (app is None or app.access_key_id != call.access_key_id):
            raise CallRefused("InvalidParameter.SdkAppId", "The SdkAppId is not one of this account.")

    def perform(self, call: ReceivedCall, world: WorldControl) -> dict[str, Any]:
        match call.api.operation:
            case Operation.START:
                return {"TaskId": self._start_task(call, world).order.vendor_task_id}
            case Operation.STOP:
                return self._stop_task(call, world)
            case Operation.UPDATE:
                return self._update_task(call, world)
            case Operation.INSPECT:
                return self._inspect_task(call, world)

    # Starts.

    def _start_task(self, call: ReceivedCall, world: WorldControl) -> VendorTask:
        about = identity(call.action, call.params)
        app = self._context.apps[f"{self.name} {about.app_id}"]
        self._evict_same_robot(about.kind, app, about.room_id, about.robot, world)
        record_id = (about.app_id, call.params.get("RecordId", ""))
        if record_id in self._by_record_id:
            world.repeat(self._by_record_id[record_id])
            raise CallRefused("FailedOperation.TaskExist", "The task exists already.")
        task = world.start(
            StartOrder(
                kind=about.kind,
                app=app,
                action=call.action,
                version=call.version,
                room_id=about.room_id,
                vendor_task_id=world.mint(about.kind.value).random_text(_LETTERS, _ID_LENGTH) + "..",
                robot=about.robot,
                params=call.params,
                lifetime=lifetime_of(about.kind, call.params),
            )
        )
        if record_id[1]:
            self._by_record_id[record_id] = task
        return task

    @staticmethod
    def _evict_same_robot(kind: Kind, app: App, room_id: str, robot: str | None, world: WorldControl) -> None:
        """Evicts the task that uses the same robot id; for two ingests, raises CallRefused instead: the task exists."""
        if robot is None:
            return
        for other in list(world.tasks.under_robot(app, room_id, robot)):
            if kind is Kind.INGEST and other.order.kind is Kind.INGEST:
                world.repeat(other)
                raise CallRefused("FailedOperation.TaskExist", "The task exists already.")
            world.end(other, Cause.EVICTED)

    # Other calls.

    def _live_task(self, call: ReceivedCall, world: WorldControl) -> VendorTask:
        """Returns the live task that a call names, if it is within reach. Raises CallRefused."""
        kind, operation = call.api.kind, call.api.operation
        task = self._named_task(call, world)
        if task is None or task.order.kind is not kind or not task.is_known:
            raise errors.unknown_task(kind, operation)
        if not task.is_alive or world.now - task.requested_at > _reach_ms(task):
            raise errors.ended_task(kind, operation)
        return task

    def _named_task(self, call: ReceivedCall, world: WorldControl) -> VendorTask | None:
        params, task_id = call.params, call.params.get("TaskId")
        if task_id is None:
            return self._by_record_id.get((str(params["SdkAppId"]), params["RecordId"]))
        mine = [app for app in self._context.apps.values() if (app.vendor, app.access_key_id) == (self.name, call.access_key_id)]
        meant = [app for app in mine if str(params.get("SdkAppId", app.app_id)) == app.app_id]
        return next((task for app in meant if (task := world.tasks.by_minted_id(app, task_id)) is not None), None)

    def _stop_task(self, call: ReceivedCall, world: WorldControl) -> dict[str, Any]:
        task = self._live_task(call, world)
        world.stop(task)
        return {"TaskId": task.order.vendor_task_id} if task.order.kind in (Kind.PUSH, Kind.RECORD) else {}

    def _update_task(self, call: ReceivedCall, world: WorldControl) -> dict[str, Any]:
        task, number = self._live_task(call, world), call.params.get("SequenceNumber")
        if number is not None and task.sequence is not None and number <= task.sequence:
            raise CallRefused("InvalidParameter", "SequenceNumber must grow.")
        task.sequence = number
        world.update(task, {name: value for name, value in call.params.items() if name not in ("SdkAppId", "TaskId")})
        return {"Status": "InProgress"} if task.order.kind is Kind.INGEST else {"TaskId": task.order.vendor_task_id}

    def _inspect_task(self, call: ReceivedCall, world: WorldControl) -> dict[str, Any]:
        if call.api.kind is Kind.INGEST:
            task = self._named_task(call, world)
            return {"Status": "InProgress" if task is not None and task.is_alive else "NotExist"}
        task = self._live_task(call, world)
        if call.api.kind is Kind.PAGE:
            status = {"TaskId": task.order.vendor_task_id, "Status": 1}
            return status | ({"RecordId": task.params["RecordId"]} if "RecordId" in task.params else {})
        return {
            "TaskId": task.order.vendor_task_id,
            "Status": "InProgress" if task.phase in (Moment.MEDIA, Moment.INTERRUPTED) else "Idle",
            "StorageFileList": self._stored_files(task),
        }

    def _stored_files(self, task: VendorTask) -> list[dict[str, Any]]:
        """Returns the files in the bucket while the task records; none for a media library."""
        if task.media_at is None or endings.is_in_media_library(task):
            return []
        about = {"UserId": "host", "FileName": playlist_name(task), "TrackType": "audio_video"}
        return [about | {"BeginTimeStamp": self._context.outside_ms(task.media_at)}]

    def error_reply(self, request: Request, refusal: CallRefused, request_id: str) -> GatewayReply:
        return replies.error_reply(refusal, request_id)

    def throttled(self) -> CallRefused:
        return CallRefused("RequestLimitExceeded", "The number of requests exceeds the frequency limit.")

    def permanent_refusal(self) -> CallRefused:
        return CallRefused("UnsupportedOperation", "The operation is not supported for this app.")

    # Moments after an end, and callbacks.

    def moments_after_end(self, task: VendorTask) -> list[tuple[int, Moment]]:
        if not _delivers_files(task):
            return []
        done = task.random.integer_between(300, 4000)
        return (
            [(done, Moment.LATE), (done + _LATE_MS, Moment.DELIVERED)]
            if task.has_late_files and task.files
            else [(done, Moment.DELIVERED)]
        )

    def files_of(self, task: VendorTask) -> tuple[str, ...]:
        return file_names(task) if _delivers_files(task) else ()

    def events_of(self, task: VendorTask, moment: Moment, at: int) -> list[tuple[int, OutgoingEvent]]:
        events = []
        for event in self._callback_writer.events(task, moment, at):
            task.callbacks_made += 1
            name = f"{task.order.app.app_id} {task.number} {task.callbacks_made}"
            data = {"EventGroupId": event.group, "EventInfo": event.info}
            event_at = self._context.outside_ms(at + event.after)
            outgoing = OutgoingEvent(app=task.order.app, event_type=str(event.type), data=data, at=event_at, unique_name=name)
            events.append((event.after, outgoing))
        return events

    def sign_callback(self, event: OutgoingEvent, sent_at: int) -> tuple[bytes, Mapping[str, str]]:
        return sign_callback(event, sent_at)

    def retry_at(self, attempt: int, first_at: int, now: int) -> int | None:
        """Retries at once, then every 10 s, until the event is a minute old."""
        at = now + (_FIRST_PAUSE_MS if attempt == 1 else _PAUSE_MS)
        return at if at - first_at <= _OLDEST_MS else None


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
