"""A desk over a real SQLite ledger, and ways to put things there."""

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette

from adapters.access.tokens import Tokens
from adapters.downstream import open_sinks
from adapters.ledger import Connection, Ledger, LedgerUnavailableError, events, inbox, lineages, positions, timeline
from adapters.ledger.documents import TaskTexts
from adapters.metrics import Metrics
from adapters.settings import AccountSettings, AppSettings, OutboundSettings, Role, Secret, ServerSettings, Settings, TokenSettings
from adapters.settings import StreamSettings as RedisStreams
from adapters.vendors.accounts import Accounts
from callbacks.desk import Desk, desk_routes, exception_handlers
from callbacks.desk.events.sse import Streams
from callbacks.desk.events.tail import Tail
from callbacks.desk.http.token_guesses import WrongTokenLimiter
from simulator import DEMO_APPS
from statemachine.decide import decide
from statemachine.events import CallbackReceived
from statemachine.facts import Fact, FactKind, File, Output
from statemachine.rules import Rules
from statemachine.states import Kind, OutputState
from statemachine.tasks import Task, TaskKey
from tests.support.ledgers import create_schema
from tests.support.times import T0

TOKENS = {role: f"{role}-0123456789abcdef" for role in Role}
STREAM = "rtmp://push.example.com/live/s1?txSecret=abc"


#: An app without an account, and one that has one, beside the apps that the simulated vendors have.
WATCHED, CALLED = "watched", "app"


def settings(*, tokens: bool = True) -> Settings:
    made = tuple(TokenSettings(name=f"a-{role}", role=role, token=Secret(text)) for role, text in TOKENS.items())
    keys = {"access_key_id": "AK", "secret_access_key": Secret("SK")}
    return Settings(
        tokens=made if tokens else (),
        server=ServerSettings(open_desk=not tokens),
        outbound=OutboundSettings(allow=("127.0.0.0/8",), allow_http=True),
        streams=RedisStreams(url="redis://127.0.0.1:1"),
        accounts=tuple(AccountSettings(name=f"{app.vendor}-1", vendor=app.vendor, **keys) for app in DEMO_APPS),
        apps=(
            *(_app(app.vendor, app.app_id, f"{app.vendor}-1") for app in DEMO_APPS),
            _app("volcengine", CALLED, "volcengine-1"),
            _app("tencent", CALLED, "tencent-1"),
            _app("volcengine", WATCHED, None),
        ),
    )


def _app(vendor: str, app_id: str, account: str | None) -> AppSettings:
    return AppSettings(vendor=vendor, app_id=app_id, account=account, callback_secrets=(Secret("secret"),))


class MoodyLedger(Ledger):
    """A real one that cannot be read, hangs or runs into a bug when told to. `reads`: how often it was to be read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_away = False
        self.bugs = 0
        self.reads = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self.reads += 1
        self.may_go_on.wait()
        if self.is_away:
            raise LedgerUnavailableError("away")
        if self.bugs:
            self.bugs -= 1
            raise RuntimeError("a bug")
        with super().read() as connection:
            yield connection


@dataclass
class DeskHarness:
    """`now`: what the desk's clock says, ms. `notified`: how often the workers were notified."""

    path: Path
    settings: Settings = field(default_factory=settings)
    now: int = T0
    notified: int = 0
    #: (address, why) of each that was refused.
    wrong_tokens: list[tuple[str | None, str]] = field(default_factory=list)
    #: As `Streams` takes them.
    stream_limits: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = MoodyLedger(f"sqlite:///{self.path / 'tally.db'}")
        self.metrics = Metrics()
        self.streams = Streams(Tail(self.ledger, every_s=0.005, away_s=0.005), **self.stream_limits)
        self.desk = Desk(
            ledger=self.ledger,
            settings=self.settings,
            tokens=Tokens(self.settings.tokens),
            metrics=self.metrics,
            clock=lambda: self.now,
            wake_workers=self._ring,
            spool_rows=lambda: 0,
            sinks=open_sinks(self.settings),
            accounts=Accounts(self.settings),
            streams=self.streams,
            on_wrong_token=lambda address, why: self.wrong_tokens.append((address, why)),
            wrong_tokens=WrongTokenLimiter(lambda: self.now / 1000),
        )
        self.app = Starlette(routes=desk_routes(self.desk), exception_handlers=exception_handlers())

    def _ring(self) -> None:
        self.notified += 1

    def ask(self, method: str, path: str, *, role: Role | None = Role.OPERATOR, **more: Any) -> httpx2.Response:
        """headers: a mapping, or pairs where a name comes twice or a value is no ASCII text."""
        given = more.pop("headers", {})
        pairs = list(given.items() if isinstance(given, Mapping) else given)
        token = [("Authorization", f"Bearer {TOKENS[role]}")] if role else []
        return asyncio.run(self._ask(method, path, headers=[*token, *pairs], **more))

    async def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
            return await client.request(method, path, **more)

    def get(self, path: str, *, role: Role | None = Role.OPERATOR, **params: Any) -> httpx2.Response:
        return self.ask("GET", path, role=role, params=params)

    def task(self, name: str = "t1", kind: FactKind = FactKind.MEDIA, **more: Any) -> Task:
        """Puts a task there that one callback told of. more: `at` (ms), parts of its key, of the fact and of the task."""
        key, fact, changes = _parts(name, kind, more)
        empty = lineages.StoredLineage(id=None, version=0, lineage=lineages.Lineage(key=key))
        decision = decide(
            empty.lineage, CallbackReceived(fact=fact), fact.received_at, lambda *_: Rules(), kind=more.get("task_kind", Kind.PUSH)
        )
        (change,) = decision.changes
        task = replace(change.after, **changes)
        with self.ledger.write() as connection:
            lineages.save_if_version(
                connection, [lineages.LineageSave(stored=empty, lineage=decision.lineage, changed=[(None, task)])]
            )
            timeline.append(connection, [timeline.TimelineRow(task_id=task.id, at=self.now, inbox_id=None, entries=change.entries)])
        return task

    def line(self, task: Task, *entries: Mapping[str, Any]) -> None:
        with self.ledger.write() as connection:
            timeline.append(connection, [timeline.TimelineRow(task_id=task.id, at=self.now, inbox_id=None, entries=entries)])

    def tell(self, *tasks: Task, type_: str = "tally.task.running") -> list[int]:
        """Puts an event there for each of these tasks; their positions."""
        told = [
            events.TaskEvent(task=task, type=type_, at=self.now, previous_state=None, cause={"kind": "callback", "id": "7"})
            for task in tasks
        ]
        with self.ledger.write() as connection:
            events.append(connection, told, TaskTexts())
            last = positions.newest(connection)
        return list(range(last - len(tasks) + 1, last + 1))

    def callback(self, number: int, body: bytes = b"{}", **more: Any) -> int:
        """Puts a callback there, settled where a verdict is given; its id."""
        arrival = inbox.Arrival(
            vendor=more.get("vendor", "volcengine"),
            app_id="app",
            event_type=more.get("event_type", "TranscodeStarted"),
            dedupe_key=f"{number:064x}",
            received_at=more.get("received_at", T0 + number * 1000),
            headers={"x-signature": "sig"},
            body=body,
        )
        with self.ledger.write() as connection:
            inbox.record(connection, [arrival])
            row = max(inbox.unapplied(connection, 10_000), key=lambda row: row.id)
            if "verdict" in more:
                settled = {name: more[name] for name in ("verdict", "task_id", "reason", "error", "event_at") if name in more}
                inbox.write_results(connection, [inbox.AppliedRow(id=row.id, applied_at=self.now, **settled)])
        return row.id

    def waiting(self) -> list[inbox.InboxRow]:
        with self.ledger.read() as connection:
            return inbox.unapplied(connection, 10_000)

    def pages(self, path: str, **params: Any) -> Iterable[list[dict[str, Any]]]:
        """Page after page of a list."""
        cursor = None
        while True:
            said = self.get(path, **params, **({"cursor": cursor} if cursor else {})).json()
            yield said["items"]
            if (cursor := said["next_cursor"]) is None:
                return


def _parts(name: str, kind: FactKind, more: Mapping[str, Any]) -> tuple[TaskKey, Fact, dict[str, Any]]:
    at = more.get("at", T0)
    key = TaskKey(
        vendor=more.get("vendor", "volcengine"),
        app_id=more.get("app_id", "app"),
        room_id=more.get("room_id", "room"),
        vendor_task_id=name,
        family=more.get("task_kind", Kind.PUSH).value,
    )
    told = {name: more[name] for name in ("outcome", "message", "code", "files", "output") if name in more}
    told.setdefault("output", Output(url=STREAM, state=OutputState.RUNNING) if kind is FactKind.MEDIA else None)
    fact = Fact(kind=kind, at=at, received_at=at, key=f"k-{name}", source="1", opens=True, **told)
    changes = {name: more[name] for name in ("params", "policy", "action", "origin", "anomalies", "merged_into") if name in more}
    return key, fact, changes


def made(path: Path, *, tokens: bool = True, **more: Any) -> DeskHarness:
    """more: fields of it."""
    world = DeskHarness(path, settings(tokens=tokens), **more)
    create_schema(world.ledger)
    return world


def fields_of(answer: httpx2.Response) -> dict[str, str]:
    """field -> message of a 422."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {error["field"]: error["message"] for error in json.loads(answer.text)["errors"]}


A_FILE = File(name="a.mp4", url="https://vod.example.com/bucket/a.mp4?sign=abc", started_at=T0, size_bytes=7)
