"""Lists must cost what a page costs, not what the ledger holds: times them on an almost empty ledger and on a full one.

    .venv/bin/python tests/benchmarks/pages.py [--tasks N] [--callbacks N] [--rounds N] [--almost-empty N]

A case passes if its median on the full ledger is at most three times the one on the almost empty ledger, or at most 5 ms. The
requests go through the whole application, without a network.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from adapters.clock import to_rfc3339  # noqa: E402
from adapters.downstream import open_sinks  # noqa: E402
from adapters.ledger import Ledger  # noqa: E402
from adapters.metrics import Metrics  # noqa: E402
from adapters.settings import DatabaseSettings, ServerSettings, Settings  # noqa: E402
from adapters.vendors.accounts import Accounts  # noqa: E402
from callbacks.app import AppDependencies, make_app  # noqa: E402
from callbacks.desk.http import cursors  # noqa: E402
from tests.benchmarks.filling import APPS, DAY, NOW, Filled, fill  # noqa: E402

_RATIO = 3.0
_ENOUGH_MS = 5.0
_WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request. `path`: what is asked of a ledger that was filled so."""

    name: str
    path: Callable[[Filled], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Times in ms."""

    name: str
    almost_empty: float
    full: float
    full_p99: float
    items: int | None

    @property
    def ratio(self) -> float:
        return self.full / self.almost_empty

    @property
    def passes(self) -> bool:
        return self.ratio <= _RATIO or self.full <= _ENOUGH_MS


def cases() -> list[Case]:
    return [*_of_tasks(), *_of_callbacks(), _case("stats", "/v1/stats")]


def _of_tasks() -> Iterator[Case]:
    ago = [to_rfc3339(NOW - days * DAY) for days in (0, 1, 20, 21)]
    for name, query in (
        ("all", {}),
        ("vendor", {"vendor": "tencent"}),
        ("kind", {"kind": "page"}),
        ("state common", {"state": "completed"}),
        ("state live", {"state": "running"}),
        ("state rare", {"state": "lost"}),
        ("state repeated", {"state": ["failed", "expired", "interrupted"]}),
        ("app_id", {"app_id": APPS[1][1]}),
        ("reason common", {"reason": "stop_requested"}),
        ("reason rare", {"reason": "token_error"}),
        ("reason none has", {"reason": "evicted"}),
        ("origin", {"origin": "observed"}),
        ("anomaly", {"anomaly": "zombie"}),
        ("live", {"live": "true"}),
        ("live=false", {"live": "false"}),
        ("vendor_task_id shared by many", {"vendor_task_id": "push-1"}),
        ("vendor_task_id, rare state", {"vendor_task_id": "push-1", "state": "lost"}),
        ("room_id shared by many", {"room_id": "room-00001"}),
        ("room_id, rare reason", {"room_id": "room-00001", "reason": "token_error"}),
        ("room_id, empty intersection", {"room_id": "room-00001", "vendor": "volcengine"}),
        ("created in a day", {"created_after": ago[3], "created_before": ago[2]}),
        ("created in a day, rare state", {"created_after": ago[3], "created_before": ago[2], "state": "lost"}),
        ("created long ago, live", {"created_before": ago[2], "live": "true"}),
        ("q short, all", {"q": "r"}),
        ("q short, rare state", {"q": "r", "state": "lost"}),
        ("q short, empty intersection", {"q": "page-", "kind": "push"}),
        ("q app", {"q": "1400"}),
        ("q app, rare reason", {"q": "1400", "reason": "unsupported_codec"}),
        ("q id's beginning", {"q": "01"}),
        ("q none has", {"q": "nobody"}),
        ("q prefix of some", {"q": "room-00002-"}),
        ("rare and rare", {"state": "lost", "reason": "silent", "kind": "page", "origin": "observed"}),
        ("empty intersection", {"state": "running", "reason": "token_error"}),
        ("empty intersection of common ones", {"vendor": "tencent", "app_id": APPS[0][1], "origin": "managed"}),
        (
            "six filters",
            {"vendor": "volcengine", "kind": "push", "state": "stopped", "origin": "managed", "live": "false", "q": "room-0"},
        ),
    ):
        yield _case(f"tasks {name}", "/v1/tasks", query)
    yield Case(name="tasks q whole id", path=lambda filled: f"/v1/tasks?q={filled.middle.id}")
    yield Case(name="tasks q whole room", path=lambda filled: f"/v1/tasks?{urlencode({'q': _room(filled)})}")
    yield Case(name="tasks deep cursor", path=lambda filled: f"/v1/tasks?cursor={_cursor(filled)}")
    yield Case(name="tasks deep cursor, state", path=lambda filled: f"/v1/tasks?cursor={_cursor(filled)}&state=failed")
    yield Case(name="tasks deep cursor, live", path=lambda filled: f"/v1/tasks?cursor={_cursor(filled)}&live=true")
    yield Case(name="task", path=lambda filled: f"/v1/tasks/{filled.middle.id}")
    yield Case(name="timeline", path=lambda filled: f"/v1/tasks/{filled.middle.id}/timeline")


def _of_callbacks() -> Iterator[Case]:
    ago = [to_rfc3339(NOW - days * DAY) for days in (0, 1, 20, 21)]
    for name, query in (
        ("all", {}),
        ("vendor", {"vendor": "tencent"}),
        ("verdict common", {"verdict": "applied"}),
        ("verdict rare", {"verdict": "unknown"}),
        ("event_type", {"event_type": "RelayStreamStateChanged"}),
        ("event_type none has", {"event_type": "Nothing"}),
        ("vendor, verdict", {"vendor": "volcengine", "verdict": "anomaly"}),
        ("vendor, verdict, event_type", {"vendor": "volcengine", "verdict": "stale", "event_type": "TranscodeStopped"}),
        ("empty intersection", {"vendor": "tencent", "event_type": "RelayStreamStateChanged"}),
        ("empty intersection, verdict", {"verdict": "applied", "event_type": "SomethingNew"}),
        ("received in a day", {"received_after": ago[3], "received_before": ago[2]}),
        ("received in a day, rare verdict", {"received_after": ago[3], "received_before": ago[2], "verdict": "unknown"}),
        ("received long ago, event_type", {"received_before": ago[2], "event_type": "401"}),
    ):
        yield _case(f"callbacks {name}", "/v1/callbacks", query)
    yield Case(name="callbacks task_id", path=lambda filled: f"/v1/callbacks?task_id={filled.middle.id}")
    yield Case(name="callbacks task_id, verdict", path=lambda filled: f"/v1/callbacks?verdict=stale&task_id={filled.middle.id}")
    yield Case(
        name="callbacks deep cursor",
        path=lambda filled: f"/v1/callbacks?verdict=stale&cursor={cursors.encode(filled.middle.created_at, 10**9)}",
    )


def _case(name: str, path: str, query: dict[str, Any] | None = None) -> Case:
    asked = f"{path}?{urlencode(query, doseq=True)}" if query else path
    return Case(name=name, path=lambda _filled: asked)


def _room(filled: Filled) -> str:
    return filled.middle.key.room_id or filled.middle.view.room_id or ""


def _cursor(filled: Filled) -> str:
    return cursors.encode(filled.middle.id)


class House:
    """A ledger with the application before it. `client`: who asks it, by ASGI, without a network."""

    def __init__(self, folder: Path, *, tasks: int, callbacks: int) -> None:
        url = f"sqlite:///{folder}/tally.db"
        self.ledger = Ledger(url)
        self.filled = fill(self.ledger, tasks_wanted=tasks, callbacks_wanted=callbacks)
        settings = Settings(server=ServerSettings(open_desk=True), database=DatabaseSettings(url=url))
        self._app = make_app(
            AppDependencies(
                ledger=self.ledger,
                settings=settings,
                metrics=Metrics(),
                clock=lambda: NOW,
                notify_workers=lambda: None,
                accounts=Accounts(settings),
                sinks=open_sinks(settings),
            )
        )

    async def get(self, path: str) -> tuple[int, bytes]:
        """(status, body)"""
        route, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": route,
            "raw_path": route.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1:8080")],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8080),
        }
        sent: list[Any] = []
        received = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            """The request, and then nothing: the client stays. The desk waits for it to go while it reads."""
            return next(received, None) or await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def measure(almost_empty: House, full: House, rounds: int) -> list[Result]:
    """Asks both in turn, so that whatever else the machine does slows down both."""
    results = []
    for case in cases():
        small, large = [], []
        items = None
        for number in range(_WARM_UP + rounds):
            took_small, _ = await _took(almost_empty, case)
            took_large, items = await _took(full, case)
            if number >= _WARM_UP:
                small.append(took_small)
                large.append(took_large)
        results.append(Result(name=case.name, almost_empty=median(small), full=median(large), full_p99=_p99(large), items=items))
    return results


async def _took(house: House, case: Case) -> tuple[float, int | None]:
    """(ms, how many items were answered)"""
    path = case.path(house.filled)
    begin = time.perf_counter()
    status, body = await house.get(path)
    took = (time.perf_counter() - begin) * 1000
    assert status == 200, (path, status, body)
    return took, body.count(b'"received_at":') or body.count(b'"created_at":') or None


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def show(results: Sequence[Result]) -> None:
    print(f"{'case':45}{'items':>6}{'almost empty':>14}{'full':>9}{'p99':>9}{'ratio':>7}  (ms)")
    for result in results:
        items = "" if result.items is None else result.items
        print(
            f"{result.name:45}{items:>6}{result.almost_empty:14.2f}{result.full:9.2f}{result.full_p99:9.2f}{result.ratio:7.1f}"
            f"  {'pass' if result.passes else 'FAIL'}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--callbacks", type=int, default=1_000_000)
    parser.add_argument("--almost-empty", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder:
        begin = time.perf_counter()
        almost_empty = _house(Path(folder) / "almost-empty", options.almost_empty, options.almost_empty * 10)
        full = _house(Path(folder) / "full", options.tasks, options.callbacks)
        print(f"{full.filled.tasks} tasks, {full.filled.callbacks} callbacks; filled in {time.perf_counter() - begin:.0f} s")
        results = asyncio.run(measure(almost_empty, full, options.rounds))
        almost_empty.ledger.close()
        full.ledger.close()
    show(results)
    return 0 if all(result.passes for result in results) else 1


def _house(folder: Path, tasks: int, callbacks: int) -> House:
    folder.mkdir()
    return House(folder, tasks=tasks, callbacks=callbacks)


if __name__ == "__main__":
    sys.exit(main())
