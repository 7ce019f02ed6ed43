"""The tables. Times are whole milliseconds since the Unix epoch, UTC; JSON is text.

`inbox` holds everything that is to be applied; its rows of kind `callback` are the vendors' callbacks, kept as they arrived.
`lineages` and `tasks` hold the state computed from them. `timeline` records the changes of a task, one row per applied inbox row;
`events` holds the events for subscribers, one row per version of a task; `subscriptions` holds the subscribers, and `deliveries`
the deliveries of events to them. `effects` is the outbox of calls to vendors, and `deadlines` the times at which tasks must be
looked at.

`shard` is a number computed from a task's id at the vendor: all rows of one task have the same, so that one worker gets them all.

On PostgreSQL `inbox`, `timeline` and `events` are partitioned by time (`postgresql`).
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

#: Autoincrement keys are never reused, so that a cursor can rely on them. SQLite needs INTEGER for them.
_Id = BigInteger().with_variant(Integer(), "sqlite")

inbox = Table(
    "inbox",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    #: callback, replay, deadline, mark, start, stop, update, retry, answer, succession, restored
    Column("kind", String(16), nullable=False),
    #: sha256 over the values that identify this row.
    Column("dedupe_key", LargeBinary(32), nullable=False, unique=True),
    Column("vendor", String(32)),
    Column("app_id", String(128)),
    Column("event_type", String(128)),
    Column("received_at", BigInteger, nullable=False),
    Column("headers", Text),
    Column("body", LargeBinary),
    #: Rows that are not callbacks: their content, as JSON.
    Column("payload", Text),
    Column("event_at", BigInteger),
    #: Empty: not applied yet, or the row's kind has no verdict.
    Column("verdict", String(16), nullable=False, server_default=text("''")),
    Column("reason", String(64)),
    Column("task_id", String(26)),
    Column("applied_at", BigInteger),
    #: Why it could not be applied: the row is set aside until it is replayed.
    Column("error", Text),
    #: Deferred until this time (ms): an answer may show to which task it belongs, or its turn has not come.
    Column("held_until", BigInteger),
    Column("shard", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
#: `sqlite_where` and `postgresql_where` must have the exact words of the statements that are to use the index.
_CALLBACKS = text("kind = 'callback'")
_UNAPPLIED = text("applied_at IS NULL")
# All columns that queries of waiting rows need, so that their bodies need not be read.
_WAITING = (inbox.c.shard, inbox.c.kind, inbox.c.received_at, inbox.c.applied_at)
_WITH_TASK = text("task_id IS NOT NULL")
Index("inbox_unapplied", inbox.c.id, *_WAITING, sqlite_where=_UNAPPLIED, postgresql_where=_UNAPPLIED)
_HELD = text("held_until IS NOT NULL AND applied_at IS NULL")
Index("inbox_held", inbox.c.held_until, sqlite_where=_HELD, postgresql_where=_HELD)
# Callbacks are listed newest first by the time of receipt: all, those of each course (vendor, type, verdict), those of a task.
_NEWEST = (inbox.c.received_at, inbox.c.id)
_COURSE = (inbox.c.vendor, inbox.c.event_type, inbox.c.verdict)
Index("inbox_received", *_NEWEST, sqlite_where=_CALLBACKS, postgresql_where=_CALLBACKS)
Index("inbox_course", *_COURSE, *_NEWEST, sqlite_where=_CALLBACKS, postgresql_where=_CALLBACKS)
Index("inbox_task", inbox.c.task_id, *_NEWEST, *_COURSE, sqlite_where=_WITH_TASK, postgresql_where=_WITH_TASK)

#: The signatures of callbacks, for vendors whose signature does not determine which value is which field: of callbacks with the
#: same signature only the first is recorded. Keys begin with the event's time. It is a table of its own, so that the migration can
#: add the signatures of earlier callbacks cheaply.
inbox_signatures = Table(
    "inbox_signatures",
    metadata,
    Column("signature_key", LargeBinary(22), primary_key=True),
    sqlite_with_rowid=False,
)

lineages = Table(
    "lineages",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    #: The first 16 bytes of sha256 over the key's fields.
    Column("key_hash", LargeBinary(16), nullable=False, unique=True),
    Column("vendor", String(32), nullable=False),
    Column("app_id", String(128), nullable=False),
    Column("room_id", Text, nullable=False),
    Column("vendor_task_id", Text, nullable=False),
    Column("family", String(16), nullable=False),
    Column("facts", Text, nullable=False),
    #: Number of archived runs: their tasks are not loaded with the lineage any more; facts older than `sealed_until` belong to
    #: them.
    Column("sealed_runs", Integer, nullable=False),
    Column("sealed_until", BigInteger, nullable=False),
    #: Grows by one with each save; a save names the version that was loaded.
    Column("version", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("lineage_id", _Id, ForeignKey("lineages.id"), nullable=False),
    Column("run", Integer, nullable=False),
    Column("vendor", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("app_id", String(128), nullable=False),
    Column("room_id", Text),
    Column("vendor_task_id", Text, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("created_at", BigInteger, nullable=False),
    #: The user id under which the vendor itself enters the room.
    Column("robot", Text),
    #: The task's facet; null for a merged task, which is in no list.
    Column("facet", BigInteger),
    Column("merged_into", String(26)),
    #: The task as the state machine knows it, as JSON.
    Column("doc", Text, nullable=False),
)
Index("tasks_lineage", tasks.c.lineage_id, tasks.c.run)
Index("tasks_facet", tasks.c.facet, tasks.c.id)
_WITH_ROBOT = text("robot IS NOT NULL")
Index("tasks_robot", tasks.c.robot, tasks.c.state, sqlite_where=_WITH_ROBOT, postgresql_where=_WITH_ROBOT)
for _column in ("room_id", "vendor_task_id"):
    Index(f"tasks_{_column}", tasks.c[_column], tasks.c.facet, tasks.c.id)

#: Combinations of the properties that have few values and can be filtered by: a row for each combination that ever occurred.
#: Filters select facets, and an index holds the tasks of each facet in order.
facets = Table(
    "facets",
    metadata,
    #: The first 8 bytes of sha256 over the columns that follow.
    Column("facet", BigInteger, primary_key=True, autoincrement=False),
    Column("vendor", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("app_id", String(128), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    #: Empty: none.
    Column("reason", String(32), nullable=False),
    #: Sorted, each between slashes: `/overdue//zombie/`. Empty: none.
    Column("anomalies", String(255), nullable=False),
    #: Number of tasks.
    Column("tasks", BigInteger, nullable=False),
)

timeline = Table(
    "timeline",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("task_id", String(26), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("inbox_id", _Id),
    #: A JSON list of the changes that this inbox row made, in order.
    Column("entries", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("timeline_task", timeline.c.task_id, timeline.c.id)

#: Domain events: a row for each version of a task, written with it. A reader that continues from an id misses nothing (`events`).
events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    #: The id of the task; or of the subscription, which has events too.
    Column("subject", String(26), nullable=False),
    Column("version", Integer, nullable=False),
    #: tally.task.running, tally.task.files, ...
    Column("type", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    #: Columns of the task; empty if the event is not about a task.
    Column("vendor", String(32), nullable=False),
    Column("app_id", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    #: The task at this version, its previous state, and the cause; as JSON.
    Column("doc", Text, nullable=False),
)
Index("events_subject", events.c.subject, events.c.version)

#: Subscriptions to events.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", String(26), primary_key=True),
    #: Type and settings of the sink; JSON.
    Column("sink", Text, nullable=False),
    #: Types of events, a JSON list; and conditions on their tasks, a JSON object.
    Column("types", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("description", Text, nullable=False),
    #: active, paused, disabled, deleted; and the reason, if the program set the state and not a client.
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("secret", Text, nullable=False),
    #: The previous secret, also used for signing until `old_secret_until`, ms.
    Column("old_secret", Text),
    Column("old_secret_until", BigInteger),
    #: Events up to this position were queued for it, or do not match it.
    Column("position", BigInteger, nullable=False),
    #: Time since which all attempts failed, ms (null: the newest succeeded, or there was none); time of the last failed one.
    Column("failing_since", BigInteger),
    Column("failed_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

#: Deliveries of events to subscriptions, waiting and ended.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("subscription_id", String(26), nullable=False),
    #: Null: a test.
    Column("event_id", _Id),
    #: Deliveries of one subject are sent in the order of these rows.
    Column("subject", String(26), nullable=False),
    Column("type", String(64), nullable=False),
    #: event, replay, retry, test
    Column("origin", String(8), nullable=False),
    #: waiting, delivered, dead, requeued
    Column("state", String(16), nullable=False),
    Column("queued_at", BigInteger, nullable=False),
    #: Time when it is to be sent, ms; null while another one of its subject waits before it.
    Column("due_at", BigInteger),
    #: End of the lease of the worker that claimed it, ms.
    Column("lease_until", BigInteger),
    #: Number of claims, and time of the first, ms.
    Column("tries", Integer, nullable=False),
    Column("first_tried_at", BigInteger),
    Column("done_at", BigInteger),
    #: The answers to the attempts, a JSON list.
    Column("attempts", Text, nullable=False),
    sqlite_autoincrement=True,
)
# Each delivery is written three times, and so are its index entries: there are no more indexes than necessary.
_DUE = text("due_at IS NOT NULL")
_OF_SUBSCRIPTION = deliveries.c.subscription_id
_WHEN = (deliveries.c.due_at, deliveries.c.id)
Index("deliveries_due", _OF_SUBSCRIPTION, *_WHEN, sqlite_where=_DUE, postgresql_where=_DUE)
Index("deliveries_subject", _OF_SUBSCRIPTION, deliveries.c.subject, deliveries.c.state, deliveries.c.id)
Index("deliveries_state", _OF_SUBSCRIPTION, deliveries.c.state, deliveries.c.id)

#: Replays of events in progress: events that are delivered again, at a limited rate.
replays = Table(
    "replays",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("subscription_id", String(26), nullable=False, index=True),
    #: The selected events: their times [since, until) (ms), their subject, and whether only dead deliveries are meant.
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("subject", String(26)),
    Column("dead", SmallInteger, nullable=False),
    #: Position up to which events were scanned, and the last one to scan (for dead deliveries: delivery ids).
    Column("position", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    #: Number of deliveries queued per second, and time of the next step, ms.
    Column("rate", Float, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

deadlines = Table(
    "deadlines",
    metadata,
    Column("task_id", String(26), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("due_at", BigInteger, nullable=False, index=True),
    Column("shard", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)

#: Outbox of vendor calls that are to be made or are in flight; a call is deleted once its answer was applied.
effects = Table(
    "effects",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("task_id", String(26), nullable=False),
    #: Number that identifies an attempt among those of the task.
    Column("serial", Integer, nullable=False),
    #: start, update, stop, inspect
    Column("operation", String(16), nullable=False),
    #: Describes the call if it is not the usual one of its operation; JSON.
    Column("step", Text),
    #: Columns of the task: a callback with an unknown id is deferred while a start of its app and family is in flight.
    Column("vendor", String(32), nullable=False),
    Column("app_id", String(128), nullable=False),
    Column("family", String(16), nullable=False),
    #: Its quota bucket: account and API.
    Column("bucket", String(255), nullable=False),
    #: Time before which it must not be claimed, ms.
    Column("due_at", BigInteger, nullable=False),
    #: End of the lease of the caller that claimed it, ms; null: not claimed.
    Column("lease_until", BigInteger),
    Column("shard", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
Index("effects_attempt", effects.c.task_id, effects.c.serial, unique=True)
_UNTAKEN = text("lease_until IS NULL")
_TAKEN = text("lease_until IS NOT NULL")
Index("effects_untaken", effects.c.bucket, effects.c.id, sqlite_where=_UNTAKEN, postgresql_where=_UNTAKEN)
Index("effects_leases", effects.c.lease_until, sqlite_where=_TAKEN, postgresql_where=_TAKEN)

#: Rate limits of vendor calls: a token bucket per account and API.
quotas = Table(
    "quotas",
    metadata,
    Column("bucket", String(255), primary_key=True),
    #: Number of calls that may be made at once, as of `at` (ms).
    Column("tokens", Float, nullable=False),
    Column("at", BigInteger, nullable=False),
    #: Fraction of the usual rate, as of `slowed_at` (ms): less than 1 after a "too many" answer of the vendor.
    Column("pace", Float, nullable=False),
    Column("slowed_at", BigInteger, nullable=False),
    #: The vendor's Retry-After hint: no call before this time, ms.
    Column("blocked_until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: Responses to requests with an idempotency key, so that a repeated request gets the same response.
idempotency = Table(
    "idempotency",
    metadata,
    #: sha256 over the token's name and the key.
    Column("key_hash", LargeBinary(32), primary_key=True),
    #: sha256 of the body.
    Column("body_hash", LargeBinary(32), nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
    Column("status", Integer, nullable=False),
    Column("location", Text),
    Column("answer", Text, nullable=False),
    sqlite_with_rowid=False,
)

rejections = Table(
    "rejections",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("vendor", String(32), nullable=False),
    Column("app_id", Text),
    Column("status", Integer, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("remote", Text),
    Column("size", Integer, nullable=False),
    sqlite_autoincrement=True,
)

#: Sums that would be expensive to count: `verdict` by vendor and verdict, `received` by second, ...
counters = Table(
    "counters",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("label", String(80), primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
