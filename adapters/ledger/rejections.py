"""The newest refused callbacks, and why: so that a wrong secret is found in a minute.

Each kind of refusal (vendor, reason, and the app where it is a configured one) has a fair share of what is kept: a flood of one
kind, as of forged callbacks for apps that nobody knows, takes what others do not need, and pushes none of them out.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, true

from adapters.ledger.schema import rejections
from adapters.text import storable

#: How many are kept.
KEPT = 1_000
#: Whoever sends a wrong signature named an app that is configured. In all other refusals the app can be any text.
_BAD_SIGNATURE_STATUS = 401
#: Characters that are kept of each text: what is refused comes from anybody.
_MAX_TEXT_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedCallback:
    """A callback that the door refused. `at`: ms; `size`: bytes of its body."""

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
        """What shares its place with others of the same."""
        return _rejection_kind(self.vendor, self.reason, self.status, self.app_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionFilter:
    """What a refusal must be to be listed; None: anything."""

    vendor: str | None = None
    app_id: str | None = None
    reason: str | None = None


_NO_FILTER = RejectionFilter()


def _rejection_kind(vendor: str, reason: str, status: int, app_id: str | None) -> Hashable:
    return vendor, reason, app_id if status == _BAD_SIGNATURE_STATUS else None


def surplus(kinds: Sequence[Hashable]) -> list[int]:
    """Which of these are too many to be kept: indexes. kinds: of refusals, the oldest first.

    Of each kind the newest come first in turn, so that a kind of few keeps them all before a kind of many keeps more than as many.
    """
    seen: Counter[Hashable] = Counter()
    turns = []
    for index in range(len(kinds) - 1, -1, -1):
        turns.append((seen[kinds[index]], -index))
        seen[kinds[index]] += 1
    return [-index for _, index in sorted(turns)[KEPT:]]


def keep(connection: Connection, refused: Sequence[RejectedCallback]) -> None:
    """Keeps these and the newest of those before, at most `KEPT`; of each kind its share (`surplus`)."""
    rows = [{name: _storable_text(getattr(item, name)) for name in RejectedCallback.__slots__} for item in refused]
    if not rows:
        return
    connection.execute(insert(rejections), rows)
    if (connection.scalar(select(func.count()).select_from(rejections)) or 0) > KEPT:
        _drop_surplus(connection)


def _drop_surplus(connection: Connection) -> None:
    columns = (rejections.c.id, *(rejections.c[name] for name in ("vendor", "reason", "status", "app_id")))
    there = list(connection.execute(select(*columns).order_by(rejections.c.id)))
    gone = [there[index].id for index in surplus([_rejection_kind(*row[1:]) for row in there])]
    connection.execute(delete(rejections).where(rejections.c.id.in_(gone)))


def _storable_text(value: object) -> object:
    """Anybody can send anything: neither a NUL nor half of a surrogate pair goes into every ledger."""
    return storable(value[:_MAX_TEXT_CHARS]) if isinstance(value, str) else value


def newest(
    connection: Connection, *, before: int | None, limit: int, wanted: RejectionFilter = _NO_FILTER
) -> list[tuple[int, RejectedCallback]]:
    """(position, refusal), the newest first, older than a position."""
    named = {name: getattr(wanted, name) for name in RejectionFilter.__slots__}
    chosen = (rejections.c[name] == value for name, value in named.items() if value is not None)
    statement = select(rejections).where(true(), *chosen).order_by(rejections.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(rejections.c.id < before)
    return [
        (row["id"], RejectedCallback(**{name: row[name] for name in RejectedCallback.__slots__}))
        for row in connection.execute(statement).mappings()
    ]
