"""Endpoints about the service itself.

* `endpoints` - the table of endpoints
* `monitoring` - numbers, metrics and health
* `metrics_bridge` - copies the ledger's sums into the metrics
* `login` - exchanges the code of a login link for its token
* `status_page` - serves the status page
* `rendering` - renders numbers and parts
* `schemas` - the JSON Schemas of numbers, health and login
"""
