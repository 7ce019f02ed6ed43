"""What the call half of every dialect has in common: it reads one table."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.calls import FieldProblem, IdleTime, SecretPath
from adapters.vendors.catalogue import Catalogue, check, documented_paths, secret_paths, start_actions
from statemachine.states import Kind


class Calling:
    """The part of a Dialect that follows from its catalogue."""

    def __init__(self, catalogue: Catalogue, idle: Mapping[Kind, IdleTime]) -> None:
        self._catalogue = catalogue
        self._idle = idle
        self.start_actions: Mapping[str, Kind] = start_actions(catalogue)
        self._documented = {action: documented_paths(catalogue, action) for action in catalogue}
        self._secret = {action: secret_paths(catalogue, action) for action in catalogue}

    def check(self, action: str, version: str | None, params: Any) -> list[FieldProblem]:
        """See Dialect."""
        return check(self._catalogue, action, version, params)

    def quota(self, action: str) -> int:
        """See Dialect."""
        return self._catalogue[action].quota

    def idle_time(self, kind: Kind) -> IdleTime | None:
        """See Dialect."""
        return self._idle.get(kind)

    def secret_paths(self, action: str) -> tuple[SecretPath, ...]:
        """See Dialect."""
        return self._secret.get(action, ())

    def documented_paths(self, action: str) -> frozenset[str]:
        """See Dialect."""
        return self._documented.get(action, frozenset())
