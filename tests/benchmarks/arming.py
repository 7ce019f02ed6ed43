"""Fills a ledger with live tasks by the million, each with its deadlines armed.

One task of each kind is made by callbacks that the real door hears and the real applier applies. The others are copies of its rows
under another name, moved in time as a whole, so that the soonest deadline falls due when it is wanted.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from adapters.clock import to_rfc3339
from adapters.ledger import Connection, Ledger, facets
from adapters.ledger.facets import Facet
from adapters.ledger.lineages import key_hash
from adapters.ledger.migrate import upgrade
from adapters.ledger.schema import deadlines, lineages, tasks, timeline
from adapters.ledger.schema import facets as facets_table
from adapters.settings import AccountSettings, AppSettings, Secret, Settings
from statemachine.tasks import TaskKey, task_id
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import TENCENT_KEY, VOLCENGINE_KEY, tencent, volcengine

#: A benchmark's time begins here, ms.
NOW = 1_800_000_000_000
DAY = 86_400_000
#: (vendor, secret, the app whose tasks can be asked, the app that has no account)
_APPS = (("volcengine", VOLCENGINE_KEY, "own", "foreign"), ("tencent", TENCENT_KEY, "1400000001", "1400000002"))
#: Stands in each text of the task that is copied, where a copy has its own name.
_NAME = "name-of-the-task"
_MS = re.compile(r"(?<=[:,\[])1[0-9]{12}(?=[,}\]])")
_CHUNK = 5_000

Callback = tuple[str, bytes, dict[str, str]]
Row = dict[str, Any]


class Sort(StrEnum):
    """What becomes of a task when its soonest deadline is due."""

    #: `silence`, `recovery` or `start_confirm` of a task that has no account: some are marked as unheard.
    MARKED = "cannot be asked"
    #: `recovery` or `start_confirm` of a task that has one: a call is to be made.
    ASKED = "can be asked"
    #: None of it for now: its soonest deadline is a day after its last news.
    STANDING = "standing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A task to be made. `due_at`: of its soonest deadline, ms."""

    sort: Sort
    due_at: int


def settings(url: str) -> Settings:
    made = Settings()
    apps = [
        AppSettings(vendor=vendor, app_id=app, account=vendor if app == own else None, callback_secrets=(Secret(secret),))
        for vendor, secret, own, foreign in _APPS
        for app in (own, foreign)
    ]
    accounts = [
        AccountSettings(name=vendor, vendor=vendor, access_key_id="AK", secret_access_key=Secret("SK")) for vendor, *_ in _APPS
    ]
    return replace(made, accounts=tuple(accounts), apps=tuple(apps), database=replace(made.database, url=url))


def standing(number: int, rng: random.Random) -> Iterator[Wanted]:
    """Deadlines of the next day, but none of the next hour."""
    for _ in range(number):
        yield Wanted(sort=Sort.STANDING, due_at=NOW + rng.randrange(DAY // 24, DAY))


def scattered(few: Sequence[Wanted], many: int, rng: random.Random) -> Iterator[Wanted]:
    """The few somewhere among so many that stand."""
    places = dict(zip(sorted(rng.sample(range(many + len(few)), len(few))), few, strict=True))
    others = standing(many, rng)
    for place in range(many + len(few)):
        yield places[place] if place in places else next(others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The rows of a task as the real code made them."""

    key: TaskKey
    facet: Facet
    lineage: Row
    task: Row
    deadlines: Mapping[str, int]
    timeline: Row

    @property
    def soonest(self) -> int:
        return min(self.deadlines.values())


Templates = Mapping[Sort, Sequence[Template]]


def fill(ledger: Ledger, templates: Templates, wanted: Iterator[Wanted], rng: random.Random) -> None:
    """Fills an empty ledger. The tasks began one after the other, a tenth of a second apart."""
    upgrade(ledger)
    count = 0
    while chunk := list(islice(wanted, _CHUNK)):
        copies = [_Copy(rng.choice(templates[item.sort]), item.due_at, number) for number, item in enumerate(chunk, count + 1)]
        count += len(copies)
        with ledger.write() as connection:
            _put(connection, copies)


def _put(connection: Connection, copies: Sequence["_Copy"]) -> None:
    _insert(connection, lineages, [copy.lineage() for copy in copies])
    _insert(connection, tasks, [copy.task() for copy in copies])
    _insert(connection, deadlines, [row for copy in copies for row in copy.deadlines()])
    _insert(connection, timeline, [copy.timeline() for copy in copies])
    facets.add_counts(connection, Counter(copy.template.facet for copy in copies))


class _Copy:
    """A task like the template, whose soonest deadline is due then, ms."""

    def __init__(self, template: Template, due_at: int, number: int) -> None:
        self.template = template
        self._number = number
        self._name = f"run-{number:07}-of-a-room"
        self._later = due_at - template.soonest
        key = template.key
        self._key = replace(
            key, room_id=key.room_id.replace(_NAME, self._name), vendor_task_id=key.vendor_task_id.replace(_NAME, self._name)
        )
        self._id = task_id(self._key, self._name, NOW - 2 * DAY + number * 100)

    def lineage(self) -> Row:
        key = self._key
        new = {"id": self._number, "key_hash": key_hash(key), "room_id": key.room_id, "vendor_task_id": key.vendor_task_id}
        return self.template.lineage | new | {"facts": self._moved(self.template.lineage["facts"])}

    def task(self) -> Row:
        row, key = self.template.task, self._key
        own = {"id": self._id, "lineage_id": self._number, "vendor_task_id": key.vendor_task_id, "doc": self._moved(row["doc"])}
        room = row["room_id"].replace(_NAME, self._name) if row["room_id"] else row["room_id"]
        return row | own | {"room_id": room, "created_at": row["created_at"] + self._later}

    def deadlines(self) -> Iterator[Row]:
        for kind, at in self.template.deadlines.items():
            yield {"task_id": self._id, "kind": kind, "due_at": at + self._later}

    def timeline(self) -> Row:
        row = self.template.timeline
        return row | {"task_id": self._id, "at": row["at"] + self._later, "entries": self._moved(row["entries"])}

    def _moved(self, text: str) -> str:
        named = text.replace(_NAME, self._name).replace(self.template.task["id"], self._id)
        return _MS.sub(lambda found: str(int(found[0]) + self._later), named)


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        names = list(rows[0])
        statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        connection.exec_driver_sql(statement, [tuple(row.values()) for row in rows])


def templates_in(folder: Path) -> Templates:
    """Made in a folder that must not exist."""
    made: dict[Sort, list[Template]] = {}
    for sort, stories in _stories().items():
        made[sort] = [_template(folder / f"{sort.name}-{number}", story) for number, story in enumerate(stories)]
    return made


def _template(folder: Path, story: Sequence[Callback]) -> Template:
    """What the real code makes of these callbacks."""
    folder.mkdir(parents=True)
    with InProcessApp(folder, NOW + 2_000, made=settings(f"sqlite:///{folder}/tally.db")).open() as house:
        for callback in story:
            house.post_and_apply(*callback)
        with house.ledger.read() as connection:
            return _read(connection)


def _read(connection: Connection) -> Template:
    lineage, task = (dict(connection.execute(select(table)).mappings().one()) for table in (lineages, tasks))
    line = dict(connection.execute(select(timeline).order_by(timeline.c.id.desc()).limit(1)).mappings().one())
    counted = connection.execute(select(facets_table).where(facets_table.c.tasks == 1)).mappings().one()
    return Template(
        key=TaskKey(**{name: lineage[name] for name in TaskKey.__slots__}),
        facet=Facet(**{name: counted[name] for name in Facet.__slots__}),
        lineage=lineage,
        task=task,
        deadlines={row.kind: row.due_at for row in connection.execute(select(deadlines))},
        timeline={name: value for name, value in line.items() if name != "id"},
    )


def _stories() -> dict[Sort, list[list[Callback]]]:
    """By what becomes of them: the callbacks that make a task."""
    (*_, own, foreign), (*_, own_minted, foreign_minted) = _APPS
    quiet = [
        [_push(foreign, 3)],
        [_relay(foreign, 3)],
        [_record(foreign)],
        [_cdn(foreign_minted, 2)],
        [_ingest(foreign_minted, 0)],
        [_page(foreign_minted, 1)],
    ]
    troubled = [[_push(foreign, 3), _push(foreign, 2)], [_begun(foreign)], [_cdn(foreign_minted, 2), _cdn(foreign_minted, 4)]]
    asked = [
        [_push(own, 3), _push(own, 2)],
        [_begun(own)],
        [_ingest(own_minted, 1)],
        [_relay(own, 3), _relay(own, 2)],
        [_page(own_minted, 1), _page(own_minted, 3)],
    ]
    return {Sort.MARKED: [*quiet, *troubled], Sort.ASKED: asked, Sort.STANDING: quiet}


def _volcengine(app: str, event_type: str, **data: object) -> Callback:
    at = to_rfc3339(NOW + int(str(data.pop("later", 0))))
    named = {"RoomId": f"room-{_NAME}", "TaskId": _NAME, **data}
    return volcengine(event_type, named, at, f"{event_type} {data}", app=app)


def _push(app: str, state: int) -> Callback:
    stands = {"TaskState": state, "Code": 4 if state == 2 else 0, "PushURL": f"rtmp://push.example.com/live/{_NAME}"}
    return _volcengine(app, "TranscodeStateChanged", Timestamp=NOW + 1_000 * (3 - state), **stands)


def _begun(app: str) -> Callback:
    return _volcengine(app, "TranscodeStarted", Timestamp=NOW, PushURL=f"rtmp://push.example.com/live/{_NAME}", Code=0)


def _relay(app: str, status: int) -> Callback:
    later, url = 1_000 * (3 - status), f"rtmp://src.example.com/live/{_NAME}"
    more = {"UserId": f"robot-{_NAME}", "StreamUrl": url, "Status": status, "StartTimeStamp": 0, "Msg": ""}
    return _volcengine(app, "RelayStreamStateChanged", later=later, **more)


def _record(app: str) -> Callback:
    return _volcengine(app, "RecordStarted", Code=0, ErrorMessage="")


def _tencent(app: str, group: int, event: int, at: int, **more: object) -> Callback:
    info = {"EventMsTs": at, "TaskId": _NAME, **more}
    return tencent({"EventGroupId": group, "EventType": event, "CallbackTs": at + 40, "EventInfo": info}, app=app)


def _cdn(app: str, status: int) -> Callback:
    payload = {"Url": f"rtmp://push.example.com/live/{_NAME}", "Status": status}
    return _tencent(app, 4, 401, NOW + status, RoomId=f"room-{_NAME}", UserId=f"robot-{_NAME}", Payload=payload)


def _ingest(app: str, status: int) -> Callback:
    return _tencent(app, 7, 701, NOW + status, Status=status)


def _page(app: str, status: int) -> Callback:
    return _tencent(app, 8, 801, NOW + status, Payload={"Status": status, "EventMessage": ""})
