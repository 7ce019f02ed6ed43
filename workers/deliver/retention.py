"""Clears away deliveries that came to their end long ago, and what deleted subscriptions left behind."""

from adapters.ledger import Ledger, deliveries, replays, subscriptions

#: Rows that are dropped at once: nobody waits for a long transaction.
_AT_ONCE = 500


def clear(ledger: Ledger, before: int) -> bool:
    """Drops a part of what ended before this time (ms); whether there may be more."""
    with ledger.read() as connection:
        kept, deleted = subscriptions.ids(connection), subscriptions.deleted_ids(connection)
    return any([_clear(ledger, id_, before) for id_ in kept] + [_clear_deleted(ledger, id_) for id_ in deleted])


def _clear(ledger: Ledger, subscription_id: str, before: int) -> bool:
    with ledger.read() as connection:
        old = deliveries.old(connection, subscription_id, before, _AT_ONCE)
    if old:
        with ledger.write() as connection:
            deliveries.drop(connection, old)
    return bool(old)


def _clear_deleted(ledger: Ledger, subscription_id: str) -> bool:
    with ledger.write() as connection:
        replays.drop_all(connection, subscription_id)
        if deliveries.drop_some(connection, subscription_id, _AT_ONCE):
            return True
        subscriptions.forget(connection, subscription_id)
    return False
