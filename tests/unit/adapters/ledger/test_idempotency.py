"""An idempotency key is stored once, for a day."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

from adapters.ledger import Ledger, idempotency
from adapters.ledger.idempotency import RETENTION_MS, IdempotentRequest, StoredResponse
from tests.support.times import T0

NAMED = IdempotentRequest(token_name="ops", key="k1", body=b"{}")
KEPT = StoredResponse(body_hash=NAMED.body_hash, status=202, location="/v1/tasks/1", answer='{"id":"1"}')


def _store_response(ledger: Ledger, named: IdempotentRequest = NAMED, kept: StoredResponse = KEPT, now: int = T0) -> bool:
    with ledger.write() as connection:
        return idempotency.store(connection, named, kept, now)


def _find_response(ledger: Ledger, named: IdempotentRequest = NAMED, now: int = T0) -> StoredResponse | None:
    with ledger.read() as connection:
        return idempotency.find(connection, named, now)


def test_a_stored_response_is_found_whatever_the_body(ledger: Ledger) -> None:
    assert _find_response(ledger) is None
    assert _store_response(ledger)
    assert _find_response(ledger) == KEPT
    assert _find_response(ledger, replace(NAMED, body=b"other")) == KEPT


def test_a_key_is_stored_only_once(ledger: Ledger) -> None:
    _store_response(ledger)
    assert not _store_response(ledger, kept=replace(KEPT, location="/v1/tasks/2"))
    assert _find_response(ledger) == KEPT


def test_keys_of_other_tokens_differ_wherever_they_are_divided(ledger: Ledger) -> None:
    assert all(
        _store_response(ledger, IdempotentRequest(token_name=who, key=key, body=b""))
        for who, key in [("ops", "k1"), ("opsk", "1"), ("o", "psk1")]
    )


def test_a_key_is_free_after_a_day(ledger: Ledger) -> None:
    _store_response(ledger)
    later = replace(KEPT, location="/v1/tasks/2")
    assert _find_response(ledger, now=T0 + RETENTION_MS - 1) == KEPT
    assert not _store_response(ledger, kept=later, now=T0 + RETENTION_MS - 1)
    assert _find_response(ledger, now=T0 + RETENTION_MS) is None
    assert _store_response(ledger, kept=later, now=T0 + RETENTION_MS)
    assert _find_response(ledger, now=T0 + RETENTION_MS) == later


def test_expired_keys_are_deleted_in_steps(ledger: Ledger) -> None:
    for number in range(5):
        _store_response(ledger, replace(NAMED, key=str(number)), now=T0 + number)
    with ledger.write() as connection:
        idempotency.delete_expired(connection, T0 + RETENTION_MS + 3, limit=3)
        left = connection.exec_driver_sql("SELECT at FROM idempotency ORDER BY at").scalars().all()
    assert left == [T0 + 3, T0 + 4]


def test_of_two_concurrent_requests_one_stores_the_key(ledger: Ledger) -> None:
    ready = Barrier(2)

    def take(number: int) -> bool:
        ready.wait()
        return _store_response(ledger, kept=replace(KEPT, answer=str(number)))

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(take, range(2))) == [False, True]


def test_a_repr_contains_neither_response_nor_body() -> None:
    assert "{" not in repr(NAMED) + repr(KEPT)
