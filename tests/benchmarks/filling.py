"""Fills a ledger with tasks and callbacks as a real house would have them, by the hundred thousand and quickly."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Table

from adapters.ledger import Ledger, facets
from adapters.ledger.counters import add
from adapters.ledger.documents import json_text, task_text
from adapters.ledger.facets import facet_of
from adapters.ledger.lineages import key_hash
from adapters.ledger.migrate import upgrade
from adapters.ledger.schema import deadlines, inbox, lineages, tasks, timeline
from statemachine.facts import File, Output
from statemachine.folding.run_view import View
from statemachine.states import LIVE, Anomaly, Deadline, FileState, Kind, Origin, OutputState, Reason, State
from statemachine.tasks import Task, TaskKey, task_id

DAY = 86_400_000
#: The newest task is about this old.
NOW = 1_800_000_000_000
_DAYS = 60
APPS = (("volcengine", "661e0000000000000000543c"), ("volcengine", "661e0000000000000000999a"), ("tencent", "1400000001"))
#: (state, reason, weight) of tasks that ended.
_ENDS = [
    (State.COMPLETED, Reason.SOURCE_FINISHED, 3000),
    (State.COMPLETED, Reason.FILES_DELIVERED, 2400),
    (State.COMPLETED, Reason.NO_FILES, 120),
    (State.COMPLETED, Reason.FILES_UNKNOWN, 60),
    (State.STOPPED, Reason.STOP_REQUESTED, 2600),
    (State.STOPPED, Reason.ROOM_DISMISSED, 500),
    (State.STOPPED, Reason.UNSTATED, 300),
    (State.FAILED, Reason.VENDOR_ERROR, 260),
    (State.FAILED, Reason.BAD_SOURCE, 180),
    (State.FAILED, Reason.START_REFUSED, 60),
    (State.FAILED, Reason.TOKEN_ERROR, 12),
    (State.FAILED, Reason.UNSUPPORTED_CODEC, 5),
    (State.EXPIRED, Reason.MAX_LIFETIME, 150),
    (State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME, 300),
    (State.LOST, Reason.UNKNOWN_TO_VENDOR, 6),
    (State.LOST, Reason.SILENT, 1),
]
_LIVES = [
    (State.RUNNING, 80),
    (State.INTERRUPTED, 6),
    (State.ACCEPTED, 4),
    (State.REQUESTED, 3),
    (State.STOPPING, 1),
    (State.FINISHING, 6),
]
_EVENTS: Mapping[tuple[str, Kind], Sequence[str]] = {
    ("volcengine", Kind.PUSH): ("TranscodeStarted", "TranscodeStateChanged", "TranscodeUpdated", "TranscodeStopped"),
    ("volcengine", Kind.INGEST): ("RelayStreamStateChanged",),
    ("volcengine", Kind.RECORD): ("RecordStarted", "RecordUploading", "RecordUploadDone", "RecordStopped"),
    ("volcengine", Kind.PAGE): ("WebRecordResult", "WebcastStateChanged"),
    ("tencent", Kind.PUSH): ("401",),
    ("tencent", Kind.INGEST): ("701", "702"),
    ("tencent", Kind.RECORD): ("301", "302", "305", "306", "307", "308", "310", "311"),
    ("tencent", Kind.PAGE): ("801", "802", "803", "804"),
}
_VERDICTS = ["applied"] * 8000 + ["stale"] * 1500 + ["ignored"] * 480 + ["anomaly"] * 15 + ["unknown"] * 5
_CHUNK = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What a benchmark needs to know of what is there. `middle`: a task halfway down."""

    tasks: int
    callbacks: int
    newest: Task
    middle: Task


def fill(ledger: Ledger, *, tasks_wanted: int, callbacks_wanted: int, seed: int = 1) -> Filled:
    """Fills an empty ledger. The same seed gives the same."""
    upgrade(ledger)
    made = _made(random.Random(seed), tasks_wanted)
    each = max(1, callbacks_wanted // tasks_wanted)
    middle = newest = None
    count = 0
    while chunk := list(islice(made, _CHUNK)):
        _save(ledger, chunk, count, each, random.Random(seed + count + 1))
        count += len(chunk)
        newest = chunk[-1]
        if middle is None and count >= tasks_wanted // 2:
            middle = newest
    assert newest is not None
    assert middle is not None
    return Filled(tasks=count, callbacks=count * each, newest=newest, middle=middle)


def _made(rng: random.Random, number: int) -> Iterator[Task]:
    """Tasks, the oldest first."""
    for index in range(number):
        at = NOW - (number - index) * _DAYS * DAY // number
        vendor, app_id = rng.choices(APPS, (5, 1, 4))[0]
        kind = rng.choices(list(Kind), (50, 20, 25, 5))[0]
        yield _task(rng, vendor, app_id, kind, at, index)


def _task(rng: random.Random, vendor: str, app_id: str, kind: Kind, at: int, index: int) -> Task:
    room = f"room-{int(rng.paretovariate(0.6)) % 30_000:05d}"
    own = vendor == "volcengine"
    vendor_task_id = f"{kind.value}-{rng.randrange(4)}" if own else "".join(rng.choices("abcdefXYZ0123456789-_", k=64))
    key = TaskKey(
        vendor=vendor,
        app_id=app_id,
        room_id=f"{room}-{index}" if own else "",
        vendor_task_id=vendor_task_id,
        family=kind.value,
    )
    # Live ones are new, but for a few that nobody ever stopped.
    live = rng.random() < (0.7 if at > NOW - DAY // 4 else 0.0005)
    state, reason = _standing(rng, live)
    view = _view(rng, state, reason, room, kind, at)
    managed = rng.random() < 0.7
    return Task(
        id=task_id(key, f"k{index}", at),
        key=key,
        run=1,
        kind=kind,
        origin=Origin.MANAGED if managed else Origin.OBSERVED,
        anchor=f"k{index}",
        view=view,
        anomalies=(rng.choice([*Anomaly]),) if rng.random() < 0.001 else (),
        deadlines={Deadline.SILENCE: NOW + rng.randrange(DAY)} if live else {},
        action="StartPushMixedStreamToCDN" if managed else None,
        params={"RoomId": room, "TaskId": vendor_task_id, "Layout": {"Width": 1280, "Height": 720}} if managed else {},
        created_at=at,
        updated_at=at + 600_000,
        version=rng.randrange(3, 9),
    )


def _standing(rng: random.Random, live: bool) -> tuple[State, Reason | None]:
    if live:
        return rng.choices([state for state, _ in _LIVES], [weight for _, weight in _LIVES])[0], None
    state, reason, _ = rng.choices(_ENDS, [weight for *_, weight in _ENDS])[0]
    return state, reason


def _view(rng: random.Random, state: State, reason: Reason | None, room: str, kind: Kind, at: int) -> View:
    outputs: tuple[Output, ...] = ()
    files: tuple[File, ...] = ()
    if kind is Kind.PUSH:
        shown = OutputState.RUNNING if state in LIVE else OutputState.ENDED
        outputs = (Output(url=f"rtmp://push.example.com/live/{room}?key={rng.randrange(10**9)}", state=shown),)
    if kind is Kind.RECORD and state not in LIVE:
        name = f"{room}/{rng.randrange(10**12)}.mp4"
        files = (File(name=name, state=FileState.DELIVERED, duration_ms=600_000, size_bytes=rng.randrange(10**8)),)
    return View(
        state=state,
        reason=reason,
        outputs=outputs,
        files=files,
        room_id=room,
        robot=f"robot-{rng.randrange(10**6)}",
        running_at=at + 2_000,
        ended_at=None if state in LIVE else at + 600_000,
        started_at=at,
        evidence_at=at + 600_000,
        heard_at=at + 600_050,
    )


def _save(ledger: Ledger, chunk: Sequence[Task], first: int, each: int, rng: random.Random) -> None:
    """first: how many tasks were saved before."""
    heard = _heard(chunk, each, rng)
    begin = first * each + 1
    with ledger.write() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    with ledger.write() as connection:

        def put(table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
            if rows:
                names = list(rows[0])
                statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
                connection.exec_driver_sql(statement, [tuple(row.values()) for row in rows])

        put(lineages, [_lineage_row(task, first + number + 1) for number, task in enumerate(chunk)])
        put(tasks, [_task_row(task, first + number + 1) for number, task in enumerate(chunk)])
        put(
            deadlines,
            [{"task_id": task.id, "kind": kind.value, "due_at": at} for task in chunk for kind, at in task.deadlines.items()],
        )
        put(inbox, [row for row, _ in heard])
        put(timeline, [_line(task, row, begin + number) for number, (row, task) in enumerate(heard)])
        facets.add_counts(connection, Counter(facet for task in chunk if (facet := facet_of(task)) is not None))
        add(connection, "verdict", Counter(f"{row['vendor']}/{row['verdict']}" for row, _ in heard))
        add(connection, "received", {"all": len(heard)})


def _lineage_row(task: Task, number: int) -> dict[str, Any]:
    key = {name: getattr(task.key, name) for name in TaskKey.__slots__}
    return {
        "id": number,
        "key_hash": key_hash(task.key),
        **key,
        "facts": "[]",
        "sealed_runs": 0,
        "sealed_until": 0,
        "version": task.version,
    }


def _task_row(task: Task, lineage_id: int) -> dict[str, Any]:
    facet = facet_of(task)
    return {
        "id": task.id,
        "lineage_id": lineage_id,
        "run": task.run,
        "vendor": task.key.vendor,
        "kind": task.kind.value,
        "app_id": task.key.app_id,
        "room_id": task.key.room_id or task.view.room_id,
        "vendor_task_id": task.key.vendor_task_id,
        "origin": task.origin.value,
        "state": task.view.state.value,
        "reason": task.view.reason.value if task.view.reason else None,
        "created_at": task.created_at,
        "facet": facet.number if facet else None,
        "doc": task_text(task),
    }


def _heard(chunk: Sequence[Task], each: int, rng: random.Random) -> list[tuple[dict[str, Any], Task]]:
    """Callbacks with their tasks, in the order in which they were received."""
    heard = [(_callback_row(task, task.created_at + step * 60_000, rng), task) for task in chunk for step in range(each)]
    return sorted(heard, key=lambda item: int(item[0]["received_at"]))


def _callback_row(task: Task, at: int, rng: random.Random) -> dict[str, Any]:
    vendor, verdict = task.key.vendor, rng.choice(_VERDICTS)
    event_type = rng.choice(_EVENTS[vendor, task.kind])
    if verdict == "unknown":
        event_type = "SomethingNew"
    body = {
        "EventType": event_type,
        "EventTime": at,
        "EventId": rng.randrange(10**15),
        "AppId": task.key.app_id,
        "EventData": {"RoomId": task.view.room_id, "TaskId": task.key.vendor_task_id, "Status": 2, "Reason": "", "Timestamp": at},
        "Signature": f"{rng.getrandbits(256):064x}",
    }
    return {
        "kind": "callback",
        "dedupe_key": rng.randbytes(32),
        "vendor": vendor,
        "app_id": task.key.app_id,
        "event_type": event_type,
        "received_at": at,
        "headers": '{"Content-Type": "application/json", "User-Agent": "Go-http-client/1.1", "X-Forwarded-For": "203.0.113.7"}',
        "body": json.dumps(body).encode(),
        "event_at": at - 300,
        "verdict": verdict,
        "task_id": None if verdict in ("ignored", "unknown") else task.id,
        "applied_at": at + 20,
    }


def _line(task: Task, row: Mapping[str, Any], inbox_id: int) -> dict[str, Any]:
    entry = {
        "kind": "callback",
        "callback_id": str(inbox_id),
        "event_at": row["event_at"],
        "verdict": row["verdict"],
        "says": "media",
    }
    move = {"kind": "move", "from": "accepted", "to": task.view.state.value}
    return {"task_id": task.id, "at": row["applied_at"], "inbox_id": inbox_id, "entries": json_text([entry, move])}
