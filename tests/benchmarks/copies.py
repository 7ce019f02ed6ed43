"""Fills a ledger with tasks by the hundred thousand, as they would stand there had they come one by one.

A few hundred tasks are made by callbacks that the real door hears and the real applier applies. The others are copies of their rows
under other names and ids, moved in time as a whole, the rows of thousands of tasks between each other in the order of time. Which
columns there are, the schema says; what is a time, an id or a name in them, their content does.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select

from adapters.clock import now_ms
from adapters.ledger import facets
from adapters.ledger.facets import Facet
from adapters.ledger.inbox import shard_of
from adapters.ledger.lineages import key_hash
from adapters.ledger.positions import first_position
from adapters.ledger.postgresql import first_id
from adapters.ledger.schema import deadlines, events, inbox, lineages, tasks, timeline
from adapters.ledger.schema import facets as facets_table
from statemachine.tasks import TaskKey, task_id
from tests.benchmarks.stories import MINUTE, STORIES, Teller
from tests.support.in_process_app import InProcessApp

DAY = 86_400_000
#: When the tasks that are copied began, ms.
_BEGAN = 1_800_000_000_000
#: Names of a task and a room that are copied, by number; in texts they are found by these.
_TASK_NAME, _ROOM_NAME = "template{:04}task", "template{:04}room"
_MS = re.compile(r"(?<![0-9A-Za-z.])1[0-9]{12}(?![0-9A-Za-z])")
_SOURCE = re.compile(r'(?<=[{,]")(callback_id|source|id)":"([0-9]+)"')
#: How long ago the oldest copy began, days.
_DAYS = 30
#: Which part of the tasks of the last hours lives on.
_LIVE = 0.4
_LIVE_H = 18
_CHUNK = 4_000
_LAST_NUMBER = (1 << 20) - 1

Row = dict[str, Any]
Values = Mapping[str, str]
#: What a copy has where the template has something else.
Change = Callable[["Copy"], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A task as the real code made it: its rows by table."""

    number: int
    key: TaskKey
    facet: Facet
    live: bool
    #: The first time that it tells, ms.
    began: int
    rows: Mapping[str, Sequence[Row]]

    @property
    def task_id(self) -> str:
        return str(self.rows[tasks.name][0]["id"])


def templates_in(folder: Path, *, length: float, number: int = 300, seed: int = 1) -> list[Template]:
    """Made in a folder that must not exist. length: callbacks of a task on average."""
    folder.mkdir(parents=True)
    rng = random.Random(seed)
    with InProcessApp(folder, _BEGAN).open() as house:
        stories = [_story(each, rng, length) for each in range(number)]
        for step in range(max(map(len, stories))):
            house.now = _BEGAN + (step + 1) * MINUTE + 300
            for story in stories:
                if step < len(story):
                    assert house.post(*story[step]) == 200
            house.applier.apply_waiting()
        with house.ledger.read() as connection:
            return [_template(connection, each) for each in range(number)]


def _story(number: int, rng: random.Random, length: float) -> list[Any]:
    told = rng.choices([story for story, _ in STORIES], [weight for _, weight in STORIES])[0]
    teller = Teller(_TASK_NAME.format(number), _ROOM_NAME.format(number), _BEGAN)
    # As many longer as shorter ones; none is shorter than a beginning, a middle and an end.
    around = max(3, round(length + (-1, 0, 0, 1)[number % 4] * (length - 3)))
    return told(teller, rng, around, number % 5 > 0)


def _template(connection: Connection, number: int) -> Template:
    lineage = (
        connection.execute(select(lineages).where(lineages.c.vendor_task_id.contains(_TASK_NAME.format(number)))).mappings().one()
    )
    own = {tasks: tasks.c.lineage_id == lineage["id"]}
    (task,) = _rows(connection, tasks, own[tasks])
    for column in (inbox.c.task_id, timeline.c.task_id, events.c.subject, deadlines.c.task_id):
        own[column.table] = column == task["id"]
    rows = {table.name: _rows(connection, table, mine) for table, mine in own.items()} | {lineages.name: [dict(lineage)]}
    counted = connection.execute(select(facets_table).where(facets_table.c.facet == task["facet"])).mappings().one()
    return Template(
        number=number,
        key=TaskKey(**{name: lineage[name] for name in TaskKey.__slots__}),
        facet=Facet(**{name: counted[name] for name in Facet.__slots__}),
        live=bool(rows[deadlines.name]),
        began=min(row["received_at"] for row in rows[inbox.name]),
        rows=rows,
    )


def _rows(connection: Connection, table: Table, mine: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(select(table).where(mine)).mappings()]


class Copy:
    """What tells a copy from its template. later: ms."""

    def __init__(self, template: Template, number: int, lineage_id: int, later: int, ids: "Ids") -> None:
        self.template = template
        self.later = later
        self.lineage_id = lineage_id
        self._name, self._room = f"run-{number:09}", f"room-{number * 7_919 % 30_011:05}"
        key = template.key
        self.key = replace(key, vendor_task_id=self.named(key.vendor_task_id), room_id=self.named(key.room_id))
        self.task_id = task_id(self.key, self._name, template.rows[tasks.name][0]["created_at"] + later)
        self.shard = shard_of(self.key.app_id, self.key.vendor_task_id)
        self.inbox_ids = {row["id"]: ids.at(row["received_at"] + later) for row in template.rows[inbox.name]}
        self.values: Values = {"task": self.task_id, "name": self._name, "room": self._room, **self._sources()}
        self._ids = ids

    def _sources(self) -> Values:
        return {f"i{old}": str(new) for old, new in self.inbox_ids.items()}

    def named(self, text: str) -> str:
        number = self.template.number
        return text.replace(_TASK_NAME.format(number), self._name).replace(_ROOM_NAME.format(number), self._room)

    def new_id(self, at: int) -> int:
        return self._ids.at(at + self.later)

    def new_position(self, at: int) -> int:
        return self._ids.position(at + self.later)

    def dedupe_key(self, old: bytes) -> bytes:
        return hashlib.sha256(old + self._name.encode()).digest()


class Ids:
    """Ids as the ledger makes them: PostgreSQL's tell the time, SQLite's count."""

    def __init__(self, *, telling_time: bool) -> None:
        self._numbers = count(1)
        self._telling_time = telling_time

    def at(self, ms: int) -> int:
        number = next(self._numbers)
        return first_id(ms) | (number & _LAST_NUMBER) if self._telling_time else number

    def position(self, ms: int) -> int:
        """Of an event: on both it tells the time."""
        return first_position(ms) + (next(self._numbers) & _LAST_NUMBER)


class Plan:
    """How the rows of a table are copied from a template: for each row and column a value, or what makes one of a copy."""

    def __init__(self, template: Template, table: Table) -> None:
        self._template = template
        self._inbox_ids = {row["id"] for row in template.rows[inbox.name]}
        self._rows = [tuple(self._column(table, row, name) for name in row) for row in template.rows[table.name]]

    def copied(self, copy: Copy) -> Iterator[tuple[Any, ...]]:
        for row in self._rows:
            yield tuple(each(copy) if callable(each) else each for each in row)

    def _column(self, table: Table, row: Row, name: str) -> Any:
        value = row[name]
        made = _BY_NAME.get((table.name, name)) or _BY_NAME.get(("", name))
        if made is not None and value is not None:
            return made(row)
        if isinstance(value, bytes):
            text = self._text(value.decode())
            return (lambda copy: text(copy).encode()) if callable(text) else value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and 1e12 <= value < 1e13:
            return lambda copy: value + copy.later
        return value

    def _text(self, text: str) -> Any:
        """A format of what a copy has in these places; or the text itself, if all copies have it."""
        number, times = self._template.number, sorted({int(found) for found in _MS.findall(text)})
        form = _SOURCE.sub(self._source, text.replace("%", "%%"))
        for old, new in (
            (self._template.task_id, "%(task)s"),
            (_TASK_NAME.format(number), "%(name)s"),
            (_ROOM_NAME.format(number), "%(room)s"),
            *((str(at), f"%({at})s") for at in times),
        ):
            form = form.replace(old, new)
        if form == text.replace("%", "%%"):
            return text
        return lambda copy: form % {**copy.values, **{str(at): at + copy.later for at in times}}

    def _source(self, found: re.Match[str]) -> str:
        name, old = found.groups()
        return f'{name}":"%(i{old})s"' if int(old) in self._inbox_ids else found[0]


#: (table, column) -> of a template's row: what makes a copy's value. Those without a table are called so in any.
_BY_NAME: Mapping[tuple[str, str], Callable[[Row], Change]] = {
    ("", "lineage_id"): lambda row: lambda copy: copy.lineage_id,
    ("", "shard"): lambda row: lambda copy: copy.shard,
    ("", "task_id"): lambda row: lambda copy: copy.task_id,
    ("", "inbox_id"): lambda row: lambda copy: copy.inbox_ids[row["inbox_id"]],
    ("lineages", "id"): lambda row: lambda copy: copy.lineage_id,
    ("lineages", "key_hash"): lambda row: lambda copy: key_hash(copy.key),
    ("tasks", "id"): lambda row: lambda copy: copy.task_id,
    ("inbox", "id"): lambda row: lambda copy: copy.inbox_ids[row["id"]],
    ("inbox", "dedupe_key"): lambda row: lambda copy: copy.dedupe_key(row["dedupe_key"]),
    ("timeline", "id"): lambda row: lambda copy: copy.new_id(row["at"]),
    ("events", "id"): lambda row: lambda copy: copy.new_position(row["at"]),
    ("events", "subject"): lambda row: lambda copy: copy.task_id,
}
#: In this order: tasks refer to lineages.
TABLES = (lineages, tasks, deadlines, inbox, timeline, events)
#: Tables whose rows lie in the order of time, whosever they are.
_BY_TIME = (inbox, timeline, events)


@dataclass(slots=True)
class Chunk:
    """Some copies' rows by table, and the sums that they add to."""

    rows: dict[str, list[tuple[Any, ...]]]
    facets: Counter[Facet]
    verdicts: Counter[str]
    moves: Counter[str]


class Copier:
    """Makes copies until there are so many tasks; those of the last hours may live on."""

    def __init__(self, templates: Sequence[Template], *, number: int, telling_time: bool, seed: int = 1) -> None:
        self._ended = [template for template in templates if not template.live]
        self._live = [template for template in templates if template.live and _is_quiet(template)]
        self._plans = {(template.number, table.name): Plan(template, table) for template in templates for table in TABLES}
        self._number = number
        #: When the newest began, ms.
        self._now = now_ms() - 3_600_000
        self._rng = random.Random(seed)
        self._ids = Ids(telling_time=telling_time)
        self.columns = {table.name: list(templates[0].rows[table.name][0]) for table in TABLES if table is not deadlines}
        self.columns[deadlines.name] = [column.name for column in deadlines.columns]

    @property
    def oldest(self) -> int:
        """When the first one began, ms."""
        return self._now - _DAYS * DAY

    def chunks(self) -> Iterator[Chunk]:
        for first in range(0, self._number, _CHUNK):
            yield self._chunk([self._copy(number) for number in range(first, min(first + _CHUNK, self._number))])

    def _copy(self, number: int) -> Copy:
        began = self.oldest + (number + 1) * _DAYS * DAY // self._number
        lives = began > self._now - _LIVE_H * 3_600_000 and self._rng.random() < _LIVE
        template = self._rng.choice(self._live if lives else self._ended)
        return Copy(template, number, number + 1, began - template.began, self._ids)

    def _chunk(self, copies: Sequence[Copy]) -> Chunk:
        rows = {table.name: [row for copy in copies for row in self._rows(table, copy)] for table in TABLES}
        for table in _BY_TIME:
            place = self.columns[table.name].index("id")
            rows[table.name].sort(key=lambda row: row[place])
        return Chunk(
            rows=rows,
            facets=Counter(copy.template.facet for copy in copies),
            verdicts=Counter(word for copy in copies for word in _verdicts(copy.template)),
            moves=Counter(word for copy in copies for word in _moves(copy.template)),
        )

    def _rows(self, table: Table, copy: Copy) -> Iterator[tuple[Any, ...]]:
        return self._plans[copy.template.number, table.name].copied(copy)


def _is_quiet(template: Template) -> bool:
    """None of its deadlines is due in the hours for which a copy may live."""
    soonest = min(row["due_at"] for row in template.rows[deadlines.name])
    return bool(soonest - template.began > (_LIVE_H + 4) * 3_600_000)


def _verdicts(template: Template) -> list[str]:
    return [f"{row['vendor']}/{row['verdict']}" for row in template.rows[inbox.name]]


def _moves(template: Template) -> list[str]:
    key, kind = template.key, template.rows[tasks.name][0]["kind"]
    states = [row["type"].rpartition(".")[2] for row in template.rows[events.name]]
    return [f"{key.vendor}/{kind}/{state}" for state in states if state not in ("outputs", "files", "anomaly", "updated")]


def count_facets(connection: Connection, counted: Mapping[Facet, int]) -> None:
    facets.add_counts(connection, counted)
