"""Caches lineages that were saved a moment ago, so that the next callback of the same task need not load them again.

A cached lineage may be stale: another worker may have saved it since. So it is only decided upon; the save succeeds only if the
ledger still has the version that was decided upon. On a conflict the applier removes the lineage from the cache and loads it.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from adapters.ledger.lineages import StoredLineage
from statemachine.tasks import TaskKey

#: Lineages in the cache at most; a small one takes some 5 kB.
_MAX_LINEAGES = 4_096
#: Lineages with more facts or tasks are not cached: they are few, and take much memory.
_MAX_FACTS, _MAX_TASKS = 64, 4


class LineageCache:
    """An LRU cache of lineages. Used by one thread at a time."""

    def __init__(self) -> None:
        self._lineages: OrderedDict[TaskKey, StoredLineage] = OrderedDict()

    def get_many(self, keys: Collection[TaskKey]) -> dict[TaskKey, StoredLineage]:
        """Returns those of the lineages that are cached."""
        return {key: self._lineages[key] for key in keys if key in self._lineages}

    def add(self, saved: Mapping[TaskKey, StoredLineage]) -> None:
        """Adds lineages as they were saved, except long ones."""
        for key, stored in saved.items():
            self._lineages.pop(key, None)
            if len(stored.lineage.facts) <= _MAX_FACTS and len(stored.lineage.tasks) <= _MAX_TASKS:
                self._lineages[key] = stored
        while len(self._lineages) > _MAX_LINEAGES:
            self._lineages.popitem(last=False)

    def remove(self, keys: Iterable[TaskKey]) -> None:
        for key in keys:
            self._lineages.pop(key, None)
