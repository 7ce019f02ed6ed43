"""Endpoints of subscriptions: webhooks and Redis streams. Rule: a handler that changes a subscription or its deliveries locks it.

* `endpoints` - the table of endpoints
* `queries` - lists, shows and locks subscriptions
* `changes` - creates, changes, pauses, resumes and deletes subscriptions
* `bodies` - declares and reads the bodies of these requests
* `rotation` - replaces a secret
* `deliveries` - lists, shows and retries deliveries; sends a test event
* `replays` - records requests to send events again
* `rendering` - renders subscriptions and deliveries
* `schemas` - the JSON Schemas of subscriptions and deliveries
"""
