"""Everything that happens without an HTTP request: inbox rows are applied, vendors are called, events are delivered.

Theory of operation. Whatever happens (a callback, an API request, the answer to a call, a passed deadline) becomes an inbox row.
`apply` turns rows into saved tasks, in one transaction that also stores the new calls and the domain events. `call` makes these
calls and posts their answers to the inbox. `deliver` sends the events to subscribers. The ledger is the only queue: calls and
deliveries are claimed there with a lease, and other workers find a lease that ended, so a process may die at any moment. A hint
only says that there may be rows; the sweep finds them without hints. `apply` wakes `call` and `deliver` after each batch.

* `apply` - inbox rows -> saved tasks.
* `call` - pending calls -> vendors' APIs -> answers in the inbox.
* `deliver` - domain events -> subscribers.
* `sweep` - posts due deadlines, applies rows without a hint, does maintenance.
* `actors` - the dramatiq actor that a hint wakes.
* `clock_setback` - repairs stored times after the clock was set back.
* `process` - starts and stops all workers of one process together.
* `thread_pool` - the thread pool of the caller and the dispatcher.
"""
