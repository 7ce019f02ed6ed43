"""Lists the endpoints of tasks."""

from adapters.settings import Role
from callbacks.desk.http.endpoint import GuardedEndpoint
from callbacks.desk.tasks import actions, marks, queries, start

_MERGED = ("It was merged into another task: `Location` names the same request there.", None)
_RECORDED = "The request is recorded, and a worker decides it; this is the task as it is now."

ENDPOINTS = (
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks",
        name="startTask",
        tag="Tasks",
        summary="Start a task",
        meaning="Records the request for the vendor's start call; a worker makes the call, and retries it where that is safe."
        " All parameters are checked against the vendor's pages first.",
        role=Role.OPERATOR,
        headers=start.HEADERS,
        body="StartTask",
        answers={
            202: ("The request is recorded; `Location` names the task.", "Task"),
            409: ("`already_live` or `robot_in_use`: `Location` names the conflicting task.", "Problem"),
        },
        handle=start.start,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/tasks",
        name="listTasks",
        tag="Tasks",
        summary="List tasks, newest first",
        params=queries.LIST_PARAMS,
        answers={200: ("A page of tasks.", "TaskPage")},
        handle=queries.list_tasks,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/tasks/{id}",
        name="getTask",
        tag="Tasks",
        summary="Show a task",
        answers={200: ("The task.", "Task"), 308: ("It was merged into another task: `Location` names that.", None)},
        handle=queries.show_task,
    ),
    GuardedEndpoint(
        method="GET",
        path="/v1/tasks/{id}/timeline",
        name="getTimeline",
        tag="Tasks",
        summary="Show what happened to a task, oldest first",
        meaning="Callbacks with their verdicts, deadlines armed and passed, moves from one state to another.",
        params=queries.TIMELINE_PARAMS,
        answers={200: ("A page of the timeline.", "TimelinePage")},
        handle=queries.show_timeline,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks/{id}/update",
        name="updateTask",
        tag="Tasks",
        summary="Update a task at the vendor",
        meaning="Tallylight fills in the ids. The vendor's pages say what happens to parameters that are left out.",
        role=Role.OPERATOR,
        body="UpdateTask",
        answers={
            202: (_RECORDED, "Task"),
            308: _MERGED,
            409: ("`already_ended`, `not_updatable`, `not_started_yet` or `no_account`.", "Problem"),
        },
        handle=actions.update,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks/{id}/stop",
        name="stopTask",
        tag="Tasks",
        summary="Stop a task",
        meaning="Also for an ended task whose end was only inferred, or that has the anomaly `zombie`. Takes no body.",
        role=Role.OPERATOR,
        answers={202: (_RECORDED, "Task"), 308: _MERGED, 409: ("`already_ended` or `no_account`.", "Problem")},
        handle=actions.stop,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks/{id}/retry",
        name="retryTask",
        tag="Tasks",
        summary="Retry the pending call now",
        meaning="A failed call is retried by itself, with growing pauses; this retries it at once. Takes no body.",
        role=Role.OPERATOR,
        answers={202: (_RECORDED, "Task"), 308: _MERGED, 409: ("`nothing_pending`.", "Problem")},
        handle=actions.retry,
    ),
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks/{id}/mark",
        name="markTask",
        tag="Tasks",
        summary="Mark a task as ended, or clear an anomaly",
        meaning="An operator's statement, kept in the timeline. An end counts as inferred: the vendor's word corrects it.",
        role=Role.OPERATOR,
        body="Mark",
        answers={202: (_RECORDED, "Task")},
        handle=marks.mark,
    ),
)
