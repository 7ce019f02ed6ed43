"""The state machine of stream tasks. Pure: no clock, no I/O, no vendor names.

Theory of operation. What is known about a stream task is a *set* of facts: vendor-neutral statements with a time, read from
callbacks, API requests, the answers to calls, and passed deadlines. All facts and tasks that share one vendor key form a lineage.
For each event, `decide` adds facts to the lineage. `refold` then folds the whole set again: `folding.runs` cuts the sorted facts
into runs (each one life of a task), `folding.run_view` folds each run to a view (its current state), `pending_calls` decides which
vendor calls are needed, and `deadlines` when to look at the task again. The result is compared with the tasks as they were; the
differences are the decision: changed tasks, timeline entries, and commands (calls to make or cancel, events for other lineages).

Since every view is a function of the set of facts, the order in which callbacks arrive, and how often, makes no difference.

Values:

* `states` - vocabulary: states, kinds, reasons, anomalies, verdicts, kinds of deadlines.
* `facts` - `Fact`, its kinds and total order, and its JSON form.
* `rules` - `Rules`: what a vendor guarantees and limits for a kind of task.
* `tasks` - `Task`, `Lineage`, `TaskKey`, and ids of tasks.
* `calls` - operations, call outcomes, pending calls, and the results of queries.
* `events` - the inputs of `decide`.
* `commands` - what the workers are to do: make or cancel a call, post an event.
* `decision` - the outputs of `decide`: changes of tasks, and commands.
* `policy` - the policy of a task: automatic stop, renewal and restart; one table for validation and docs.

From event to decision:

* `decide` - the entry point: one handler per type of event.
* `on_request` - reaction to API requests, policies, and reports of successors.
* `on_answer` - reaction to the answer to a vendor call.
* `on_inspection` - reaction to the result of a query.
* `on_deadline` - reaction to a passed deadline.
* `ambiguous_start` - start calls that may have happened and must not be repeated.
* `on_restore` - reaction to a restore of the ledger from a backup.
* `on_clock_setback` - reaction to a clock that was set back.
* `inference` - the ends and anomalies that are inferred if the vendor cannot be queried or reports no reason.
* `reaction` - what a handler returns before anything is folded, and builders of our own facts.
* `refold` - folds a lineage again, and compares the result with its tasks.
* `folding` - facts of a lineage -> runs -> views.
* `run_matching` - matches runs with tasks, and finds tasks that turned out to be the same.
* `pending_calls` - which vendor calls a task needs, which can be made now, and the backoff of failed ones.
* `deadlines` - the table of deadlines: when each is armed, and what happens when it passes.
* `deadline_arming` - when each deadline of a task is due.
* `vendor_reach` - whether the vendor can be queried about a task.
* `transition_table` - the table of allowed moves between states.
* `task_diff` - the differences of a task, as timeline entries and anomalies.

Beside tasks:

* `delivery_policy` - retry policy of webhook deliveries, and the states of deliveries and subscriptions.
* `fast_dataclasses` - fast constructors, copies and sparse dumps for frozen dataclasses.
"""
