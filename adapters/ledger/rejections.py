"""The newest rejected callbacks with their reasons, so that a wrong secret is found in a minute.

Each kind of rejection (vendor, reason, and the app if it is a configured one) has a fair share of the rows that are kept: a flood
of one kind, as of forged callbacks for unknown apps, uses the rows that other kinds do not need, and pushes none of them out.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, true

from adapters.ledger.schema import rejections
from adapters.text import storable

#: Maximum number of rejections that are kept.
KEPT = 1_000
#: Status of a wrong signature. Only such a callback names a configured app; in all other rejections the app can be any text.
_BAD_SIGNATURE_STATUS = 401
#: Maximum number of characters kept of each text: rejected callbacks may come from anyone on the Internet.
_MAX_TEXT_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedCallback:
    """A callback that the door rejected. `at`: ms; `size`: bytes of its body."""

    at: int
    vendor: str
    app_id: str | None
    status: int
    reason: str
    detail: str
    remote: str | None
    size: int

    @property
    def kind(self) -> Hashable:
        """The kind of rejection; rejections of one kind share its rows."""
        return _rejection_kind(self.vendor, self.reason, self.status, self.app_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionFilter:
    """Filter of listed rejections; None: no condition."""

    vendor: str | None = None
    app_id: str | None = None
    reason: str | None = None


_NO_FILTER = RejectionFilter()


def _rejection_kind(vendor: str, reason: str, status: int, app_id: str | None) -> Hashable:
    return vendor, reason, app_id if status == _BAD_SIGNATURE_STATUS else None


def surplus(kinds: Sequence[Hashable]) -> list[int]:
    """Returns the indexes of the rejections that exceed `KEPT`. kinds: of the rejections, the oldest first.

    The kinds take turns, each with its newest first: a kind with few rejections keeps all of them before another keeps more.
    """
    seen: Counter[Hashable] = Counter()
    turns = []
    for index in range(len(kinds) - 1, -1, -1):
        turns.append((seen[kinds[index]], -index))
        seen[kinds[index]] += 1
    return [-index for _, index in sorted(turns)[KEPT:]]


def keep(connection: Connection, rejected: Sequence[RejectedCallback]) -> None:
    """Adds rejections and deletes the surplus beyond `KEPT`, by fair shares (`surplus`)."""
    rows = [{name: _storable_text(getattr(item, name)) for name in RejectedCallback.__slots__} for item in rejected]
    if not rows:
        return
    connection.execute(insert(rejections), rows)
    if (connection.scalar(select(func.count()).select_from(rejections)) or 0) > KEPT:
        _drop_surplus(connection)


def _drop_surplus(connection: Connection) -> None:
    columns = (rejections.c.id, *(rejections.c[name] for name in ("vendor", "reason", "status", "app_id")))
    rows = list(connection.execute(select(*columns).order_by(rejections.c.id)))
    gone = [rows[index].id for index in surplus([_rejection_kind(*row[1:]) for row in rows])]
    connection.execute(delete(rejections).where(rejections.c.id.in_(gone)))


def _storable_text(value: object) -> object:
    """Shortens a text and replaces NUL and lone surrogates, which not every database stores."""
    return storable(value[:_MAX_TEXT_CHARS]) if isinstance(value, str) else value


def newest(
    connection: Connection, *, before: int | None, limit: int, rejection_filter: RejectionFilter = _NO_FILTER
) -> list[tuple[int, RejectedCallback]]:
    """Returns (position, rejection), the newest first, older than a position."""
    named = {name: getattr(rejection_filter, name) for name in RejectionFilter.__slots__}
    chosen = (rejections.c[name] == value for name, value in named.items() if value is not None)
    statement = select(rejections).where(true(), *chosen).order_by(rejections.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(rejections.c.id < before)
    return [
        (row["id"], RejectedCallback(**{name: row[name] for name in RejectedCallback.__slots__}))
        for row in connection.execute(statement).mappings()
    ]
