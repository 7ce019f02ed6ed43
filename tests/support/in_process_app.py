"""A whole Tallylight in one process: a real ledger, the real door and desk, and workers that run when the test calls them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.testclient import TestClient

from adapters.clock_watch import ClockWatch
from adapters.downstream import open_sinks
from adapters.ledger import Ledger
from adapters.ledger.shards import Shards
from adapters.metrics import Metrics
from adapters.settings import Settings, SpoolSettings
from adapters.supervision import Health
from adapters.vendors.accounts import Accounts
from callbacks.app import AppDependencies, make_app
from callbacks.recorder import RecorderLimits
from tests.support.ledgers import create_schema
from tests.support.sample_apps import settings
from workers.apply.applier import Applier
from workers.sweep import Sweep

#: On a busy machine a commit may take seconds; a callback that then went to the spool would be applied later than a test expects.
PATIENT = RecorderLimits(ledger_timeout_s=60, answer_timeout_s=60)


def _uuid() -> str:
    return str(uuid4())


class InProcessApp:
    """Door, desk, applier and sweep on one SQLite ledger.

    now: the wall clock, ms; the test moves it. elapsed_s: the monotonic clock for `clock_watch`, whose thread is not started.
    notified: how often workers were notified.
    """

    def __init__(
        self,
        folder: Path,
        now: int,
        *,
        accounts: bool = False,
        made: Settings | None = None,
        health: Health | None = None,
        random_id: Callable[[], str] = _uuid,
    ) -> None:
        """Creates the ledger in the folder. made: its settings; by default the sample apps, with or without accounts."""
        self.now, self.elapsed_s = now, 0.0
        self.random_id = random_id
        self.clock_watch = ClockWatch(wall=self.clock, elapsed_s=lambda: self.elapsed_s)
        made = made or settings(f"sqlite:///{folder}/tally.db", accounts=accounts)
        self.settings = replace(made, spool=SpoolSettings(folder=f"{folder}/spool"))
        self.ledger = Ledger(self.settings.database.url)
        create_schema(self.ledger)
        self.notified = 0
        self.on_notify: Callable[[], None] = lambda: None
        self.app = make_app(
            AppDependencies(
                ledger=self.ledger,
                settings=self.settings,
                metrics=Metrics(),
                clock=self.clock,
                notify_workers=self._notify,
                accounts=Accounts(self.settings),
                sinks=open_sinks(self.settings),
                limits=PATIENT,
                health=health or Health(),
                clock_watch=self.clock_watch,
                random_id=random_id,
            )
        )
        self.shards = Shards(self.ledger)
        self.applier = Applier(self.ledger, self.clock, Accounts(self.settings), self.shards)
        self.sweep = Sweep(self.ledger, self.applier, self.clock, self.shards)

    def clock(self) -> int:
        return self.now

    def _notify(self) -> None:
        self.notified += 1
        self.on_notify()

    @contextmanager
    def open(self) -> Iterator["InProcessApp"]:
        """Runs the application with a client, until the block ends."""
        with TestClient(self.app, base_url="http://127.0.0.1:8080") as client:
            self.client = client
            yield self
        self.shards.close()
        self.ledger.close()

    def post(self, vendor: str, body: bytes, headers: dict[str, str]) -> int:
        """Posts a callback to the door; returns the status of the answer."""
        return self.client.post(f"/callbacks/{vendor}", content=body, headers=headers).status_code

    def post_and_apply(self, vendor: str, body: bytes, headers: dict[str, str]) -> None:
        """Posts a callback and applies it, without letting deadlines pass."""
        assert self.post(vendor, body, headers) == 200
        self.applier.apply_waiting()

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tasks(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.get("/v1/tasks")["items"]
        return items
