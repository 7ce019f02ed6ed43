"""Endpoints of events: the feed of everything that happened, for readers that follow it.

* `endpoints` - the table of endpoints
* `feed` - events from any position, as pages and as a stream
* `sse` - server-sent events: one stream for each client
* `tail` - keeps the newest events in memory for all streams
* `schemas` - the JSON Schemas of events
"""
