"""Applies inbox rows: each becomes events of the state machine, whose decisions are saved in one transaction.

How one row becomes a saved task:

1. `applier` reads the next rows (at most 400), in fair order.
2. `inbox_decoder` decodes each row into events, each addressed to one lineage. The vendor's dialect reads the body of a callback.
3. `applier` loads these lineages; `lineage_cache` has those that were saved a moment ago.
4. `adoption` finds the start of ours that an unknown vendor id belongs to. A callback is deferred while such a start is in flight.
5. `batch` passes each event to the state machine, with the `rules` of its app, and collects the decisions: changed tasks, timeline
   entries, counts, `domain_events`, calls and events for other lineages (`effects`). `secret_wiping` removes secrets from tasks
   that do not need them any more.
6. `batch.save` writes everything, and marks the rows as applied. If another worker saved a lineage meanwhile, the transaction is
   rolled back and the batch is decided anew.
7. `applier` logs the changes, and wakes the caller and the dispatcher.

* `applier` - takes rows, decides and saves them in batches; sets aside a row that cannot be applied.
* `batch` - decides a batch in memory, then saves it.
* `inbox_decoder` - inbox row -> events.
* `adoption` - which task of ours an unknown vendor id belongs to.
* `rules` - the state machine's rules for each app, and how often silent tasks are queried.
* `effects` - writes new calls, cancelled calls and events for other lineages.
* `domain_events` - change of a task -> event for subscribers.
* `secret_wiping` - removes secrets from tasks.
* `lineage_cache` - lineages that were saved a moment ago.
"""
