"""The newest refused callbacks, and why: so that a wrong secret is found in a minute."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from adapters.ledger.schema import rejections

#: How many are kept.
KEPT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A callback that the door refused. `at`: ms; `size`: bytes of its body."""

    at: int
    vendor: str
    app_id: str | None
    status: int
    reason: str
    detail: str
    remote: str | None
    size: int


def keep(connection: Connection, refused: Sequence[Refused]) -> None:
    """Keeps these and the newest of those before, at most `KEPT`."""
    rows = [{name: _storable(getattr(item, name)) for name in Refused.__slots__} for item in refused[-KEPT:]]
    if not rows:
        return
    connection.execute(insert(rejections), rows)
    newest = connection.execute(select(func.max(rejections.c.id))).scalar_one()
    connection.execute(delete(rejections).where(rejections.c.id <= newest - KEPT))


def _storable(value: object) -> object:
    """Anybody can send anything: neither a NUL nor half of a surrogate pair goes into every ledger."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value


def newest(connection: Connection, *, before: int | None, limit: int) -> list[tuple[int, Refused]]:
    """(position, refusal), the newest first, older than a position."""
    statement = select(rejections).order_by(rejections.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(rejections.c.id < before)
    return [
        (row["id"], Refused(**{name: row[name] for name in Refused.__slots__})) for row in connection.execute(statement).mappings()
    ]
