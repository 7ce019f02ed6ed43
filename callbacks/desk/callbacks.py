"""What vendors sent."""

import re

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import callbacks
from adapters.ledger.callbacks import Callback, CallbackFilter
from adapters.settings.loading import vendor_names
from callbacks.desk import cursors, parameters, rendering
from callbacks.desk.access import Caller
from callbacks.desk.answers import answer
from callbacks.desk.desk import Desk
from callbacks.desk.paging import page_of
from callbacks.desk.problems import NotFound
from statemachine.states import Verdict

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

    def read() -> list[Callback]:
        with desk.ledger.read() as connection:
            return callbacks.page(connection, wanted, before=cursor, limit=limit + 1)

    found = await run_in_threadpool(read)
    return answer(
        page_of(
            found,
            limit,
            shown=lambda callback: rendering.callback(callback, keys=caller.sees_keys),
            cursor=lambda callback: cursors.encode(callback.received_at, callback.id),
        )
    )


async def show_callback(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)
    callback = await run_in_threadpool(find, desk, request.path_params["id"])
    return answer(rendering.callback(callback, keys=caller.sees_keys))


def find(desk: Desk, callback_id: str) -> Callback:
    """Raises NotFound."""
    if _ID.fullmatch(callback_id):
        with desk.ledger.read() as connection:
            callback = callbacks.find(connection, int(callback_id))
        if callback is not None:
            return callback
    raise NotFound("there is no callback with this id")
