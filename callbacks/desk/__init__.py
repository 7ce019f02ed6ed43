"""The desk: where people and their programs ask. It reads the ledger, and writes only wishes into the inbox.

Rule: an endpoint is a line of the table in `endpoints`; what may be asked, who may ask and what is shown in `/openapi.json` follow
from it. Requests are checked (`access`, `parameters`) before anything is read, and all answers about tasks are made in
`rendering`, which hides what the reader may not see. Whatever goes wrong is one of `problems`.
"""

from callbacks.desk.endpoints import openapi
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import exception_handlers
from callbacks.desk.http.routes import desk_routes

__all__ = ["Desk", "desk_routes", "exception_handlers", "openapi"]
