"""Lineages that were saved a moment ago, so that the next callback of the same task need not read them again.

What is remembered may be old: somebody else may have saved it since. So it is only what is decided upon; what is saved goes through
only if the ledger still has the version that was decided upon, and who finds that it has not, forgets and reads.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from adapters.ledger.lineages import Stored
from statemachine.facts import TaskKey

#: How many are remembered; a small one takes some 5 kB.
_KEPT = 4_096
#: What has more is read: long lineages are few, and take much room.
_MOST_FACTS, _MOST_TASKS = 64, 4


class Recent:
    """For one thread at a time."""

    def __init__(self) -> None:
        self._known: OrderedDict[TaskKey, Stored] = OrderedDict()

    def among(self, keys: Collection[TaskKey]) -> dict[TaskKey, Stored]:
        """Those of them that are remembered."""
        return {key: self._known[key] for key in keys if key in self._known}

    def remember(self, saved: Mapping[TaskKey, Stored]) -> None:
        for key, stored in saved.items():
            self._known.pop(key, None)
            if len(stored.lineage.facts) <= _MOST_FACTS and len(stored.lineage.tasks) <= _MOST_TASKS:
                self._known[key] = stored
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)

    def forget(self, keys: Iterable[TaskKey]) -> None:
        for key in keys:
            self._known.pop(key, None)
