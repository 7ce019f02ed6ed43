"""Deletes deliveries that were delivered long ago, and the rows of deleted subscriptions."""

from adapters.ledger import Ledger, deliveries, replays, subscriptions

#: Rows deleted per transaction at most: other writers wait for it.
_ROWS_PER_TRANSACTION = 500


def delete_old_deliveries(ledger: Ledger, before: int) -> bool:
    """Deletes some of the deliveries that ended before this time (ms), of each subscription; returns whether there may be more."""
    with ledger.read() as connection:
        kept, deleted = subscriptions.all_ids(connection), subscriptions.deleted_ids(connection)
    return any([_delete_expired(ledger, id_, before) for id_ in kept] + [_purge_deleted(ledger, id_) for id_ in deleted])


def _delete_expired(ledger: Ledger, subscription_id: str, before: int) -> bool:
    with ledger.read() as connection:
        expired = deliveries.expired_ids(connection, subscription_id, before, _ROWS_PER_TRANSACTION)
    if expired:
        with ledger.write() as connection:
            deliveries.drop(connection, expired)
    return bool(expired)


def _purge_deleted(ledger: Ledger, subscription_id: str) -> bool:
    with ledger.write() as connection:
        replays.drop_all(connection, subscription_id)
        if deliveries.drop_some(connection, subscription_id, _ROWS_PER_TRANSACTION):
            return True
        subscriptions.purge(connection, subscription_id)
    return False
