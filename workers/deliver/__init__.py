"""Delivers domain events to subscriptions: in order per task, at least once, each subscriber at its own pace.

How an event reaches a subscriber:

1. `dispatcher` plans a round: which subscriptions have new events, a due replay, or due deliveries.
2. `delivery_round` runs it, in one transaction: it records the results of earlier attempts (`delivery_results`), queues a delivery
   of each new event for each subscription that matches it, and claims due deliveries with a lease. The next event of a task becomes
   due when the one before it is delivered or dead.
3. `messages` builds the CloudEvent, with stream keys masked.
4. `send_window` limits how many deliveries of a subscription are in flight, and how many threads send them.
5. `sender` sends the message by the sink of the subscription. Its result goes back to the dispatcher, for the next round.
6. A delivery whose process died is due again when its lease ends.

* `dispatcher` - makes rounds and passes messages to the threads that send.
* `delivery_round` - one round: everything it needs from the ledger, in one transaction.
* `delivery_results` - what an attempt means for its delivery and its subscription.
* `messages` - claimed delivery -> message; an attempt and its result.
* `send_window` - congestion window of each subscription.
* `sender` - sends one message, once.
* `delivery_log` - log lines about rounds.
* `retention` - deletes old deliveries.
"""
