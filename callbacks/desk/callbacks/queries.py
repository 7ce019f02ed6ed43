"""What vendors sent."""

import re
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import Connection, callbacks
from adapters.ledger.callbacks import Callback, CallbackFilter, Listed
from adapters.settings.loading import vendor_names
from callbacks.desk import rendering
from callbacks.desk.http import cursors, parameters
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import page_of
from callbacks.desk.http.problems import NotFound
from callbacks.desk.http.responses import answer
from statemachine.states import Verdict

T = TypeVar("T")

#: Fits the ledger's ids.
_ID = re.compile(r"[0-9]{1,18}")

FILTERS = (
    parameters.word("vendor", vendor_names(), "Callbacks of this vendor."),
    parameters.word("verdict", Verdict, "Callbacks that were given this verdict."),
    parameters.text("event_type", "Callbacks of this type, in the vendor's words."),
    parameters.text("task_id", "Callbacks that concern this task of ours."),
    parameters.moment("received_after", "Callbacks received at this time or later."),
    parameters.moment("received_before", "Callbacks received before this time."),
)
LIST_PARAMS = (*FILTERS, *parameters.paging(int, int))


async def list_callbacks(desk: Desk, request: Request, caller: Caller) -> Response:
    values = parameters.from_query(LIST_PARAMS, request)
    limit, cursor = values.pop("limit"), values.pop("cursor")
    wanted = CallbackFilter(**values)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = callbacks.page(connection, wanted, before=cursor, limit=limit + 1)
        return page_of(
            found,
            limit,
            shown=lambda each: rendering.callback(each, keys=caller.sees_keys),
            cursor=lambda each: cursors.encode(each.received_at, each.id),
        )

    return await desk.queries.run(request, caller.name, read)


async def show_callback(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)

    def read() -> Response:
        """Who may not see the body does not have it read either."""
        found: Callback | Listed
        look_for = request.path_params["id"]
        found = _found(desk, look_for, callbacks.find) if caller.sees_keys else find(desk, look_for)
        return answer(rendering.callback(found, keys=caller.sees_keys))

    return await desk.queries.run(request, caller.name, read)


def find(desk: Desk, callback_id: str) -> Listed:
    """Raises NotFound."""
    return _found(desk, callback_id, callbacks.find_listed)


def _found(desk: Desk, callback_id: str, look: Callable[[Connection, int], T | None]) -> T:
    """Raises NotFound."""
    if _ID.fullmatch(callback_id):
        with desk.ledger.read() as connection:
            callback = look(connection, int(callback_id))
        if callback is not None:
            return callback
    raise NotFound("there is no callback with this id")
