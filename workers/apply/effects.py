"""What decided events want done: calls to be made, calls that are not wanted any more, and news for other tasks."""

from collections.abc import Mapping, Sequence

from adapters.ledger import ConflictError, Connection, effects, inbox, lineages, starts
from adapters.ledger.effects import Attempt, Wanted
from adapters.ledger.inbox import Posting
from adapters.ledger.starts import Start
from adapters.vendors import DIALECTS
from adapters.vendors.accounts import Accounts
from statemachine.calls import Operation
from statemachine.events import Answered, Drop, Effect, Make, Post, StartAsked, Succeeded
from statemachine.facts import TaskKey
from statemachine.tasks import Task
from workers.call.call_builder import call_of


class Outgoing:
    """Gathers what a batch wants done; `save` writes it down in the batch's own transaction. now: ms."""

    def __init__(self, accounts: Accounts, now: int) -> None:
        self._accounts = accounts
        self._now = now
        self._wanted: dict[Attempt, Wanted] = {}
        self._dropped: dict[Attempt, Drop] = {}
        self._answered: list[Attempt] = []
        #: (vendor, app) of which an answer came.
        self._told: set[tuple[str, str]] = set()
        self._starts: list[Start] = []
        self._news: list[Posting] = []

    @property
    def calls(self) -> bool:
        """Whether there are calls to be made."""
        return bool(self._wanted)

    @property
    def rows(self) -> bool:
        """Whether the inbox gets more rows."""
        return bool(self._starts or self._news or self._told)

    def take(self, wanted: Sequence[Effect], tasks: Mapping[str, Task]) -> None:
        """tasks: those that the effects are about, as they are now, by id."""
        for effect in wanted:
            if isinstance(effect, Make):
                self._make(effect, tasks[effect.task_id])
            elif isinstance(effect, Drop):
                self._drop(effect)
            else:
                self._post(effect)

    def answered(self, answer: Answered, key: TaskKey) -> None:
        """The call of this answer need not stand in the ledger any more."""
        self._answered.append((answer.task_id, answer.serial))
        if answer.operation is Operation.START:
            self._told.add((key.vendor, key.app_id))

    def _make(self, make: Make, task: Task) -> None:
        call = call_of(task, make.operation, make.step)
        action = call.action if call is not None else ""
        self._wanted[make.task_id, make.serial] = Wanted(
            task_id=make.task_id,
            serial=make.serial,
            operation=make.operation.value,
            step=make.step,
            vendor=task.key.vendor,
            app_id=task.key.app_id,
            family=task.key.named_family,
            bucket=self._accounts.bucket(task.key.vendor, task.key.app_id, action),
            due_at=self._now,
            shard=lineages.shard_of_key(task.key),
        )

    def _drop(self, drop: Drop) -> None:
        if self._wanted.pop((drop.task_id, drop.serial), None) is None:
            self._dropped[drop.task_id, drop.serial] = drop

    def _post(self, post: Post) -> None:
        if isinstance(post.event, StartAsked):
            self._starts.append(_start_of(post.event, post.vendor))
        else:
            self._news.append(_news_of(post.event))

    def save(self, connection: Connection) -> None:
        """Raises ConflictError where a call that was taken to be unsent is on its way."""
        gone = effects.drop(connection, list(self._dropped))
        sure = {attempt for attempt, drop in self._dropped.items() if drop.unsent}
        if not sure <= gone:
            raise ConflictError
        effects.forget(connection, self._answered)
        effects.add(connection, list(self._wanted.values()))
        for start in self._starts:
            starts.begin(connection, start, self._now)
        inbox.post_all(connection, inbox.SUCCESSION, self._news, self._now)
        for vendor, app_id in self._told:
            inbox.release(connection, vendor, app_id)


def _start_of(event: StartAsked, vendor: str) -> Start:
    dialect = DIALECTS[vendor]
    about = dialect.identity(event.action, event.params)
    return Start(
        task_id=event.task_id,
        vendor=vendor,
        app_id=about.app_id,
        kind=event.kind,
        action=event.action,
        version=event.api_version,
        params=event.params,
        policy=event.policy,
        room_id=about.room_id or None,
        robot=about.robot,
        scheduled_at=about.scheduled_at,
        vendor_task_id=about.vendor_task_id,
        family=dialect.family_of(event.kind),
        by=event.by,
        renews=event.renews,
        restarts=event.restarts,
        restart_count=event.restart_count,
    )


def _news_of(event: Succeeded) -> Posting:
    payload = {"task_id": event.task_id, "successor": event.successor, "runs": event.runs, "key": event.key}
    return Posting(key=(event.key,), payload=payload)
