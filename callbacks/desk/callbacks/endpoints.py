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
        summary="List what vendors sent, newest first",
        meaning="Without headers and bodies: those are at each callback's own path.",
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
        summary="Read and decide a callback again",
        meaning="Replaces the facts that it gave before; never repeats a call to the vendor.",
        role=Role.OPERATOR,
        answers={202: ("It waits to be decided.", "Replayed")},
        handle=replays.replay_one,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/callbacks/replay",
        name="replayCallbacks",
        tag="Callbacks",
        summary="Read and decide again all callbacks that a filter selects",
        meaning="Needs at least one filter or bound. Replaces the facts that they gave before; never repeats a call to the vendor.",
        role=Role.OPERATOR,
        body="Replay",
        answers={200: ("How many there are (`dry_run`).", "Matched"), 202: ("They wait to be decided.", "Replayed")},
        handle=replays.replay_many,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/rejections",
        name="listRejections",
        tag="Callbacks",
        summary="List the refused callbacks, newest first",
        meaning="At most the newest 1,000, so that a wrong secret is found in a minute. Each vendor, reason and configured app has"
        " its share of them: a flood of one kind pushes no other out.",
        params=rejections.REJECTION_PARAMS,
        answers={200: ("A page of refusals.", "RejectionPage")},
        handle=rejections.list_rejections,
    ),
)
