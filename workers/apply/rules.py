"""The rules of each app's tasks: what the vendor's pages say, whether there is an account to call with, and how often to ask."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from adapters.ledger import Connection, facets
from adapters.vendors import DIALECTS
from adapters.vendors.accounts import Accounts
from adapters.vendors.calls import TaskRef
from statemachine.facts import Rules, TaskKey
from statemachine.states import LIVE, Kind

RulesOf = Callable[[Kind, Mapping[str, Any]], Rules]

#: A task is asked after this much silence, s, unless there are too many for that.
_SILENCE_S = 900
#: Questions about silence may take this part of the vendor's quota.
_SHARE = 0.5
_RECOUNTED_AFTER_MS = 60_000


class Rulebook:
    """Safe to read from any thread; `recount` from one at a time."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._silence: dict[str, float] = {}
        self._recounted_at: int | None = None

    def of(self, key: TaskKey) -> RulesOf:
        """The rules for tasks of this key, by kind and by the parameters of their start."""
        able = self._accounts.callable(key.vendor, key.app_id)
        dialect = DIALECTS[key.vendor]

        def rules(kind: Kind, params: Mapping[str, Any]) -> Rules:
            silence_s = self._silence.get(self._bucket(key.vendor, key.app_id, kind), _SILENCE_S) if able else _SILENCE_S
            if not params:
                return _bare(key.vendor, kind, able, silence_s)
            return dialect.rules(kind, params, callable=able, silence_s=silence_s)

        return rules

    def recount(self, connection: Connection, now: int) -> None:
        """Looks once a minute how many tasks there are to be asked, and spreads the questions."""
        if self._recounted_at is not None and 0 <= now - self._recounted_at < _RECOUNTED_AFTER_MS:
            return
        self._recounted_at = now
        live: Counter[str] = Counter()
        for (vendor, app_id, kind, state), tasks in facets.by_app(connection).items():
            if state in LIVE and self._accounts.callable(vendor, app_id):
                live[self._bucket(vendor, app_id, Kind(kind))] += tasks
        self._silence = {
            bucket: max(_SILENCE_S, tasks / (self._accounts.limit(bucket) * _SHARE)) for bucket, tasks in live.items() if bucket
        }

    def _bucket(self, vendor: str, app_id: str, kind: Kind) -> str:
        """The quota that questions about such tasks are under; empty: there are none."""
        action = _question(vendor, kind)
        return self._accounts.bucket(vendor, app_id, action) if action else ""


@cache
def _bare(vendor: str, kind: Kind, able: bool, silence_s: float) -> Rules:
    """The rules of tasks whose parameters nobody knows: most of them, so they are made once."""
    return DIALECTS[vendor].rules(kind, {}, callable=able, silence_s=silence_s)


@cache
def _question(vendor: str, kind: Kind) -> str | None:
    ref = TaskRef(kind=kind, app_id="1", room_id="1", vendor_task_id="1")
    calls = DIALECTS[vendor].inspect(ref)
    return calls[0].action if calls else None
