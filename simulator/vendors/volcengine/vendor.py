"""The vendor: what its API does."""

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
from simulator.protocol import EndState, WorldContext, WorldControl
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
#: From this version on a repeated start is no error.
_BEARS_REPEATS = "2023-11-01"
_TRIES = 3
# Not documented; short.
_PAUSE_MS = 2000
_SINGLE = "StartPushSingleStreamToCDN"
_UPLOAD_MS = (400, 8000)
_BACKED_UP_MS = 300_000


class Volcengine:
    name = "volcengine"
    timeout_s = 5.0

    def __init__(self, setting: WorldContext) -> None:
        self._setting = setting
        self._callback_writer = CallbackWriter(setting)
        self._queries = Queries(setting)

    @staticmethod
    def recognizes(request: Request) -> bool:
        return "Action" in parse_qs(request.query)

    def read_call(self, request: Request, now: int) -> ReceivedCall:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        action, version = query.pop("Action", ""), query.pop("Version", "")
        signer = call_verification.verify_call(request, self._setting.secret_of, now)
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

    def check_call(self, asked: ReceivedCall) -> None:
        found = find_problems(asked.api.versions[asked.version], asked.params)
        if found:
            raise CallRefused("InvalidParameter", f"{found[0].field} {found[0].message}")
        app = self._app(asked)
        if app is None:
            raise CallRefused("InvalidParameter.NotExistAppId", "The AppId does not exist.")
        if app.access_key_id != asked.access_key_id:
            raise CallRefused("AccessDenied.NoPermissionForApp", "The account has no right on this AppId.", 403)

    def _app(self, asked: ReceivedCall) -> App | None:
        return self._setting.apps.get(f"{self.name} {asked.params['AppId']}")

    def perform(self, asked: ReceivedCall, hands: WorldControl) -> Any:
        app = self._app(asked)
        assert app is not None
        if asked.api.operation is Operation.START:
            return self._start(asked, app, hands)
        if asked.api.operation is Operation.INSPECT:
            return self._queries.answer(asked, app, hands)
        task = self._live_task(asked, app, hands)
        if asked.api.operation is Operation.STOP:
            hands.stop(task)
        else:
            _update(task, asked, hands)
        return "ok"

    def _start(self, asked: ReceivedCall, app: App, hands: WorldControl) -> str:
        about = identity(asked.action, asked.params)
        running = self._newest(app, about.kind, asked.params, hands)
        if running is not None and running.is_alive:
            hands.repeat(running)
            if asked.version < _BEARS_REPEATS:
                raise CallRefused("InvalidParameter.TaskAlreadyExists", "The task already exists.")
            return replies.STARTED_BEFORE
        if about.robot is not None:
            for other in list(hands.tasks.under_robot(app, about.room_id, about.robot)):
                hands.end(other, Cause.EVICTED)
        hands.start(
            StartOrder(
                kind=about.kind,
                app=app,
                action=asked.action,
                version=asked.version,
                room_id=about.room_id,
                vendor_task_id=about.vendor_task_id or "",
                robot=about.robot,
                params=asked.params,
                lifetime=lifetime_of(about.kind, asked.params, self._setting),
            )
        )
        return "ok"

    @staticmethod
    def _newest(app: App, kind: Kind, params: Mapping[str, Any], hands: WorldControl) -> VendorTask | None:
        runs = hands.tasks.runs_of(app, params["RoomId"], kind, params["TaskId"])
        return runs[-1] if runs and runs[-1].is_known else None

    def _live_task(self, asked: ReceivedCall, app: App, hands: WorldControl) -> VendorTask:
        task = self._newest(app, asked.api.kind, asked.params, hands)
        if task is None or not task.is_alive:
            raise CallRefused("InvalidParameter.ErrorActiveTaskNotFound", "No active task is found.")
        return task

    def success_reply(self, asked: ReceivedCall, result: Any) -> GatewayReply:
        return replies.success_reply(asked, result)

    def error_reply(self, request: Request, refused: CallRefused, request_id: str) -> GatewayReply:
        return replies.error_reply(request, refused, request_id)

    def throttled(self) -> CallRefused:
        return CallRefused("FlowLimitExceeded", "The request is limited by the flow control.", 429)

    def permanent_refusal(self) -> CallRefused:
        return CallRefused("AccessDenied.ServiceNotEnabled", "The service is not enabled for this app.", 403)

    def moments_after_end(self, task: VendorTask) -> list[tuple[int, Moment]]:
        """Uploads follow a recording that left files."""
        if not task.files:
            return []
        begun = task.dice.integer_between(1000, 2000)
        done = begun + task.dice.integer_between(*_UPLOAD_MS) + 1000
        if task.has_late_files:
            return [(begun, Moment.UPLOADING), (done, Moment.LATE), (done + _BACKED_UP_MS, Moment.DELIVERED)]
        return [(begun, Moment.UPLOADING), (done, Moment.DELIVERED)]

    def files_of(self, task: VendorTask) -> tuple[str, ...]:
        return () if task.cause in (Cause.CRASHED, Cause.REFUSED) else file_names(task)

    def events_of(self, task: VendorTask, beat: Moment, at: int) -> list[tuple[int, OutgoingEvent]]:
        found = []
        for event, data, after in self._callback_writer.events(task, beat, at):
            task.callbacks_made += 1
            name = f"{task.order.app.app_id} {task.number} {task.callbacks_made}"
            told = self._setting.outside_ms(at + after)
            found.append((after, OutgoingEvent(app=task.order.app, event=event, data=data, at=told, name=name)))
        return found

    def sign_callback(self, news: OutgoingEvent, sent_at: int) -> tuple[bytes, Mapping[str, str]]:
        return sign_callback(news, self._setting.seed, exact=self._setting.exact_times)

    def retry_at(self, attempt: int, first_at: int, now: int) -> int | None:
        return now + _PAUSE_MS if attempt < _TRIES else None

    def end_from_callbacks(self, task: VendorTask) -> EndState | None:
        return endings.end_from_callbacks(task)

    def end_from_query(self, task: VendorTask) -> EndState | None:
        return endings.end_from_query(task)

    def true_end(self, task: VendorTask) -> EndState | None:
        return endings.true_end(task)


def _params_of_query(query: Mapping[str, str]) -> dict[str, Any]:
    return {name: int(value) if name in _NUMBERS and value.isdecimal() else value for name, value in query.items()}


def _params_of_body(body: bytes) -> dict[str, Any]:
    try:
        return json_object(body)
    except NotAnObjectError:
        raise CallRefused("InvalidParameter.Unmarshal", "The body is not a JSON object.") from None


def _update(task: VendorTask, asked: ReceivedCall, hands: WorldControl) -> None:
    """Updates must come in the order of their SequenceNumber, where they have one."""
    if task.order.action == _SINGLE:
        raise CallRefused("UpdateError.UpdatePushSingleStreamNotSupported", "A single stream's push cannot be updated.")
    number = asked.params.get("SequenceNumber")
    if number is not None and task.sequence is not None and number <= task.sequence:
        raise CallRefused("InvalidParameter", "SequenceNumber must grow.")
    task.sequence = number if number is not None else task.sequence
    hands.update(task, asked.params)
