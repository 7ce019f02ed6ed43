"""Chooses the inbox rows that are applied next, so that the backlog of one task does not delay the other tasks.

Rows are chosen oldest first, but of one shard at most `MAX_ROWS_PER_SHARD` at a time; rows of other shards that wait behind them
then go first. Rows of one task share a shard and are always chosen from its oldest on, so their order stays. Without this a replay
of 5,203 callbacks of one task delayed all others by more than 60 s.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from adapters.ledger.inbox import InboxRow, places_behind, unapplied, unapplied_of

#: Maximum number of rows of one shard in one batch.
MAX_ROWS_PER_SHARD = 50
#: A shard with more rows than this in a full batch is busy: rows of other shards are searched behind it. Where rows are spread
#: evenly over the 256 shards, a batch of 400 has 1.6 of each.
_BUSY_ROWS = 8
#: Maximum number of searches behind the rows of busy shards. Each one passes over those rows in an index.
_MAX_SCANS = 16

#: (id, shard) of a waiting row.
_Place = tuple[int, int]


def next_rows(connection: Connection, limit: int, now: int, shards: Collection[int] | None = None) -> tuple[list[InboxRow], bool]:
    """Returns (the rows to be applied next, in the order in which they arrived; whether more may wait).

    limit: rows per search; where there are backlogs a batch may have up to twice as many. now: ms. shards: only rows of these.
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
    """Returns ids of rows that wait behind those of busy shards; from the `room`-th on only rows of shards without a backlog."""
    ids: list[int] = []
    for _ in range(_MAX_SCANS):
        places = places_behind(connection, limit, now, shards, after=after, without=busy)
        newly_busy = _busy_shards(places)
        chosen = places if len(ids) < room else [place for place in places if place[1] not in newly_busy]
        ids += [id_ for id_, _ in _first_of_each_shard(chosen)]
        if len(places) < limit or not newly_busy or len(ids) >= limit:
            break
        busy, after = busy | newly_busy, places[-1][0]
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
