"""A caller with a simulated vendor, a real ledger, real signatures, and a clock that the test moves."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from adapters.http import HttpReply, NoReply
from adapters.http_messages import HttpRequest, WireError
from adapters.ledger import Ledger, effects, inbox
from adapters.ledger.effects import NewCall
from adapters.ledger.schema import effects as effects_table
from adapters.settings import AccountSettings, AppSettings, Secret, Settings
from adapters.vendors import DIALECTS
from adapters.vendors.accounts import Accounts
from simulator import DEMO_APPS, World
from simulator.plan import STEADY, Faults
from statemachine.calls import Operation, PendingCall
from statemachine.folding.run_view import View
from statemachine.states import Origin, State
from statemachine.tasks import Task, TaskKey
from tests.support import ledger_rows
from tests.support.ledgers import create_schema
from tests.support.start_calls import APPS, URL, params
from tests.support.times import T0
from workers.call.call_builder import build_call
from workers.call.caller import Caller

SETTINGS = Settings(
    accounts=tuple(
        AccountSettings(
            name=f"of {app.vendor}",
            vendor=app.vendor,
            access_key_id=app.access_key_id,
            secret_access_key=Secret(app.secret_access_key),
            endpoint=URL,
        )
        for app in DEMO_APPS
    ),
    apps=tuple(
        AppSettings(
            vendor=app.vendor, app_id=app.app_id, account=f"of {app.vendor}", callback_secrets=(Secret(app.callback_secret),)
        )
        for app in DEMO_APPS
    ),
)


def task_of(vendor: str, action: str, /, number: int = 1, *, operation: Operation = Operation.START, **more: Any) -> Task:
    """A task that was started with this action and whose call of this operation, attempt 1, is pending.

    more: of the task, or `pending`, the fields of its pending call, `known`, the id that the vendor created, or `view`.
    """
    given = params(vendor, action, number)
    about = DIALECTS[vendor].identity(action, given)
    family, app_id = DIALECTS[vendor].family_of(about.kind), APPS[vendor].app_id
    minted = about.vendor_task_id is None
    vendor_task_id = more.pop("known", None) or about.vendor_task_id or f"ours{number}"
    key = TaskKey(vendor=vendor, app_id=app_id, room_id=about.room_id, vendor_task_id=vendor_task_id, family=family)
    if minted:
        key = (
            key.provisional_key(f"ours{number}")
            if vendor_task_id.startswith("ours")
            else TaskKey(**{**_fields(key), "room_id": ""})
        )
    state = State.REQUESTED if operation is Operation.START else State.RUNNING
    view = View(state=state, evidence_at=T0, heard_at=T0, room_id=about.room_id or None, robot=about.robot)
    pending = PendingCall(since=T0, **{"serial": 1, **more.pop("pending", {})})
    values = {"origin": Origin.MANAGED, "kind": about.kind, "action": action, "params": given, "calls": {operation: pending}}
    values |= {"view": view, **more}
    return Task(id=f"{number:026}", key=key, run=1, anchor="k", created_at=T0, updated_at=T0, **values)


def _fields(key: TaskKey) -> dict[str, str]:
    return {name: getattr(key, name) for name in ("vendor", "app_id", "room_id", "vendor_task_id", "family")}


class CallerHarness:
    """now: ms. sent: the requests. before: called with each request before the vendor gets it."""

    def __init__(self, folder: Path, *, faults: Faults | None = None, settings: Settings = SETTINGS) -> None:
        self.now = T0
        self.world = World(7, faults, T0, plan=STEADY)
        self.ledger = Ledger(f"sqlite:///{folder}/tally.db")
        create_schema(self.ledger)
        self.accounts = Accounts(settings)
        self.wake_ups = 0
        self.sent: list[HttpRequest] = []
        self.before: Callable[[HttpRequest], HttpReply | None] = lambda _: None
        self.caller = self.new_caller()

    def new_caller(self, ledger: Any = None, clock: Callable[[], int] | None = None, **more: Any) -> Caller:
        return Caller(ledger or self.ledger, self.accounts, self, clock or (lambda: self.now), self._count_wake_up, **more)

    def _count_wake_up(self) -> None:
        self.wake_ups += 1

    def send(self, request: HttpRequest) -> HttpReply:
        """Sends a request, as `VendorClient` does."""
        self.sent.append(request)
        instead = self.before(request)
        if instead is not None:
            return instead
        parts = urlsplit(request.url)
        vendor = "tencent" if "X-TC-Action" in request.headers else "volcengine"
        reply = self.world.handle(vendor, request.method, parts.path, parts.query, request.headers, request.body, self.now)
        if reply.dropped:
            raise NoReply(WireError.CUT_OFF, "dropped")
        return HttpReply(status=reply.status, headers=reply.headers, body=reply.body)

    def add_calls(self, *tasks: Task, step: Mapping[str, Any] | None = None) -> None:
        """Saves these tasks, and adds their pending calls to the ledger."""
        ledger_rows.save(self.ledger, *tasks)
        with self.ledger.write() as connection:
            effects.add(connection, [self.new_call(task, *call, step) for task in tasks for call in task.calls.items()])

    def new_call(self, task: Task, operation: Operation, pending: PendingCall, step: Mapping[str, Any] | None = None) -> NewCall:
        call = build_call(task, operation, step)
        key = task.key
        return NewCall(
            task_id=task.id,
            serial=pending.serial or 0,
            operation=operation.value,
            step=step,
            vendor=key.vendor,
            app_id=key.app_id,
            family=key.family,
            bucket=self.accounts.quota_bucket(key.vendor, key.app_id, call.action if call else ""),
            due_at=self.now,
        )

    def answers(self) -> list[Mapping[str, Any]]:
        """Returns the answers that were posted and not applied yet, the oldest first."""
        with self.ledger.read() as connection:
            rows = [row for row in inbox.unapplied(connection, 1000, self.now) if row.kind == inbox.ANSWER]
        return [row.payload for row in rows]

    def only_answer(self) -> Mapping[str, Any]:
        (answer,) = self.answers()
        return answer

    def calls_in_ledger(self) -> list[tuple[str, int, bool]]:
        """Returns (task, serial, whether it is claimed) of the calls in the ledger."""
        columns = (effects_table.c.task_id, effects_table.c.serial, effects_table.c.lease_until)
        with self.ledger.read() as connection:
            rows = connection.execute(select(*columns).order_by(effects_table.c.id)).all()
        return [(task_id, serial, lease is not None) for task_id, serial, lease in rows]
