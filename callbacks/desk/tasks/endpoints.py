"""Lists the endpoints of tasks."""

from adapters.settings import Role
from callbacks.desk.http.endpoint import GuardedEndpoint
from callbacks.desk.tasks import actions, marks, queries, start

_MERGED = ("It was merged into another task: `Location` names the same request there.", None)
_RECORDED = "It is recorded, and a worker decides it; the task as it is now."

ENDPOINTS = (
    GuardedEndpoint(
        method="POST",
        path="/v1/tasks",
        name="startTask",
        tag="Tasks",
        summary="Start a task",
        meaning="Records that the vendor's start call is to be made; a worker makes it, and tries again where that can help."
        " Everything is checked against the vendor's pages before.",
        role=Role.OPERATOR,
        headers=start.HEADERS,
        body="StartTask",
        answers={
            202: ("It is recorded; `Location` names the task.", "Task"),
            409: ("`already_live` or `robot_in_use`: `Location` names the task that is in the way.", "Problem"),
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
        meaning="The ids are filled in; what the vendor does with parameters that are left out, its own pages say.",
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
        meaning="An ended task too, where the end was only inferred or its anomaly `zombie` is open. Takes no body.",
        role=Role.OPERATOR,
        answers={202: (_RECORDED, "Task"), 308: _MERGED, 409: ("`already_ended` or `no_account`.", "Problem")},
        handle=actions.stop,
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
        handle=actions.retry,
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
