"""Chooses which rows of the inbox are applied next, so that no task's backlog holds up the other tasks.

Rows are taken oldest first, but of one shard only so many at a time; those of other shards that wait behind them go first then.
Rows of one task share a shard and are always taken from its oldest on, so their order stays. Without this a replay of 5,203
callbacks of one task kept all others waiting for more than 60 s.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from adapters.ledger.inbox import InboxRow, places_behind, unapplied, unapplied_of

#: Rows of one shard in one batch, at the most.
MAX_ROWS_PER_SHARD = 50
#: A shard that has more rows than this in a full batch is busy: other shards are looked for behind it. Where rows are spread evenly
#: over the 256 shards, a batch of 400 has 1.6 of each.
_BUSY_ROWS = 8
#: How often others are looked for behind the rows of busy shards. Each look passes over those rows in an index.
_MAX_SCANS = 16

#: Where a row waits: (id, shard).
_Place = tuple[int, int]


def next_rows(connection: Connection, limit: int, now: int, shards: Collection[int] | None = None) -> tuple[list[InboxRow], bool]:
    """(the rows to be applied next, in the order in which they came; whether more may wait)

    limit: rows that are looked at, at once; where there are backlogs a batch may have up to twice as many. now: ms. shards: only of
    these.
    """
    oldest = unapplied(connection, limit, now, shards)
    places = [(row.id, row.shard) for row in oldest]
    chosen = set(_first_of_each_shard(places))
    rows = [row for row in oldest if (row.id, row.shard) in chosen]
    if len(oldest) < limit:
        return rows, len(rows) < len(oldest)
    busy = _busy_shards(places)
    behind = (
        _ids_behind_busy(connection, limit, now, shards, after=oldest[-1].id, busy=busy, room=limit - len(rows)) if busy else []
    )
    return [*rows, *unapplied_of(connection, behind)], True


def _ids_behind_busy(
    connection: Connection, limit: int, now: int, shards: Collection[int] | None, *, after: int, busy: set[int], room: int
) -> list[int]:
    """Returns ids of rows that wait behind those of busy shards. Once there are `room` of them, only such as are no backlog."""
    ids: list[int] = []
    for _ in range(_MAX_SCANS):
        found = places_behind(connection, limit, now, shards, after=after, without=busy)
        newly_busy = _busy_shards(found)
        wanted = found if len(ids) < room else [place for place in found if place[1] not in newly_busy]
        ids += [id_ for id_, _ in _first_of_each_shard(wanted)]
        if len(found) < limit or not newly_busy or len(ids) >= limit:
            break
        busy, after = busy | newly_busy, found[-1][0]
    return ids


def _busy_shards(places: Sequence[_Place]) -> set[int]:
    return {shard for shard, number in Counter(shard for _, shard in places).items() if number > _BUSY_ROWS}


def _first_of_each_shard(places: Sequence[_Place]) -> list[_Place]:
    seen: Counter[int] = Counter()
    chosen = []
    for place in places:
        seen[place[1]] += 1
        if seen[place[1]] <= MAX_ROWS_PER_SHARD:
            chosen.append(place)
    return chosen
