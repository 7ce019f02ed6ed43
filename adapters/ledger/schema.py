"""The tables. Times are whole milliseconds since the Unix epoch, UTC; JSON is text.

`inbox` holds whatever is to be applied; of it, rows of kind `callback` are what vendors sent, kept as they came. `lineages` and
`tasks` hold what follows from it. `timeline` says what happened to a task, one row per applied inbox row, and `events` what others
are told of it, one row per version; `subscriptions` says who that is, and `deliveries` what came of it.

`shard` is a number made from a task's id at the vendor: rows of one task have the same, so that one worker gets them all.

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

#: Autoincrement keys are never used again, so that a cursor can trust them. SQLite wants INTEGER for them.
_Id = BigInteger().with_variant(Integer(), "sqlite")

inbox = Table(
    "inbox",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    #: callback, replay, deadline, mark, start, stop, update, retry, answer, succession, restored
    Column("kind", String(16), nullable=False),
    #: sha256 over everything that tells this row from others.
    Column("dedupe_key", LargeBinary(32), nullable=False, unique=True),
    Column("vendor", String(32)),
    Column("app_id", String(128)),
    Column("event_type", String(128)),
    Column("received_at", BigInteger, nullable=False),
    Column("headers", Text),
    Column("body", LargeBinary),
    #: Of rows that are no callbacks: what is asked, as JSON.
    Column("payload", Text),
    Column("event_at", BigInteger),
    #: Empty: none yet, or this row gets none.
    Column("verdict", String(16), nullable=False, server_default=text("''")),
    Column("reason", String(64)),
    Column("task_id", String(26)),
    Column("applied_at", BigInteger),
    #: Why it could not be applied: a row set aside, until it is replayed.
    Column("error", Text),
    #: It waits until then for an answer that may say whose it is.
    Column("held_until", BigInteger),
    Column("shard", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
#: `sqlite_where` and `postgresql_where` want the same words as the statements that are to use the index.
_CALLBACKS = text("kind = 'callback'")
_UNAPPLIED = text("applied_at IS NULL")
# All that is asked of rows that wait, so that their bodies need not be read.
_WAITING = (inbox.c.shard, inbox.c.kind, inbox.c.received_at, inbox.c.applied_at)
_WITH_TASK = text("task_id IS NOT NULL")
Index("inbox_unapplied", inbox.c.id, *_WAITING, sqlite_where=_UNAPPLIED, postgresql_where=_UNAPPLIED)
_HELD = text("held_until IS NOT NULL AND applied_at IS NULL")
Index("inbox_held", inbox.c.held_until, sqlite_where=_HELD, postgresql_where=_HELD)
# Callbacks are listed newest first by when they were received: all, those of each course (vendor, type, verdict), of a task.
_NEWEST = (inbox.c.received_at, inbox.c.id)
_COURSE = (inbox.c.vendor, inbox.c.event_type, inbox.c.verdict)
Index("inbox_received", *_NEWEST, sqlite_where=_CALLBACKS, postgresql_where=_CALLBACKS)
Index("inbox_course", *_COURSE, *_NEWEST, sqlite_where=_CALLBACKS, postgresql_where=_CALLBACKS)
Index("inbox_task", inbox.c.task_id, *_NEWEST, *_COURSE, sqlite_where=_WITH_TASK, postgresql_where=_WITH_TASK)

#: The signatures of callbacks, for vendors whose signature leaves open which value is which field: of callbacks that share one,
#: only the first is recorded. Keys begin with the event's time. A table of its own, so that those of before are cheap to add.
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
    #: Tasks of the first so many runs are not read with the lineage any more, and what is older than this belongs to them.
    Column("sealed_runs", Integer, nullable=False),
    Column("sealed_until", BigInteger, nullable=False),
    #: Grows by one with each save; whoever saves names the one that was read.
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
    #: Of which facet it is one; null once it was found to be one with another task: such a task is in no list.
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

#: What tasks have in common that can be filtered by and takes few values: a row for each combination that was ever met. Any such
#: filters together choose facets, and of each facet the tasks lie in order in one index.
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
    #: How many tasks there are.
    Column("tasks", BigInteger, nullable=False),
)

timeline = Table(
    "timeline",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("task_id", String(26), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("inbox_id", _Id),
    #: A JSON list of what this inbox row did, in order.
    Column("entries", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("timeline_task", timeline.c.task_id, timeline.c.id)

#: What others are told: a row for each version of a task, written with it. Whoever reads on from an id misses nothing (`events`).
events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    #: The task; or the subscription, of which there are events too.
    Column("subject", String(26), nullable=False),
    Column("version", Integer, nullable=False),
    #: tally.task.running, tally.task.files, ...
    Column("type", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    #: Of the task; empty where it is none.
    Column("vendor", String(32), nullable=False),
    Column("app_id", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    #: The task as it was then, its state before, and the cause; as JSON.
    Column("doc", Text, nullable=False),
)
Index("events_subject", events.c.subject, events.c.version)

#: Who is to be told of events, and how.
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", String(26), primary_key=True),
    #: Where events go, in the words of that sink; JSON.
    Column("sink", Text, nullable=False),
    #: Which types of events, a JSON list; and of which tasks, a JSON object.
    Column("types", Text, nullable=False),
    Column("filter", Text, nullable=False),
    Column("description", Text, nullable=False),
    #: active, paused, disabled, deleted; and why, where it was not asked for.
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("secret", Text, nullable=False),
    #: The secret before, with which is signed too until then, ms.
    Column("old_secret", Text),
    Column("old_secret_until", BigInteger),
    #: Events up to this one were queued for it, or are not for it.
    Column("position", BigInteger, nullable=False),
    #: Since when nothing could be delivered, ms (null: the newest attempt went well, or there was none); when that was last so.
    Column("failing_since", BigInteger),
    Column("failed_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
)

#: Events on their way to subscriptions, and what became of those before.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("subscription_id", String(26), nullable=False),
    #: Empty: a test.
    Column("event_id", _Id),
    #: What is of one subject arrives in the order of these rows.
    Column("subject", String(26), nullable=False),
    Column("type", String(64), nullable=False),
    #: event, replay, retry, test
    Column("origin", String(8), nullable=False),
    #: waiting, delivered, dead, requeued
    Column("state", String(16), nullable=False),
    Column("queued_at", BigInteger, nullable=False),
    #: When it is to be sent, ms; null while another one of its subject waits before it.
    Column("due_at", BigInteger),
    #: Somebody has taken it, and says until then (ms) what became of it.
    Column("lease_until", BigInteger),
    #: How often it was taken, and when first, ms.
    Column("tries", Integer, nullable=False),
    Column("first_tried_at", BigInteger),
    Column("done_at", BigInteger),
    #: What was answered each time, a JSON list.
    Column("attempts", Text, nullable=False),
    sqlite_autoincrement=True,
)
# Each delivery is written three times, and so are its entries here: there are no more of them than must be.
_DUE = text("due_at IS NOT NULL")
_OF_SUBSCRIPTION = deliveries.c.subscription_id
_WHEN = (deliveries.c.due_at, deliveries.c.id)
Index("deliveries_due", _OF_SUBSCRIPTION, *_WHEN, sqlite_where=_DUE, postgresql_where=_DUE)
Index("deliveries_subject", _OF_SUBSCRIPTION, deliveries.c.subject, deliveries.c.state, deliveries.c.id)
Index("deliveries_state", _OF_SUBSCRIPTION, deliveries.c.state, deliveries.c.id)

#: Events that are to be delivered once more, little by little.
replays = Table(
    "replays",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("subscription_id", String(26), nullable=False, index=True),
    #: Which events: their times (ms, the last one excluded), their subject, only those that could not be delivered.
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("subject", String(26)),
    Column("dead", SmallInteger, nullable=False),
    #: Events up to this one were looked at (of dead ones: deliveries), and up to which there is something to do.
    Column("position", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    #: How many are queued each second, and when (ms) the next ones may be.
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

#: Calls that are to be made, or are under way; a call that was answered leaves nothing here.
effects = Table(
    "effects",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("task_id", String(26), nullable=False),
    #: Tells the attempts of a task's calls apart.
    Column("serial", Integer, nullable=False),
    #: start, update, stop, inspect
    Column("operation", String(16), nullable=False),
    #: Where not the usual call is to be made: which, as JSON.
    Column("step", Text),
    #: Of the task: a callback of an id that nobody knows waits while a start of its app and family is under way.
    Column("vendor", String(32), nullable=False),
    Column("app_id", String(128), nullable=False),
    Column("family", String(16), nullable=False),
    #: Which quota it is under: account and API.
    Column("bucket", String(255), nullable=False),
    #: Not to be taken before, ms.
    Column("due_at", BigInteger, nullable=False),
    #: Until when an answer is waited for; null: it was not taken yet.
    Column("lease_until", BigInteger),
    Column("shard", SmallInteger, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
Index("effects_attempt", effects.c.task_id, effects.c.serial, unique=True)
_UNTAKEN = text("lease_until IS NULL")
_TAKEN = text("lease_until IS NOT NULL")
Index("effects_untaken", effects.c.bucket, effects.c.id, sqlite_where=_UNTAKEN, postgresql_where=_UNTAKEN)
Index("effects_leases", effects.c.lease_until, sqlite_where=_TAKEN, postgresql_where=_TAKEN)

#: How many calls may be made: a token bucket for each account and API.
quotas = Table(
    "quotas",
    metadata,
    Column("bucket", String(255), primary_key=True),
    #: How many may be made at once, as of `at` (ms).
    Column("tokens", Float, nullable=False),
    Column("at", BigInteger, nullable=False),
    #: What part of the usual rate is taken, as of `slowed_at` (ms): less than 1 after the vendor said that it is too much.
    Column("pace", Float, nullable=False),
    Column("slowed_at", BigInteger, nullable=False),
    #: The vendor's own hint: none before, ms.
    Column("blocked_until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What was answered to requests that named themselves, so that the same request is answered the same.
idempotency = Table(
    "idempotency",
    metadata,
    #: sha256 over who asked and the name of the request.
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

#: Sums that would be dear to count: `verdict` by vendor and word, `received` by second.
counters = Table(
    "counters",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("label", String(80), primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
