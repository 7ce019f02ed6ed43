"""The newest rejections are kept."""

from dataclasses import replace

from adapters.ledger import Ledger, rejections
from adapters.ledger.rejections import KEPT, RejectedCallback, RejectionFilter
from tests.support.times import T0


def _rejection(number: int) -> RejectedCallback:
    return RejectedCallback(
        at=T0 + number, vendor="tencent", app_id=None, status=401, reason="bad_signature", detail="-", remote="203.0.113.7", size=9
    )


def test_the_newest_come_first_page_after_page(ledger: Ledger) -> None:
    with ledger.write() as connection:
        rejections.keep(connection, [_rejection(n) for n in range(3)])
        rejections.keep(connection, [])
        page = rejections.newest(connection, before=None, limit=2)
        assert [item for _, item in page] == [_rejection(2), _rejection(1)]
        assert [item for _, item in rejections.newest(connection, before=page[-1][0], limit=2)] == [_rejection(0)]


def test_characters_that_no_ledger_can_store_are_replaced(ledger: Ledger) -> None:
    """Anyone can send such text, and one such rejection must not cost the others."""
    odd = replace(_rejection(1), app_id="a\ud800", detail="/\x00/\udfff", remote="\x00")
    with ledger.write() as connection:
        rejections.keep(connection, [_rejection(0), odd])
        found = [item for _, item in rejections.newest(connection, before=None, limit=9)]
    assert found == [replace(odd, app_id="a\ufffd", detail="/\ufffd/\ufffd", remote="\ufffd"), _rejection(0)]


def test_at_most_a_thousand_are_kept(ledger: Ledger) -> None:
    assert KEPT == 1_000
    with ledger.write() as connection:
        rejections.keep(connection, [_rejection(n) for n in range(KEPT)])
        rejections.keep(connection, [_rejection(n) for n in range(KEPT, KEPT + 5)])
        assert [item.at - T0 for _, item in rejections.newest(connection, before=None, limit=2 * KEPT)] == [*range(KEPT + 4, 4, -1)]
        rejections.keep(connection, [_rejection(n) for n in range(3 * KEPT)])
        assert [item.at - T0 for _, item in rejections.newest(connection, before=None, limit=2 * KEPT)] == [
            *range(3 * KEPT - 1, 2 * KEPT - 1, -1)
        ]


def test_a_flood_of_one_kind_pushes_no_other_out(ledger: Ledger) -> None:
    """Before fair shares, a flood for unknown apps pushed out an operator's own wrong key within seconds."""
    own = [replace(_rejection(number), app_id="1400000001") for number in range(5)]
    forged = [
        replace(_rejection(100 + number), app_id=f"x{number}", status=403, reason="unknown_app") for number in range(3 * KEPT)
    ]
    with ledger.write() as connection:
        rejections.keep(connection, own)
        for begin in range(0, len(forged), 700):
            rejections.keep(connection, forged[begin : begin + 700])
        found = [item for _, item in rejections.newest(connection, before=None, limit=2 * KEPT)]
        only = rejections.newest(connection, before=None, limit=9, rejection_filter=RejectionFilter(reason="bad_signature"))

    assert [item for _, item in only] == own[::-1]
    assert found == [*forged[: -(KEPT - 5) - 1 : -1], *own[::-1]]


def test_two_kinds_with_many_rejections_share_the_rows(ledger: Ledger) -> None:
    kinds = [replace(_rejection(number), app_id=app) for number in range(KEPT) for app in ("a", "b")]
    with ledger.write() as connection:
        rejections.keep(connection, kinds)
        found = [item for _, item in rejections.newest(connection, before=None, limit=2 * KEPT)]

    assert found == kinds[::-1][:KEPT]


def test_long_texts_are_cut(ledger: Ledger) -> None:
    with ledger.write() as connection:
        rejections.keep(connection, [replace(_rejection(1), detail="x" * 100_000)])
        ((_, found),) = rejections.newest(connection, before=None, limit=9)

    assert len(found.detail) == 500
