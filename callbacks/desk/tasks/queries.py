"""Tasks and their timelines."""

import re

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract import task_json
from adapters.ledger import search, starts, timeline
from adapters.ledger.search import TaskFilter
from adapters.settings.loading import vendor_names
from callbacks.desk import rendering
from callbacks.desk.http import cursors, parameters
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import page_from, page_of
from callbacks.desk.http.problems import NotFound
from callbacks.desk.http.responses import NO_STORE, answer
from statemachine.states import Anomaly, Kind, Origin, Reason, State
from statemachine.tasks import Task

_ID = re.compile(r"[0-9A-Z]{26}")

LIST_PARAMS = (
    parameters.word("vendor", vendor_names(), "Tasks at this vendor."),
    parameters.word("kind", Kind, "Tasks of this kind."),
    parameters.word("state", State, "Tasks in this state; repeat it for any of several.", repeatable=True),
    parameters.text("app_id", "Tasks of this app."),
    parameters.text("room_id", "Tasks of this room."),
    parameters.text("vendor_task_id", "Tasks that the vendor calls this."),
    parameters.word("reason", Reason, "Tasks that are in their state for this reason."),
    parameters.word("origin", Origin, "Tasks that we started (`managed`), or that we only heard of (`observed`)."),
    parameters.word("anomaly", Anomaly, "Tasks with this mark."),
    parameters.flag("live", "Only tasks that have not ended (true), or only ended ones (false)."),
    parameters.moment("created_after", "Tasks that we know since this time or later."),
    parameters.moment("created_before", "Tasks that we know since before this time."),
    parameters.text("q", "Tasks of which any id is this, or begins with it."),
    *parameters.paging(str),
)
#: A timeline's cursor names the first item of the next page: (the line's position, the item's number in it).
TIMELINE_PARAMS = parameters.paging(int, int)


async def list_tasks(desk: Desk, request: Request, caller: Caller) -> Response:
    values = parameters.from_query(LIST_PARAMS, request)
    limit, cursor, states = values.pop("limit"), values.pop("cursor"), values.pop("state")
    wanted = TaskFilter(states=states, **values)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = search.page(connection, wanted, before=cursor[0] if cursor else None, limit=limit + 1)
        return page_of(
            found,
            limit,
            shown=lambda task: rendering.listed_task(task, keys=caller.sees_keys),
            cursor=lambda task: cursors.encode(task.id),
        )

    return await desk.queries.run(request, caller.name, read)


async def show_task(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)

    def read() -> Response:
        task = find(desk, request.path_params["id"])
        if task.merged_into is not None:
            return moved(task.merged_into)
        return answer(task_json.task(task, keys=caller.sees_keys))

    return await desk.queries.run(request, caller.name, read)


async def show_timeline(desk: Desk, request: Request, caller: Caller) -> Response:
    """Of a merged task too: what happened to it until it was merged."""
    values = parameters.from_query(TIMELINE_PARAMS, request)
    limit = values["limit"]
    line, number = values["cursor"] or (0, 0)

    def read() -> Response:
        task = find(desk, request.path_params["id"])
        with desk.ledger.read() as connection:
            # Each line has at least one entry, and the first one may have been shown in part.
            lines = timeline.page(connection, task.id, after=line - 1, limit=limit + 1)
        found = [entry for entry in rendering.entries(lines) if entry.place >= (line, number)]
        return page_from(
            found,
            limit,
            shown=lambda entry: rendering.entry(entry, keys=caller.sees_keys),
            cursor=lambda entry: cursors.encode(*entry.place),
            more=cursors.encode(lines[-1][0] + 1, 0) if lines.cut else None,
        )

    return await desk.queries.run(request, caller.name, read)


def find(desk: Desk, task_id: str) -> Task:
    """One that is to be started is a task too, before any worker has heard of it. Raises NotFound."""
    if _ID.fullmatch(task_id):
        with desk.ledger.read() as connection:
            # The third look is for a start that was applied between the first two.
            looks = (search.find, starts.find, search.find)
            task = next((found for look in looks if (found := look(connection, task_id)) is not None), None)
        if task is not None:
            return task
    raise NotFound("there is no task with this id")


def path_of(task_id: str) -> str:
    return f"/v1/tasks/{task_id}"


def moved(merged_into: str, request: str = "") -> Response:
    """What was asked of a task is to be asked of the one that tells its story. request: as in `/stop`."""
    return Response(status_code=308, headers={**NO_STORE, "Location": path_of(merged_into) + request})
