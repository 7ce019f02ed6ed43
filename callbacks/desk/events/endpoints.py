"""Lists the endpoints of events."""

from callbacks.desk.events import feed
from callbacks.desk.http.endpoint import GuardedEndpoint

ENDPOINTS = (
    GuardedEndpoint(
        method="GET",
        path="/v1/events",
        name="listEvents",
        tag="Events",
        summary="List events, oldest first",
        meaning="One event for each version of a task. A client that continues with `next_after` gets each event once, in order,"
        " and misses none. Viewers see urls without stream keys.",
        params=feed.LIST_PARAMS,
        answers={200: ("A page of events; an empty page means that there are no more for now.", "EventPage")},
        handle=feed.list_events,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/events/stream",
        name="streamEvents",
        tag="Events",
        summary="Stream events as they happen",
        meaning="Server-sent events: `id` is the position, `data` a `CloudEvent` on one line. A client that reconnects with"
        " `Last-Event-ID`, as browsers do, misses none. A client that reads nothing for 30 s is disconnected.",
        params=feed.STREAM_PARAMS,
        headers=feed.STREAM_HEADERS,
        answers={
            200: ("Events until the client disconnects; a comment line every 15 s while there are none.", "text/event-stream"),
            503: ("`too_many_streams`, or the ledger cannot be reached; try again after `Retry-After` seconds.", "Problem"),
        },
        handle=feed.stream_events,
    ),
)
