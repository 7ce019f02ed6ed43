"""The ledger: the database, the single source of truth about tasks. All SQL is in this package and nowhere else.

How it works. The door records callbacks in the inbox and answers them. The desk adds requests, `workers.sweep` adds due deadlines,
and callers add the vendors' answers. Workers read rows of the inbox, load the lineages that they concern, let `statemachine`
decide, and save everything that follows in one transaction: the lineage with its tasks, the timeline, new deadlines, new calls (the
outbox), new events, and the results of the rows. Callers claim calls from the outbox under leases and within quotas. The dispatcher
queues events as deliveries, one row per subscription, and claims them under leases.

Rules:

- Functions take a connection first and read as `module.verb`. The caller opens the transaction and so decides what is atomic.
- Concurrency is decided in the database. A guard in the WHERE decides whether a write applies (version, lease, `applied_at`); a
  writer that loses gets ConflictError, or the number of rows that were written. Transactions lock shared rows in one order.
  Unique keys (dedupe key, idempotency key, call id) make repeated writes harmless.
- SQLite has one writer and PostgreSQL many; statements give the same results on both. Batches are one statement each (`bulk`).
- A page of a list costs the same however many rows there are: indexes serve every order and filter that the desk offers.

Schema and migrations:

- `schema` - the tables and their indexes
- `schema_state` - which schema a database has; SchemaError
- `migrate` - runs the migrations under a lock; checks that the schema is current
- `migrations` - the migrations themselves, for Alembic
- `migration_progress` - logs how far a long migration is
- `migration_repair` - undoes half-made upgrades of old versions
- `postgresql` - features of PostgreSQL only: time-ordered ids, partitions, named locks

Connections and transactions:

- `engine` - Ledger: opens read, write and session transactions
- `ledger_url` - parses `database.url`
- `connections` - SQLAlchemy engines for SQLite, PostgreSQL and migrations
- `errors` - classifies database errors: LedgerUnavailableError, ConflictError
- `writer_queue` - orders the SQLite writers of a process; urgent ones go first
- `failover` - leaves a PostgreSQL server that has become unusable
- `read_cancellation` - cancels a reader's statement from another thread
- `availability` - checks continually that the ledger can be read and its schema is current
- `write_probe` - proves that a commit works
- `bulk` - writes many rows by one statement

Inbox, tasks and calls:

- `inbox` - rows that wait to be applied: callbacks, requests, deadlines, answers
- `fair_order` - chooses the next rows, so that no task's backlog delays the others
- `shards` - divides the work among worker processes
- `lineages` - loads and saves lineages with their tasks, with optimistic locking
- `documents` - tasks and facts as JSON
- `starts` - requested starts, and their clashes
- `adoption_candidates` - tasks that may be the same: started by us, and reported by callbacks
- `deadlines` - when a task must be looked at again
- `effects` - the outbox of vendor calls, claimed under leases
- `quotas` - token buckets that limit the calls of an account
- `timeline` - what each inbox row changed in a task

Events and deliveries:

- `events` - events about tasks, subscriptions and the ledger
- `positions` - positions of events, without gaps for readers
- `subscriptions` - subscriptions and their locks
- `deliveries` - deliveries of events, in order per subject, claimed under leases
- `replays` - events that are delivered again on request, at a limited rate
- `delivery_lag` - how far deliveries are behind

Queries and records of the desk and the door:

- `search` - finds tasks by any filters
- `facets` - combinations of filterable properties, with numbers of tasks
- `callbacks` - finds recorded callbacks
- `newest_per_group` - the newest rows of many groups, at the cost of a page
- `page_size` - limits pages in bytes
- `rejections` - the newest rejected callbacks
- `idempotency` - responses to requests with idempotency keys
- `stats` - the numbers of `/v1/stats`
- `counters` - sums that are updated with each change

Files, backup and restore:

- `process_locks` - one process per role on a SQLite ledger
- `file_permissions` - checks that a SQLite ledger may be written
- `file_watch` - detects that a SQLite file was deleted or replaced in use
- `backup` - copies a served SQLite ledger
- `restore` - makes a ledger of a backup
- `backup_command` - the commands `tally backup`, `tally restore`, `tally db new-epoch`
- `epochs` - keeps the ids of a restored ledger apart from those of the lost one
- `clock_repair` - corrects times that were written while the clock was ahead
"""

from sqlalchemy import Connection

from adapters.ledger.engine import ConflictError, Ledger, LedgerUnavailableError

__all__ = ["ConflictError", "Connection", "Ledger", "LedgerUnavailableError"]
