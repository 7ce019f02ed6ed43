"""What is refused is noted, however much of it comes."""

from pathlib import Path

from adapters.ledger import Ledger, rejections
from adapters.ledger.rejections import KEPT, RejectedCallback
from adapters.metrics import Metrics
from callbacks.rejections import Rejections
from tests.support.ledgers import create_schema


def _refused(at: int, reason: str, status: int, app_id: str) -> RejectedCallback:
    return RejectedCallback(at=at, vendor="tencent", app_id=app_id, status=status, reason=reason, detail="-", remote=None, size=1)


def test_a_flood_between_two_writes_pushes_no_other_kind_out(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    create_schema(ledger)
    refusals = Rejections(ledger, Metrics())
    own = _refused(1, "bad_signature", 401, "1400000001")

    refusals.add(own)
    for number in range(10 * KEPT):
        refusals.add(_refused(2 + number, "unknown_app", 403, f"x{number}"))
    assert len(refusals._unsaved) <= 2 * KEPT
    refusals.flush()

    with ledger.read() as connection:
        found = [item for _, item in rejections.newest(connection, before=None, limit=2 * KEPT)]
    assert (len(found), found[-1], found[0].at) == (KEPT, own, 10 * KEPT + 1)
    ledger.close()
