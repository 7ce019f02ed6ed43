"""Serves the feed of all events from any position, as pages and as a stream."""

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract.cloud_events import cloud_event
from adapters.ledger import epochs, events
from callbacks.desk.events.sse import EventStream, StreamOwner
from callbacks.desk.http import parameters
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import fit_page
from callbacks.desk.http.parameters import GivenValue
from callbacks.desk.http.problems import Invalid
from callbacks.desk.http.responses import json_bytes_response

_LAST = "Last-Event-ID"

LIST_PARAMS = (
    parameters.number("after", "Events after this position: the `next_after` of the previous page; 0 is the beginning.", default=0),
    parameters.limit(),
)
STREAM_PARAMS = (parameters.number("after", "Events after this position; 0 is the beginning; only new events by default."),)
STREAM_HEADERS = (parameters.number(_LAST, "The `id` of the last event received; it overrides `after`."),)


async def list_events(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    values = parameters.read_query(LIST_PARAMS, request)
    after, limit = values["after"], values["limit"]

    def read() -> Response:
        with desk.ledger.read() as connection:
            behind = epochs.resume_position(connection, after)
            found = events.page(connection, after=behind, limit=limit)
        items, _ = fit_page(found, limit, lambda event: cloud_event(event, keys=caller.sees_keys))
        last = found[len(items) - 1].position if items else behind
        return json_bytes_response(b'{"items":[%b],"next_after":%d}' % (b",".join(items), last))

    return await desk.query_pool.run(request, caller.name, read)


async def stream_events(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    after = _start_position(request)
    if after is None:
        after = await desk.streams.tail.newest_position()
    return EventStream(desk.streams, after, StreamOwner(name=caller.name, keys=caller.sees_keys))


def _start_position(request: Request) -> int | None:
    """Returns the position after which the stream begins; None: now. Raises Invalid."""
    parameters.require_short_query(request)
    in_query = [GivenValue(name=name, field=name, value=value) for name, value in request.query_params.multi_items()]
    in_headers = [GivenValue(name=_LAST, field=_LAST, value=value) for value in request.headers.getlist(_LAST)]
    query, errors = parameters.read_values(STREAM_PARAMS, in_query)
    headers, more = parameters.read_values(STREAM_HEADERS, in_headers)
    if errors or more:
        raise Invalid("some parameters are wrong", [*errors, *more])
    position: int | None = query["after"] if headers[_LAST] is None else headers[_LAST]
    return position
