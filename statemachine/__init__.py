"""The mind: pure. No clock, no I/O, no vendor names.

Theory of operation. What is known of a stream task is a *set* of facts: neutral statements with a time, drawn from callbacks,
API requests, the answers of calls and passed deadlines. All facts that share one vendor key form a lineage. `runs` cuts a
lineage's facts, sorted by time, into runs; `fold` reads one run's facts and says how it stands; `deadlines` says when to look
again; `decide` compares that with the tasks as they were and says what changes. Since every answer is a function of the set,
the order in which callbacks arrive, and how often, cannot matter.
"""
