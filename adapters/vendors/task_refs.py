"""A task as its vendor's calls name it."""

from adapters.vendors.calls import TaskRef
from statemachine.tasks import Task


def ref_of(task: Task, record_id: str | None = None) -> TaskRef:
    """record_id: our id for what its start made, for a vendor that takes one."""
    key, view = task.key, task.view
    return TaskRef(
        kind=task.kind,
        app_id=key.app_id,
        room_id=key.room_id or view.room_id or "",
        vendor_task_id=None if key.pending else key.vendor_task_id,
        robot=view.robot,
        action=task.action,
        version=task.api_version,
        params=task.params,
        record_id=record_id,
        started_at=view.started_at,
    )
