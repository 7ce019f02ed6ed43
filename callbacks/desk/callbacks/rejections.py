"""Lists the callbacks that were rejected."""

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import rejections
from adapters.ledger.rejections import RejectionFilter
from adapters.vendors.registry import vendor_names
from callbacks.desk.callbacks import rendering
from callbacks.desk.http import cursors, parameters
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import page_of

REJECTION_PARAMS = (
    parameters.choice("vendor", vendor_names(), "Rejections at this vendor's path."),
    parameters.text("app_id", "Rejections of requests that named this app."),
    parameters.text("reason", "Rejections with this reason, such as `bad_signature`."),
    *parameters.paging(int),
)


async def list_rejections(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    values = parameters.read_query(REJECTION_PARAMS, request)
    limit, cursor = values.pop("limit"), values.pop("cursor")
    wanted = RejectionFilter(**values)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = rejections.newest(connection, before=cursor[0] if cursor else None, limit=limit + 1, rejection_filter=wanted)
        return page_of(
            found,
            limit,
            shown=lambda item: rendering.render_rejection(item[1], keys=caller.sees_keys),
            cursor=lambda item: cursors.encode(item[0]),
        )

    return await desk.query_pool.run(request, caller.name, read)
