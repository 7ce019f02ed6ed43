"""The desk: the HTTP API, the status page and the documentation, for people and their programs.

It reads the ledger, and writes only requests into the inbox; it never changes a task itself.

Rule: an endpoint is one entry of a table. Routes, roles and `/openapi.json` follow from it. Requests are authenticated and checked
before anything is read. What a reader may not see is masked in the `rendering` modules.

* `endpoints` - joins the tables of endpoints; makes the routes and the OpenAPI document
* `schemas` - joins the JSON Schemas of all bodies and answers
* `http` - what all endpoints share: tokens, parameters, bodies, errors, pages, the OpenAPI document
* `tasks` - start, list, show, stop, update, retry and mark tasks
* `callbacks` - list, show and replay callbacks; list rejections
* `events` - the feed of events: as pages and as server-sent events
* `subscriptions` - webhooks and Redis streams: subscriptions, deliveries, replays, secrets
* `service` - numbers, metrics, health, login, the status page
"""

from callbacks.desk.endpoints import desk_routes, openapi
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import exception_handlers

__all__ = ["Desk", "desk_routes", "exception_handlers", "openapi"]
