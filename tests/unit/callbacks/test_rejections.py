"""Rejected callbacks are saved, a share of each kind, however many come."""

from pathlib import Path

from adapters.ledger import Ledger
from adapters.ledger.rejections import KEPT, RejectedCallback, newest
from adapters.metrics import Metrics
from callbacks.rejections import Rejections
from tests.support.ledgers import create_schema


def _rejected_callback(at: int, reason: str, status: int, app_id: str) -> RejectedCallback:
    return RejectedCallback(at=at, vendor="tencent", app_id=app_id, status=status, reason=reason, detail="-", remote=None, size=1)


def test_a_flood_between_two_writes_pushes_no_other_kind_out(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    create_schema(ledger)
    rejections = Rejections(ledger, Metrics())
    own = _rejected_callback(1, "bad_signature", 401, "1400000001")

    rejections.add(own)
    for number in range(10 * KEPT):
        rejections.add(_rejected_callback(2 + number, "unknown_app", 403, f"x{number}"))
    assert len(rejections._unsaved) <= 2 * KEPT
    rejections.flush()

    with ledger.read() as connection:
        saved = [item for _, item in newest(connection, before=None, limit=2 * KEPT)]
    assert (len(saved), saved[-1], saved[0].at) == (KEPT, own, 10 * KEPT + 1)
    ledger.close()
