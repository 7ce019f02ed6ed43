"""Writes the effects of decisions: new calls, cancelled calls, and events for other lineages."""

from collections.abc import Mapping, Sequence

from adapters.ledger import ConflictError, Connection, effects, inbox, lineages, starts
from adapters.ledger.effects import CallId, NewCall
from adapters.ledger.inbox import Posting
from adapters.ledger.starts import StartRequest
from adapters.vendors import DIALECTS
from adapters.vendors.accounts import Accounts
from statemachine.calls import Operation
from statemachine.commands import CancelCall, Command, MakeCall, PostEvent
from statemachine.events import CallAnswered, StartRequested, SuccessorReported
from statemachine.tasks import Task, TaskKey
from workers.call.call_builder import build_call


class EffectWriter:
    """Collects the effects of a batch; `save` writes them in the batch's own transaction. now: ms."""

    def __init__(self, accounts: Accounts, now: int) -> None:
        self._accounts = accounts
        self._now = now
        self._new_calls: dict[CallId, NewCall] = {}
        self._cancelled: dict[CallId, CancelCall] = {}
        self._answered: list[CallId] = []
        #: (vendor, app id) of the starts that were answered.
        self._answered_apps: set[tuple[str, str]] = set()
        self._starts: list[StartRequest] = []
        self._reports: list[Posting] = []

    @property
    def has_calls(self) -> bool:
        """True if there are new calls to be made."""
        return bool(self._new_calls)

    def add(self, commands: Sequence[Command], tasks: Mapping[str, Task]) -> None:
        """Adds the effects of a decision. tasks: id -> task after the decision, for all tasks that get a call."""
        for command in commands:
            if isinstance(command, MakeCall):
                self._add_call(command, tasks[command.task_id])
            elif isinstance(command, CancelCall):
                self._add_cancellation(command)
            else:
                self._add_event(command)

    def add_answer(self, answer: CallAnswered, key: TaskKey) -> None:
        """Removes the answered call from the ledger. After the answer to a start, deferred callbacks are applied."""
        self._answered.append((answer.task_id, answer.serial))
        if answer.operation is Operation.START:
            self._answered_apps.add((key.vendor, key.app_id))

    def _add_call(self, make: MakeCall, task: Task) -> None:
        call = build_call(task, make.operation, make.step)
        action = call.action if call is not None else ""
        self._new_calls[make.task_id, make.serial] = NewCall(
            task_id=make.task_id,
            serial=make.serial,
            operation=make.operation.value,
            step=make.step,
            vendor=task.key.vendor,
            app_id=task.key.app_id,
            family=task.key.final_family,
            bucket=self._accounts.quota_bucket(task.key.vendor, task.key.app_id, action),
            due_at=self._now,
            shard=lineages.shard_of_key(task.key),
        )

    def _add_cancellation(self, cancel: CancelCall) -> None:
        if self._new_calls.pop((cancel.task_id, cancel.serial), None) is None:
            self._cancelled[cancel.task_id, cancel.serial] = cancel

    def _add_event(self, post: PostEvent) -> None:
        if isinstance(post.event, StartRequested):
            self._starts.append(_start_request(post.event, post.vendor))
        else:
            self._reports.append(_successor_posting(post.event))

    def save(self, connection: Connection) -> None:
        """Writes the effects. Raises ConflictError if a call that was decided to be unsent is in flight."""
        cancelled = effects.cancel_unclaimed(connection, list(self._cancelled))
        unsent = {call_id for call_id, cancel in self._cancelled.items() if cancel.unsent}
        if not unsent <= cancelled:
            raise ConflictError
        effects.delete_calls(connection, self._answered)
        effects.add(connection, list(self._new_calls.values()))
        for start in self._starts:
            starts.post_successor(connection, start, self._now)
        inbox.post_all(connection, inbox.SUCCESSION, self._reports, self._now)
        for vendor, app_id in self._answered_apps:
            inbox.release_deferred(connection, vendor, app_id)


def _start_request(event: StartRequested, vendor: str) -> StartRequest:
    identity = DIALECTS[vendor].identity(event.action, event.params)
    return StartRequest(
        task_id=event.task_id,
        vendor=vendor,
        app_id=identity.app_id,
        kind=event.kind,
        action=event.action,
        version=event.api_version,
        params=event.params,
        policy=event.policy,
        room_id=identity.room_id or None,
        robot=identity.robot,
        scheduled_at=identity.scheduled_at,
        vendor_task_id=identity.vendor_task_id,
        family=identity.family,
        by=event.by,
        renews=event.renews,
        restarts=event.restarts,
        restart_count=event.restart_count,
    )


def _successor_posting(event: SuccessorReported) -> Posting:
    payload = {"task_id": event.task_id, "successor": event.successor, "runs": event.runs, "key": event.key}
    return Posting(key=(event.key,), payload=payload)
