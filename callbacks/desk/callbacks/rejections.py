"""Lists the callbacks that were rejected."""

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import rejections
from adapters.ledger.rejections import RejectionFilter
from adapters.vendors.registry import vendor_names
from callbacks.desk import rendering
from callbacks.desk.http import cursors, parameters
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import page_of

REJECTION_PARAMS = (
    parameters.word("vendor", vendor_names(), "Refusals of what came to this vendor's path."),
    parameters.text("app_id", "Refusals of what said to be of this app."),
    parameters.text("reason", "Refusals for this reason, as in `bad_signature`."),
    *parameters.paging(int),
)


async def list_rejections(desk: Desk, request: Request, caller: Caller) -> Response:
    values = parameters.from_query(REJECTION_PARAMS, request)
    limit, cursor = values.pop("limit"), values.pop("cursor")
    wanted = RejectionFilter(**values)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = rejections.newest(connection, before=cursor[0] if cursor else None, limit=limit + 1, rejection_filter=wanted)
        return page_of(
            found,
            limit,
            shown=lambda item: rendering.rejection(item[1], keys=caller.sees_keys),
            cursor=lambda item: cursors.encode(item[0]),
        )

    return await desk.queries.run(request, caller.name, read)
