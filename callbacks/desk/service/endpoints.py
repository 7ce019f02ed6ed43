"""Lists the endpoints of the service itself: numbers, health, log-in and pages."""

from callbacks.desk.http.endpoint import FreeEndpoint, GuardedEndpoint
from callbacks.desk.service import login, monitoring, status_page

ENDPOINTS = (
    GuardedEndpoint(
        method="GET",
        path="/v1/stats",
        name="getStats",
        tag="Service",
        summary="Get numbers about everything",
        meaning="Cheap enough to be polled ten times a second.",
        answers={200: ("The numbers.", "Stats")},
        handle=monitoring.show_stats,
    ),
    GuardedEndpoint(
        method="GET",
        path="/metrics",
        name="getMetrics",
        tag="Service",
        summary="Get metrics in Prometheus' text format",
        answers={200: ("The metrics.", "text/plain")},
        handle=monitoring.show_metrics,
    ),
    FreeEndpoint(
        method="GET",
        path="/healthz",
        name="getHealth",
        tag="Service",
        summary="Check whether the process answers",
        answers={200: ("It does.", "Status")},
        handle=monitoring.show_health,
    ),
    FreeEndpoint(
        method="GET",
        path="/readyz",
        name="getReadiness",
        tag="Service",
        summary="Check whether the process can serve",
        meaning="Callbacks are accepted, the schema is the one that this version needs, and every thread works."
        " Answered from memory, whatever the ledger does.",
        answers={
            200: (
                "It can. `degraded`: something does not work, but callbacks are accepted; `parts` says what and since when.",
                "Status",
            ),
            503: ("It cannot; `parts` says which do not work and since when.", "Problem"),
        },
        handle=monitoring.show_readiness,
    ),
    FreeEndpoint(
        method="POST",
        path="/v1/login",
        name="logIn",
        tag="Service",
        summary="Exchange the code of a login link for its token",
        meaning="For the status page: the links of `tally link` and `tally up` contain such a code. It can be used once, within ten"
        " minutes.",
        body="Login",
        answers={
            200: ("The token. Send it as `Authorization: Bearer`.", "LoggedIn"),
            401: ("The code was used, has expired or never existed.", "Problem"),
            422: ("`code` is wrong.", "Problem"),
            429: ("Too many wrong codes came from this address; try again after `Retry-After` seconds.", "Problem"),
        },
        handle=login.log_in,
    ),
    FreeEndpoint(
        method="GET",
        path="/",
        name="getStatusPage",
        tag="Service",
        summary="Show the status page",
        meaning="The page asks for a token if one is needed.",
        answers={200: ("The page.", "text/html")},
        handle=status_page.show_status,
    ),
)
