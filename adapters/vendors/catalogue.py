"""A vendor's API as a table: action -> what it does, how often it may be called, and its parameters in each version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.text import FieldProblem, closest_word, storable
from adapters.vendors.calls import Call, IdleTime, Operation, SecretPath
from adapters.vendors.parameters import Params, Shape, documented_in, problems, secrets_in
from statemachine.states import Kind

_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    operation: Operation
    kind: Kind
    #: Calls/s that the vendor allows, per account and API.
    quota: int
    #: Oldest first.
    versions: Mapping[str, Shape]
    method: str = "POST"

    @property
    def newest(self) -> str:
        return list(self.versions)[-1]


Catalogue = Mapping[str, Api]


def start_actions(catalogue: Catalogue) -> Mapping[str, Kind]:
    return {action: api.kind for action, api in catalogue.items() if api.operation is Operation.START}


def check(catalogue: Catalogue, action: str, version: str | None, params: Any) -> list[FieldProblem]:
    """What is wrong with this call; empty: nothing that we know of."""
    api = catalogue.get(action)
    if api is None:
        close = closest_word(action, catalogue)
        hint = f"; did you mean {close}?" if close else f"; it must be one of {', '.join(start_actions(catalogue))}"
        return [FieldProblem(field="action", message=f"{storable(action)[:_SHOWN]} is not an action of this vendor{hint}")]
    version = version or api.newest
    if version not in api.versions:
        return [FieldProblem(field="version", message=f"must be one of {', '.join(api.versions)}, or left out")]
    return problems(api.versions[version], params)


def call(catalogue: Catalogue, action: str, version: str | None, params: Params, *, app_id: str, task_id: str | None) -> Call:
    """The call in this version where the action has it, else in its newest."""
    api = catalogue[action]
    return Call(
        operation=api.operation,
        action=action,
        version=version if version is not None and version in api.versions else api.newest,
        method=api.method,
        app_id=app_id,
        params=dict(params),
        vendor_task_id=task_id,
    )


def documented_paths(catalogue: Catalogue, action: str) -> frozenset[str]:
    """Where values stand in the parameters of this action that its pages name and that are no secrets; none of an unknown one."""
    api = catalogue.get(action)
    return frozenset(path for shape in (api.versions.values() if api else ()) for path in documented_in(shape.fields))


def secret_paths(catalogue: Catalogue, action: str) -> tuple[SecretPath, ...]:
    """Where secrets stand in the parameters of this action, whatever its version; none of an unknown action."""
    api = catalogue.get(action)
    found = [path for shape in (api.versions.values() if api else ()) for path in secrets_in(shape.fields)]
    return tuple(dict.fromkeys(found))


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
