"""Endpoints of callbacks: what the vendors sent, and what was rejected.

* `endpoints` - the table of endpoints
* `queries` - lists and shows recorded callbacks
* `replays` - records requests to read and decide callbacks again
* `rejections` - lists rejected callbacks
* `rendering` - renders callbacks and rejections
* `schemas` - the JSON Schemas of callbacks
"""
