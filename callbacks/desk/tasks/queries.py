"""Lists and shows tasks and their timelines."""

import re

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract import task_json
from adapters.ledger import search, starts, timeline
from adapters.ledger.search import TaskFilter
from adapters.vendors.registry import vendor_names
from callbacks.desk.http import cursors, parameters
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import page_from, page_of
from callbacks.desk.http.problems import NotFound
from callbacks.desk.http.responses import NO_STORE, json_response
from callbacks.desk.tasks import rendering
from statemachine.states import Anomaly, Kind, Origin, Reason, State
from statemachine.tasks import Task

_ID = re.compile(r"[0-9A-Z]{26}")

LIST_PARAMS = (
    parameters.choice("vendor", vendor_names(), "Tasks at this vendor."),
    parameters.choice("kind", Kind, "Tasks of this kind."),
    parameters.choice("state", State, "Tasks in this state; repeat it for any of several.", repeatable=True),
    parameters.text("app_id", "Tasks of this app."),
    parameters.text("room_id", "Tasks of this room."),
    parameters.text("vendor_task_id", "Tasks with this id at the vendor."),
    parameters.choice("reason", Reason, "Tasks with this reason."),
    parameters.choice("origin", Origin, "Tasks that Tallylight started (`managed`), or that something else started (`observed`)."),
    parameters.choice("anomaly", Anomaly, "Tasks with this mark."),
    parameters.flag("live", "Only tasks that have not ended (true), or only ended ones (false)."),
    parameters.time("created_after", "Tasks created at this time or later."),
    parameters.time("created_before", "Tasks created before this time."),
    parameters.text("q", "Tasks with an id that is this text, or begins with it."),
    *parameters.paging(str),
)
#: A timeline's cursor names the first item of the next page: (the line's position, the item's number in it).
TIMELINE_PARAMS = parameters.paging(int, int)


async def list_tasks(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    values = parameters.read_query(LIST_PARAMS, request)
    limit, cursor, states = values.pop("limit"), values.pop("cursor"), values.pop("state")
    wanted = TaskFilter(states=states, **values)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = search.page(connection, wanted, before=cursor[0] if cursor else None, limit=limit + 1)
        return page_of(
            found,
            limit,
            shown=lambda task: rendering.render_listed_task(task, keys=caller.sees_keys),
            cursor=lambda task: cursors.encode(task.id),
        )

    return await desk.query_pool.run(request, caller.name, read)


async def show_task(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)

    def read() -> Response:
        task = find_task(desk, request.path_params["id"])
        if task.merged_into is not None:
            return redirect_to_merged(task.merged_into)
        return json_response(task_json.render_task(task, keys=caller.sees_keys))

    return await desk.query_pool.run(request, caller.name, read)


async def show_timeline(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    """Shows the timeline, also of a merged task: what happened until it was merged."""
    values = parameters.read_query(TIMELINE_PARAMS, request)
    limit = values["limit"]
    line, number = values["cursor"] or (0, 0)

    def read() -> Response:
        task = find_task(desk, request.path_params["id"])
        with desk.ledger.read() as connection:
            # Each line has at least one entry, and the first one may have been shown in part.
            lines = timeline.page(connection, task.id, after=line - 1, limit=limit + 1)
        found = [entry for entry in rendering.timeline_entries(lines) if entry.place >= (line, number)]
        return page_from(
            found,
            limit,
            shown=lambda entry: rendering.render_entry(entry, keys=caller.sees_keys),
            cursor=lambda entry: cursors.encode(*entry.place),
            more=cursors.encode(lines[-1][0] + 1, 0) if lines.cut else None,
        )

    return await desk.query_pool.run(request, caller.name, read)


def find_task(desk: Desk, task_id: str) -> Task:
    """One that is to be started is a task too, before any worker has heard of it. Raises NotFound."""
    if _ID.fullmatch(task_id):
        with desk.ledger.read() as connection:
            # The third look is for a start that was applied between the first two.
            looks = (search.find, starts.find_requested, search.find)
            task = next((found for look in looks if (found := look(connection, task_id)) is not None), None)
        if task is not None:
            return task
    raise NotFound("there is no task with this id")


def task_path(task_id: str) -> str:
    return f"/v1/tasks/{task_id}"


def redirect_to_merged(merged_into: str, request: str = "") -> Response:
    """Returns a redirect to the task into which this one was merged. request: the rest of the path, such as `/stop`."""
    return Response(status_code=308, headers={**NO_STORE, "Location": task_path(merged_into) + request})
