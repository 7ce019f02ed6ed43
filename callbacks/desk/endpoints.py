"""Every path of the desk, once: routes, roles and the OpenAPI document are made from this table."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.settings import Role
from callbacks.desk import (
    callbacks,
    docs,
    feed,
    login,
    marks,
    orders,
    replays,
    service,
    starts,
    status,
    tasks,
)
from callbacks.desk.answers import answer
from callbacks.desk.desk import Desk
from callbacks.desk.endpoint import FreeEndpoint, GuardedEndpoint
from callbacks.desk.openapi import document
from callbacks.desk.pages import page
from callbacks.desk.subscription_endpoints import SUBSCRIPTIONS


@cache
def openapi() -> Mapping[str, Any]:
    """The OpenAPI 3.1 document. Made once; do not change it."""
    return document(ENDPOINTS)


async def show_openapi(desk: Desk, request: Request) -> Response:
    return answer(openapi())


async def show_docs(desk: Desk, request: Request) -> Response:
    return page(docs.html(openapi()))


_MERGED = ("It was merged into another task: `Location` names the same request there.", None)
_RECORDED = "It is recorded, and a worker decides it; the task as it is now."

TASKS = (
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks",
        name="startTask",
        tag="Tasks",
        summary="Start a task",
        meaning="Records that the vendor's start call is to be made; a worker makes it, and tries again where that can help."
        " Everything is checked against the vendor's pages before.",
        role=Role.OPERATOR,
        headers=starts.HEADERS,
        body="StartTask",
        answers={
            202: ("It is recorded; `Location` names the task.", "Task"),
            409: ("`already_live` or `robot_in_use`: `Location` names the task that is in the way.", "Problem"),
        },
        handle=starts.start,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/tasks",
        name="listTasks",
        tag="Tasks",
        summary="List tasks, newest first",
        params=tasks.LIST_PARAMS,
        answers={200: ("A page of tasks.", "TaskPage")},
        handle=tasks.list_tasks,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/tasks/{id}",
        name="getTask",
        tag="Tasks",
        summary="Show a task",
        answers={200: ("The task.", "Task"), 308: ("It was merged into another task: `Location` names that.", None)},
        handle=tasks.show_task,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/tasks/{id}/timeline",
        name="getTimeline",
        tag="Tasks",
        summary="Show what happened to a task, oldest first",
        meaning="Callbacks with their verdicts, deadlines armed and passed, moves from one state to another.",
        params=tasks.TIMELINE_PARAMS,
        answers={200: ("A page of the timeline.", "TimelinePage")},
        handle=tasks.show_timeline,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks/{id}/update",
        name="updateTask",
        tag="Tasks",
        summary="Update a task at the vendor",
        meaning="The ids are filled in; what the vendor does with parameters that are left out, its own pages say.",
        role=Role.OPERATOR,
        body="UpdateTask",
        answers={
            202: (_RECORDED, "Task"),
            308: _MERGED,
            409: ("`already_ended`, `not_updatable`, `not_started_yet` or `no_account`.", "Problem"),
        },
        handle=orders.update,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks/{id}/stop",
        name="stopTask",
        tag="Tasks",
        summary="Stop a task",
        meaning="An ended task too, where the end was only inferred or its anomaly `zombie` is open. Takes no body.",
        role=Role.OPERATOR,
        answers={202: (_RECORDED, "Task"), 308: _MERGED, 409: ("`already_ended` or `no_account`.", "Problem")},
        handle=orders.stop,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks/{id}/retry",
        name="retryTask",
        tag="Tasks",
        summary="Try the call that waits now",
        meaning="A call that failed is tried again by itself, later and later; this does not wait for that. Takes no body.",
        role=Role.OPERATOR,
        answers={202: (_RECORDED, "Task"), 308: _MERGED, 409: ("`nothing_pending`.", "Problem")},
        handle=orders.retry,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks/{id}/mark",
        name="markTask",
        tag="Tasks",
        summary="Say that a task ended, or that an anomaly is dealt with",
        meaning="An operator's own word, kept in the timeline. An end counts as inferred: the vendor's word corrects it.",
        role=Role.OPERATOR,
        body="Mark",
        answers={202: ("It waits to be decided; the task as it is now.", "Task")},
        handle=marks.mark,
    ),
)
CALLBACKS = (
    GuardedEndpoint(
        method="GET",
        path="/v1/callbacks",
        name="listCallbacks",
        tag="Callbacks",
        summary="List what vendors sent, newest first",
        meaning="Without headers and bodies: those are at each callback's own path.",
        params=callbacks.LIST_PARAMS,
        answers={200: ("A page of callbacks.", "CallbackPage")},
        handle=callbacks.list_callbacks,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/callbacks/{id}",
        name="getCallback",
        tag="Callbacks",
        summary="Show a callback",
        meaning="Viewers see neither headers nor body.",
        answers={200: ("The callback.", "Callback")},
        handle=callbacks.show_callback,
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
        params=service.REJECTION_PARAMS,
        answers={200: ("A page of refusals.", "RejectionPage")},
        handle=service.list_rejections,
    ),
)
EVENTS = (
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
SERVICE = (
    GuardedEndpoint(
        method="GET",
        path="/v1/stats",
        name="getStats",
        tag="Service",
        summary="Count everything",
        meaning="Cheap enough to be asked ten times a second.",
        answers={200: ("The numbers.", "Stats")},
        handle=service.show_stats,
    ),
    GuardedEndpoint(
        method="GET",
        path="/metrics",
        name="getMetrics",
        tag="Service",
        summary="Metrics in Prometheus' text format",
        answers={200: ("The metrics.", "text/plain")},
        handle=service.show_metrics,
    ),
    FreeEndpoint(
        method="GET",
        path="/healthz",
        name="getHealth",
        tag="Service",
        summary="Whether the process answers",
        answers={200: ("It does.", "Status")},
        handle=service.show_health,
    ),
    FreeEndpoint(
        method="GET",
        path="/readyz",
        name="getReadiness",
        tag="Service",
        summary="Whether it can serve",
        meaning="Callbacks are taken, the schema is the one that this version needs, and every thread does its work."
        " Answered from memory, whatever the ledger does.",
        answers={
            200: (
                "It can. `degraded`: something does not work, but callbacks are taken; `parts` says what and since when.",
                "Status",
            ),
            503: ("It cannot; `parts` says which do not work and since when.", "Problem"),
        },
        handle=service.show_readiness,
    ),
    FreeEndpoint(
        method="POST",
        path="/v1/login",
        name="logIn",
        tag="Service",
        summary="Exchange the code of a login link for its token",
        meaning="For the status page, to which `tally link` and the first lines of `tally up` lead with such a code. It can be used"
        " once, within ten minutes.",
        body="Login",
        answers={
            200: ("The token. Send it as `Authorization: Bearer`.", "LoggedIn"),
            401: ("The code was used, has expired or was never given.", "Problem"),
            422: ("`code` is not right.", "Problem"),
            429: ("Too many wrong ones came from this address; ask again after `Retry-After` seconds.", "Problem"),
        },
        handle=login.log_in,
    ),
    FreeEndpoint(
        method="GET",
        path="/openapi.json",
        name="getOpenapi",
        tag="Service",
        summary="This document",
        answers={200: ("An OpenAPI 3.1 document.", "application/json")},
        handle=show_openapi,
    ),
    FreeEndpoint(
        method="GET",
        path="/docs",
        name="getDocs",
        tag="Service",
        summary="This document as a page",
        answers={200: ("The page.", "text/html")},
        handle=show_docs,
    ),
    FreeEndpoint(
        method="GET",
        path="/",
        name="getStatusPage",
        tag="Service",
        summary="The status page",
        meaning="It asks for a token where one is needed.",
        answers={200: ("The page.", "text/html")},
        handle=status.show_status,
    ),
)
ENDPOINTS: tuple[GuardedEndpoint | FreeEndpoint, ...] = (*TASKS, *CALLBACKS, *EVENTS, *SUBSCRIPTIONS, *SERVICE)
