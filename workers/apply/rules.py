"""The rules of each app's tasks: from the vendor's pages, from whether there is an account to call with, and from the live tasks.

A task that is silent is queried. The more live tasks share a quota, the longer the silence after which each is queried.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from adapters.ledger import Connection, facets
from adapters.vendors import DIALECTS
from adapters.vendors.accounts import Accounts
from adapters.vendors.calls import TaskRef
from statemachine.rules import Rules
from statemachine.states import LIVE, Kind
from statemachine.tasks import TaskKey

RulesOf = Callable[[Kind, Mapping[str, Any]], Rules]

#: Time of silence after which a task is queried, s; longer if there are too many tasks for the quota.
_MIN_SILENCE_S = 900
#: Share of the vendor's quota that queries because of silence may use.
_QUOTA_SHARE = 0.5
_RECOUNT_INTERVAL_MS = 60_000


class Rulebook:
    """The rules of all apps. Any thread may read them; one at a time may recount."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        #: Quota bucket -> time of silence after which its tasks are queried.
        self._silence_s: dict[str, float] = {}
        self._recounted_at: int | None = None

    def rules_for(self, key: TaskKey) -> RulesOf:
        """Returns the rules for tasks of this key, as a function of their kind and the parameters of their start."""
        can_call = self._accounts.can_call(key.vendor, key.app_id)
        dialect = DIALECTS[key.vendor]

        def rules(kind: Kind, params: Mapping[str, Any]) -> Rules:
            silence_s: float = _MIN_SILENCE_S
            if can_call:
                silence_s = self._silence_s.get(self._query_bucket(key.vendor, key.app_id, kind), _MIN_SILENCE_S)
            if not params:
                return _default_rules(key.vendor, kind, can_call, silence_s)
            return dialect.rules(kind, params, callable=can_call, silence_s=silence_s)

        return rules

    def recount_live_tasks(self, connection: Connection, now: int) -> None:
        """Counts the live tasks of each quota bucket, once a minute, and spreads their queries."""
        if self._recounted_at is not None and 0 <= now - self._recounted_at < _RECOUNT_INTERVAL_MS:
            return
        self._recounted_at = now
        live: Counter[str] = Counter()
        for (vendor, app_id, kind, state), tasks in facets.by_app(connection).items():
            if state in LIVE and self._accounts.can_call(vendor, app_id):
                live[self._query_bucket(vendor, app_id, Kind(kind))] += tasks
        self._silence_s = {
            bucket: max(_MIN_SILENCE_S, tasks / (self._accounts.quota_limit(bucket) * _QUOTA_SHARE))
            for bucket, tasks in live.items()
            if bucket
        }

    def _query_bucket(self, vendor: str, app_id: str, kind: Kind) -> str:
        """Returns the quota bucket of the queries about such tasks; empty if there are no queries."""
        action = _query_action(vendor, kind)
        return self._accounts.quota_bucket(vendor, app_id, action) if action else ""


@cache
def _default_rules(vendor: str, kind: Kind, can_call: bool, silence_s: float) -> Rules:
    """Returns the rules of tasks whose parameters are unknown. Most tasks are such, so these rules are built once."""
    return DIALECTS[vendor].rules(kind, {}, callable=can_call, silence_s=silence_s)


@cache
def _query_action(vendor: str, kind: Kind) -> str | None:
    ref = TaskRef(kind=kind, app_id="1", room_id="1", vendor_task_id="1")
    calls = DIALECTS[vendor].inspect(ref)
    return calls[0].action if calls else None
