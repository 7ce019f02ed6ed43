"""Makes vendor calls: claims them in the ledger, sends them within the quotas, and posts their answers to the inbox.

How a call is made:

1. `apply` has stored the call with its quota bucket. `caller` claims due calls with a lease, as many as quotas and free threads
   allow.
2. A thread loads the task and checks that the call is still current: a start is not sent once a stop was requested.
3. `call_builder` builds the request from the task; the vendor's dialect signs it and reads the reply.
4. `call_attempt` turns the answer into an inbox row. A query may need further calls (the next page, another query): the row then
   has the next step instead of a result.
5. The call stays claimed until `apply` has applied that row, and deletes it. If the process dies before, the lease ends, and any
   worker posts an ambiguous answer. Posting the real answer is retried until the ledger is available.

* `caller` - claims calls and makes them, in threads.
* `call_builder` - task and operation -> vendor call; the steps of a query.
* `call_attempt` - the result of an attempt as inbox row and log line.
"""
