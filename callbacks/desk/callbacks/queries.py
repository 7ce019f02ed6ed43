"""Lists and shows recorded callbacks."""

import re
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import Connection, callbacks
from adapters.ledger.callbacks import CallbackFilter, CallbackSummary, RecordedCallback
from adapters.vendors.registry import vendor_names
from callbacks.desk.callbacks import rendering
from callbacks.desk.http import cursors, parameters
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import page_of
from callbacks.desk.http.problems import NotFound
from callbacks.desk.http.responses import json_response
from statemachine.states import Verdict

T = TypeVar("T")

#: The shape of a callback's id.
_ID = re.compile(r"[0-9]{1,18}")

FILTERS = (
    parameters.choice("vendor", vendor_names(), "Callbacks of this vendor."),
    parameters.choice("verdict", Verdict, "Callbacks with this verdict."),
    parameters.text("event_type", "Callbacks of this event type of the vendor."),
    parameters.text("task_id", "Callbacks of this task (Tallylight's id)."),
    parameters.time("received_after", "Callbacks received at this time or later."),
    parameters.time("received_before", "Callbacks received before this time."),
)
LIST_PARAMS = (*FILTERS, *parameters.paging(int, int))


async def list_callbacks(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    values = parameters.read_query(LIST_PARAMS, request)
    limit, cursor = values.pop("limit"), values.pop("cursor")
    wanted = CallbackFilter(**values)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = callbacks.page(connection, wanted, before=cursor, limit=limit + 1)
        return page_of(
            found,
            limit,
            shown=lambda each: rendering.render_callback(each, keys=caller.sees_keys),
            cursor=lambda each: cursors.encode(each.received_at, each.id),
        )

    return await desk.query_pool.run(request, caller.name, read)


async def show_callback(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)

    def read() -> Response:
        """Reads the body only for callers that may see it."""
        found: RecordedCallback | CallbackSummary
        look_for = request.path_params["id"]
        found = _find_callback(desk, look_for, callbacks.find) if caller.sees_keys else find_summary(desk, look_for)
        return json_response(rendering.render_callback(found, keys=caller.sees_keys))

    return await desk.query_pool.run(request, caller.name, read)


def find_summary(desk: Desk, callback_id: str) -> CallbackSummary:
    """Returns a callback without its body. Raises NotFound."""
    return _find_callback(desk, callback_id, callbacks.find_summary)


def _find_callback(desk: Desk, callback_id: str, look: Callable[[Connection, int], T | None]) -> T:
    """Returns the callback that `look` finds. Raises NotFound."""
    if _ID.fullmatch(callback_id):
        with desk.ledger.read() as connection:
            callback = look(connection, int(callback_id))
        if callback is not None:
            return callback
    raise NotFound("there is no callback with this id")
