"""The simulated vendor: the effects of its API calls, and the protocol `Vendor`."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from adapters.vendors.calls import Operation
from adapters.vendors.json_fields import NotAnObjectError, json_object
from adapters.vendors.parameters import find_problems
from adapters.vendors.volcengine.api import API
from adapters.vendors.volcengine.requests import identity
from simulator.messages import CallRefused, GatewayReply, OutgoingEvent, ReceivedCall, Request
from simulator.plan import Cause
from simulator.protocol import WorldContext, WorldControl
from simulator.tasks import App, Moment, StartOrder, VendorTask
from simulator.vendors.volcengine import call_verification, endings, replies
from simulator.vendors.volcengine.callback_signing import sign_callback
from simulator.vendors.volcengine.callbacks import CallbackWriter
from simulator.vendors.volcengine.files import file_names
from simulator.vendors.volcengine.lifetimes import lifetime_of
from simulator.vendors.volcengine.queries import Queries
from statemachine.states import Kind

#: Names of query parameters that are numbers.
_NUMBERS = ("Offset", "Limit", "Order")
#: From this version on, a repeated start is not an error.
_REPEATS_ALLOWED_SINCE = "2023-11-01"
_TRIES = 3
# Not documented; short.
_PAUSE_MS = 2000
_SINGLE = "StartPushSingleStreamToCDN"
_UPLOAD_MS = (400, 8000)
_BACKED_UP_MS = 300_000


class Volcengine:
    """See protocol.Vendor."""

    name = "volcengine"
    timeout_s = 5.0

    success_reply = staticmethod(replies.success_reply)
    end_from_callbacks = staticmethod(endings.end_from_callbacks)
    end_from_query = staticmethod(endings.end_from_query)
    true_end = staticmethod(endings.true_end)

    def __init__(self, context: WorldContext) -> None:
        self._context = context
        self._callback_writer = CallbackWriter(context)
        self._queries = Queries(context)

    @staticmethod
    def recognizes(request: Request) -> bool:
        return "Action" in parse_qs(request.query)

    def read_call(self, request: Request, now: int) -> ReceivedCall:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        action, version = query.pop("Action", ""), query.pop("Version", "")
        signer = call_verification.verify_call(request, self._context.secret_of, now)
        api = API.get(action)
        if api is None or version not in api.versions:
            raise CallRefused("InvalidActionOrVersion", f"Could not find operation {action} for version {version}.", 404)
        if request.method != api.method:
            raise CallRefused("MethodNotAllowed", f"{action} must be called by {api.method}.", 405)
        return ReceivedCall(
            action=action,
            version=version,
            api=api,
            access_key_id=signer.access_key_id,
            region=signer.region,
            params=_params_of_query(query) if api.method == "GET" else _params_of_body(request.body),
            request_id="",
        )

    def check_call(self, call: ReceivedCall) -> None:
        problems = find_problems(call.api.versions[call.version], call.params)
        if problems:
            raise CallRefused("InvalidParameter", f"{problems[0].field} {problems[0].message}")
        app = self._called_app(call)
        if app is None:
            raise CallRefused("InvalidParameter.NotExistAppId", "The AppId does not exist.")
        if app.access_key_id != call.access_key_id:
            raise CallRefused("AccessDenied.NoPermissionForApp", "The account has no right on this AppId.", 403)

    def _called_app(self, call: ReceivedCall) -> App | None:
        return self._context.apps.get(f"{self.name} {call.params['AppId']}")

    def perform(self, call: ReceivedCall, world: WorldControl) -> Any:
        app = self._called_app(call)
        assert app is not None
        if call.api.operation is Operation.START:
            return self._start_task(call, app, world)
        if call.api.operation is Operation.INSPECT:
            return self._queries.answer(call, app, world)
        task = self._live_task(call, app, world)
        if call.api.operation is Operation.STOP:
            world.stop(task)
        else:
            _update_task(task, call, world)
        return "ok"

    def _start_task(self, call: ReceivedCall, app: App, world: WorldControl) -> str:
        about = identity(call.action, call.params)
        running = self._newest_run(app, about.kind, call.params, world)
        if running is not None and running.is_alive:
            world.repeat(running)
            if call.version < _REPEATS_ALLOWED_SINCE:
                raise CallRefused("InvalidParameter.TaskAlreadyExists", "The task already exists.")
            return replies.STARTED_BEFORE
        if about.robot is not None:
            for other in list(world.tasks.under_robot(app, about.room_id, about.robot)):
                world.end(other, Cause.EVICTED)
        world.start(
            StartOrder(
                kind=about.kind,
                app=app,
                action=call.action,
                version=call.version,
                room_id=about.room_id,
                vendor_task_id=about.vendor_task_id or "",
                robot=about.robot,
                params=call.params,
                lifetime=lifetime_of(about.kind, call.params, self._context),
            )
        )
        return "ok"

    @staticmethod
    def _newest_run(app: App, kind: Kind, params: Mapping[str, Any], world: WorldControl) -> VendorTask | None:
        runs = world.tasks.runs_of(app, params["RoomId"], kind, params["TaskId"])
        return runs[-1] if runs and runs[-1].is_known else None

    def _live_task(self, call: ReceivedCall, app: App, world: WorldControl) -> VendorTask:
        task = self._newest_run(app, call.api.kind, call.params, world)
        if task is None or not task.is_alive:
            raise CallRefused("InvalidParameter.ErrorActiveTaskNotFound", "No active task is found.")
        return task

    def error_reply(self, request: Request, refusal: CallRefused, request_id: str) -> GatewayReply:
        return replies.error_reply(request, refusal, request_id)

    def throttled(self) -> CallRefused:
        return CallRefused("FlowLimitExceeded", "The request is limited by the flow control.", 429)

    def permanent_refusal(self) -> CallRefused:
        return CallRefused("AccessDenied.ServiceNotEnabled", "The service is not enabled for this app.", 403)

    def moments_after_end(self, task: VendorTask) -> list[tuple[int, Moment]]:
        """Returns the uploads after a recording with files."""
        if not task.files:
            return []
        started = task.random.integer_between(1000, 2000)
        done = started + task.random.integer_between(*_UPLOAD_MS) + 1000
        if task.has_late_files:
            return [(started, Moment.UPLOADING), (done, Moment.LATE), (done + _BACKED_UP_MS, Moment.DELIVERED)]
        return [(started, Moment.UPLOADING), (done, Moment.DELIVERED)]

    def files_of(self, task: VendorTask) -> tuple[str, ...]:
        return () if task.cause in (Cause.CRASHED, Cause.REFUSED) else file_names(task)

    def events_of(self, task: VendorTask, moment: Moment, at: int) -> list[tuple[int, OutgoingEvent]]:
        events = []
        for event_type, data, after in self._callback_writer.events(task, moment, at):
            task.callbacks_made += 1
            name = f"{task.order.app.app_id} {task.number} {task.callbacks_made}"
            event_at = self._context.outside_ms(at + after)
            event = OutgoingEvent(app=task.order.app, event_type=event_type, data=data, at=event_at, unique_name=name)
            events.append((after, event))
        return events

    def sign_callback(self, event: OutgoingEvent, sent_at: int) -> tuple[bytes, Mapping[str, str]]:
        return sign_callback(event, self._context.seed, exact=self._context.exact_times)

    def retry_at(self, attempt: int, first_at: int, now: int) -> int | None:
        return now + _PAUSE_MS if attempt < _TRIES else None


def _params_of_query(query: Mapping[str, str]) -> dict[str, Any]:
    return {name: int(value) if name in _NUMBERS and value.isdecimal() else value for name, value in query.items()}


def _params_of_body(body: bytes) -> dict[str, Any]:
    try:
        return json_object(body)
    except NotAnObjectError:
        raise CallRefused("InvalidParameter.Unmarshal", "The body is not a JSON object.") from None


def _update_task(task: VendorTask, call: ReceivedCall, world: WorldControl) -> None:
    """Updates a task. Updates with a SequenceNumber must come in its order. Raises CallRefused."""
    if task.order.action == _SINGLE:
        raise CallRefused("UpdateError.UpdatePushSingleStreamNotSupported", "A single stream's push cannot be updated.")
    number = call.params.get("SequenceNumber")
    if number is not None and task.sequence is not None and number <= task.sequence:
        raise CallRefused("InvalidParameter", "SequenceNumber must grow.")
    task.sequence = number if number is not None else task.sequence
    world.update(task, call.params)
