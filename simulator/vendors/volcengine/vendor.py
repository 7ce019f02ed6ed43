"""The vendor: what its API does."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from adapters.vendors.calls import Operation
from adapters.vendors.json_fields import NotAnObjectError, json_object
from adapters.vendors.parameters import problems
from adapters.vendors.volcengine.api import API
from adapters.vendors.volcengine.requests import identity
from simulator.messages import Asked, News, Refused, Reply, Request
from simulator.plan import Cause
from simulator.protocol import Hands, Said, Setting
from simulator.tasks import App, Beat, Order, Task
from simulator.vendors.volcengine import call_verification, endings, replies
from simulator.vendors.volcengine.callback_signing import sealed
from simulator.vendors.volcengine.callbacks import Teller
from simulator.vendors.volcengine.files import names_of
from simulator.vendors.volcengine.lifetimes import nature_of
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

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._teller = Teller(setting)
        self._queries = Queries(setting)

    @staticmethod
    def recognises(request: Request) -> bool:
        return "Action" in parse_qs(request.query)

    def read(self, request: Request, now: int) -> Asked:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        action, version = query.pop("Action", ""), query.pop("Version", "")
        signer = call_verification.verified(request, self._setting.secret, now)
        api = API.get(action)
        if api is None or version not in api.versions:
            raise Refused("InvalidActionOrVersion", f"Could not find operation {action} for version {version}.", 404)
        if request.method != api.method:
            raise Refused("MethodNotAllowed", f"{action} must be called by {api.method}.", 405)
        return Asked(
            action=action,
            version=version,
            api=api,
            access_key_id=signer.access_key_id,
            region=signer.region,
            params=_of_query(query) if api.method == "GET" else _of_body(request.body),
            request_id="",
        )

    def check(self, asked: Asked) -> None:
        found = problems(asked.api.versions[asked.version], asked.params)
        if found:
            raise Refused("InvalidParameter", f"{found[0].field} {found[0].message}")
        app = self._app(asked)
        if app is None:
            raise Refused("InvalidParameter.NotExistAppId", "The AppId does not exist.")
        if app.access_key_id != asked.access_key_id:
            raise Refused("AccessDenied.NoPermissionForApp", "The account has no right on this AppId.", 403)

    def _app(self, asked: Asked) -> App | None:
        return self._setting.apps.get(f"{self.name} {asked.params['AppId']}")

    def perform(self, asked: Asked, hands: Hands) -> Any:
        app = self._app(asked)
        assert app is not None
        if asked.api.operation is Operation.START:
            return self._start(asked, app, hands)
        if asked.api.operation is Operation.INSPECT:
            return self._queries.answer(asked, app, hands)
        task = self._living(asked, app, hands)
        if asked.api.operation is Operation.STOP:
            hands.stop(task)
        else:
            _update(task, asked, hands)
        return "ok"

    def _start(self, asked: Asked, app: App, hands: Hands) -> str:
        about = identity(asked.action, asked.params)
        running = self._newest(app, about.kind, asked.params, hands)
        if running is not None and running.alive:
            hands.repeat(running)
            if asked.version < _BEARS_REPEATS:
                raise Refused("InvalidParameter.TaskAlreadyExists", "The task already exists.")
            return replies.STARTED_BEFORE
        if about.robot is not None:
            for other in list(hands.tasks.under_robot(app, about.room_id, about.robot)):
                hands.end(other, Cause.EVICTED)
        hands.start(
            Order(
                kind=about.kind,
                app=app,
                action=asked.action,
                version=asked.version,
                room_id=about.room_id,
                vendor_task_id=about.vendor_task_id or "",
                robot=about.robot,
                params=asked.params,
                nature=nature_of(about.kind, asked.params, self._setting),
            )
        )
        return "ok"

    @staticmethod
    def _newest(app: App, kind: Kind, params: Mapping[str, Any], hands: Hands) -> Task | None:
        runs = hands.tasks.runs(app, params["RoomId"], kind, params["TaskId"])
        return runs[-1] if runs and runs[-1].known else None

    def _living(self, asked: Asked, app: App, hands: Hands) -> Task:
        task = self._newest(app, asked.api.kind, asked.params, hands)
        if task is None or not task.alive:
            raise Refused("InvalidParameter.ErrorActiveTaskNotFound", "No active task is found.")
        return task

    def reply(self, asked: Asked, result: Any) -> Reply:
        return replies.done(asked, result)

    def refusal(self, request: Request, refused: Refused, request_id: str) -> Reply:
        return replies.failed(request, refused, request_id)

    def too_many(self) -> Refused:
        return Refused("FlowLimitExceeded", "The request is limited by the flow control.", 429)

    def refused_for_good(self) -> Refused:
        return Refused("AccessDenied.ServiceNotEnabled", "The service is not enabled for this app.", 403)

    def afterwards(self, task: Task) -> list[tuple[int, Beat]]:
        """Uploads follow a recording that left files."""
        if not task.files:
            return []
        begun = task.dice.within(1000, 2000)
        done = begun + task.dice.within(*_UPLOAD_MS) + 1000
        if task.late:
            return [(begun, Beat.UPLOADING), (done, Beat.LATE), (done + _BACKED_UP_MS, Beat.DELIVERED)]
        return [(begun, Beat.UPLOADING), (done, Beat.DELIVERED)]

    def files_of(self, task: Task) -> tuple[str, ...]:
        return () if task.cause in (Cause.CRASHED, Cause.REFUSED) else names_of(task)

    def news(self, task: Task, beat: Beat, at: int) -> list[tuple[int, News]]:
        found = []
        for event, data, after in self._teller.events(task, beat, at):
            task.told += 1
            name = f"{task.order.app.app_id} {task.number} {task.told}"
            told = self._setting.told(at + after)
            found.append((after, News(app=task.order.app, event=event, data=data, at=told, name=name)))
        return found

    def sealed(self, news: News, sent_at: int) -> tuple[bytes, Mapping[str, str]]:
        return sealed(news, self._setting.seed, exact=self._setting.exact)

    def retry_at(self, attempt: int, first_at: int, now: int) -> int | None:
        return now + _PAUSE_MS if attempt < _TRIES else None

    def said(self, task: Task) -> Said | None:
        return endings.said(task)

    def answered(self, task: Task) -> Said | None:
        return endings.answered(task)

    def truth(self, task: Task) -> Said | None:
        return endings.truth(task)


def _of_query(query: Mapping[str, str]) -> dict[str, Any]:
    return {name: int(value) if name in _NUMBERS and value.isdecimal() else value for name, value in query.items()}


def _of_body(body: bytes) -> dict[str, Any]:
    try:
        return json_object(body)
    except NotAnObjectError:
        raise Refused("InvalidParameter.Unmarshal", "The body is not a JSON object.") from None


def _update(task: Task, asked: Asked, hands: Hands) -> None:
    """Updates must come in the order of their SequenceNumber, where they have one."""
    if task.order.action == _SINGLE:
        raise Refused("UpdateError.UpdatePushSingleStreamNotSupported", "A single stream's push cannot be updated.")
    number = asked.params.get("SequenceNumber")
    if number is not None and task.sequence is not None and number <= task.sequence:
        raise Refused("InvalidParameter", "SequenceNumber must grow.")
    task.sequence = number if number is not None else task.sequence
    hands.update(task, asked.params)
