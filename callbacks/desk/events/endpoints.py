"""Lists the endpoints of events."""

from callbacks.desk.events import feed
from callbacks.desk.http.endpoint import GuardedEndpoint

ENDPOINTS = (
    GuardedEndpoint(
        method="GET",
        path="/v1/events",
        name="listEvents",
        tag="Events",
        summary="List what happened, oldest first",
        meaning="One event for each version of a task. Whoever goes on with `next_after` gets each event once, in order, and misses"
        " none. Viewers see urls without stream keys.",
        params=feed.LIST_PARAMS,
        answers={200: ("A page of events; an empty one is the end for now.", "EventPage")},
        handle=feed.list_events,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/events/stream",
        name="streamEvents",
        tag="Events",
        summary="Hear of what happens as it does",
        meaning="Server-sent events: `id` is the position, `data` a `CloudEvent` on one line. Whoever comes back with"
        " `Last-Event-ID`, as browsers do by themselves, misses none. A client that takes nothing for 30 s is cut off.",
        params=feed.STREAM_PARAMS,
        headers=feed.STREAM_HEADERS,
        answers={
            200: ("Events until the client goes; a comment line every 15 s while there are none.", "text/event-stream"),
            503: ("`too_many_streams`, or the ledger cannot be reached; ask again after `Retry-After` seconds.", "Problem"),
        },
        handle=feed.stream_events,
    ),
)
