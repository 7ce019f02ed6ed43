"""Adapters touch the outside world: each sub-package or module hides one outside thing behind our own values.

Rule: adapters know nothing of callbacks and workers, and decide nothing about tasks.

ledger - the database: SQLite or PostgreSQL
spool - local files that hold callbacks while the ledger is away
queue - wake-up hints to workers, in the process or through Redis
vendors - the RTC clouds: their callbacks, API calls and signatures
downstream - sinks: how events leave to subscribers (webhooks, Redis streams)
contract - JSON of the public contract: tasks, CloudEvents, masking of secrets
settings - the configuration: file, environment, flags
access - tokens, login codes and `tally curl`
supervision - threads that must not end or hang unnoticed; faults of a process
process - the process: entry point, sockets, limits, standard streams, terminal
http - the HTTP client for vendors and webhooks
http_messages - its requests and errors
logs - structured logs; the list of all events
log_writer - writes log lines in a thread of its own
metrics - all metrics
text - text that can be stored and shown anywhere
clock - reads the clocks; RFC 3339
clock_watch - detects when the wall clock is set
"""
