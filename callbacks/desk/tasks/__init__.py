"""Endpoints of tasks. Rule: they only read the ledger and put requests into the inbox; a worker decides.

* `endpoints` - the table of endpoints
* `queries` - lists and shows tasks and timelines
* `start` - records a request to start a task, with its idempotency key
* `start_request` - validates a request to start a task
* `start_policy` - checks a policy against the start call
* `actions` - records requests to stop, update and retry
* `marks` - records an operator's statement about a task
* `rendering` - renders tasks of lists and timelines
* `schemas` - the JSON Schemas of tasks
"""
