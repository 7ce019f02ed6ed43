"""Lists the endpoints of callbacks."""

from adapters.settings import Role
from callbacks.desk.callbacks import queries, rejections, replays
from callbacks.desk.http.endpoint import GuardedEndpoint

ENDPOINTS = (
    GuardedEndpoint(
        method="GET",
        path="/v1/callbacks",
        name="listCallbacks",
        tag="Callbacks",
        summary="List callbacks, newest first",
        meaning="Without headers and bodies: the path of each callback has them.",
        params=queries.LIST_PARAMS,
        answers={200: ("A page of callbacks.", "CallbackPage")},
        handle=queries.list_callbacks,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/callbacks/{id}",
        name="getCallback",
        tag="Callbacks",
        summary="Show a callback",
        meaning="Viewers see neither headers nor body.",
        answers={200: ("The callback.", "Callback")},
        handle=queries.show_callback,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/callbacks/{id}/replay",
        name="replayCallback",
        tag="Callbacks",
        summary="Replay a callback: read and decide it again",
        meaning="Replaces the facts that it gave before; never repeats a call to the vendor. Takes no body.",
        role=Role.OPERATOR,
        answers={202: ("The replay is recorded.", "Replayed")},
        handle=replays.replay_one,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/callbacks/replay",
        name="replayCallbacks",
        tag="Callbacks",
        summary="Replay all callbacks that a filter selects",
        meaning="Needs at least one filter. Replaces the facts that the callbacks gave before; never repeats a call to the vendor.",
        role=Role.OPERATOR,
        body="Replay",
        answers={200: ("Their number (`dry_run`).", "Matched"), 202: ("The replays are recorded.", "Replayed")},
        handle=replays.replay_many,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/rejections",
        name="listRejections",
        tag="Callbacks",
        summary="List rejected callbacks, newest first",
        meaning="At most the newest 1,000; a wrong secret shows here within a minute. Each vendor, reason and configured app has"
        " its share of them: a flood of one kind does not push out the others.",
        params=rejections.REJECTION_PARAMS,
        answers={200: ("A page of rejections.", "RejectionPage")},
        handle=rejections.list_rejections,
    ),
)
