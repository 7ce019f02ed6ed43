"""A vendor's API as a table: action -> what it does, how often it may be called, and its parameters in each version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.text import FieldProblem, closest_word, storable
from adapters.vendors.calls import Call, IdleTime, Operation, SecretPath
from adapters.vendors.parameters import Params, Shape, documented_paths_of, find_problems, secret_paths_of
from statemachine.states import Kind

_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One action of a vendor's API."""

    operation: Operation
    kind: Kind
    #: Calls/s that the vendor allows, per account and API.
    quota: int
    #: The parameters in each version of the API, oldest first.
    versions: Mapping[str, Shape]
    method: str = "POST"

    @property
    def newest_version(self) -> str:
        return list(self.versions)[-1]


#: All actions of a vendor, by name.
Catalogue = Mapping[str, Api]


def start_actions(catalogue: Catalogue) -> Mapping[str, Kind]:
    """Returns the actions that start a task, with the kind of task."""
    return {action: api.kind for action, api in catalogue.items() if api.operation is Operation.START}


def check_call(catalogue: Catalogue, action: str, version: str | None, params: Any) -> list[FieldProblem]:
    """Returns the problems of a call, one per wrong field; empty if none is known."""
    api = catalogue.get(action)
    if api is None:
        close = closest_word(action, catalogue)
        hint = f"; did you mean {close}?" if close else f"; it must be one of {', '.join(start_actions(catalogue))}"
        return [FieldProblem(field="action", message=f"{storable(action)[:_SHOWN]} is not an action of this vendor{hint}")]
    version = version or api.newest_version
    if version not in api.versions:
        return [FieldProblem(field="version", message=f"must be one of {', '.join(api.versions)}, or left out")]
    return find_problems(api.versions[version], params)


def build_call(catalogue: Catalogue, action: str, version: str | None, params: Params, *, app_id: str, task_id: str | None) -> Call:
    """Builds a call in this version of the API if the action has it, else in its newest."""
    api = catalogue[action]
    return Call(
        operation=api.operation,
        action=action,
        version=version if version is not None and version in api.versions else api.newest_version,
        method=api.method,
        app_id=app_id,
        params=dict(params),
        vendor_task_id=task_id,
    )


def documented_paths(catalogue: Catalogue, action: str) -> frozenset[str]:
    """Returns the paths of values that the pages of this action name and that are no secrets; empty for an unknown action."""
    api = catalogue.get(action)
    return frozenset(path for shape in (api.versions.values() if api else ()) for path in documented_paths_of(shape.fields))


def secret_paths(catalogue: Catalogue, action: str) -> tuple[SecretPath, ...]:
    """Returns the paths of secrets in the parameters of this action, in any version; empty for an unknown action."""
    api = catalogue.get(action)
    paths = [path for shape in (api.versions.values() if api else ()) for path in secret_paths_of(shape.fields)]
    return tuple(dict.fromkeys(paths))


class CatalogueDialect:
    """The part of a Dialect that follows from its catalogue; see Dialect for the methods."""

    def __init__(self, catalogue: Catalogue, idle: Mapping[Kind, IdleTime]) -> None:
        self._catalogue = catalogue
        self._idle = idle
        self.start_actions: Mapping[str, Kind] = start_actions(catalogue)
        self._documented = {action: documented_paths(catalogue, action) for action in catalogue}
        self._secret = {action: secret_paths(catalogue, action) for action in catalogue}

    def check(self, action: str, version: str | None, params: Any) -> list[FieldProblem]:
        return check_call(self._catalogue, action, version, params)

    def quota(self, action: str) -> int:
        return self._catalogue[action].quota

    def idle_time(self, kind: Kind) -> IdleTime | None:
        return self._idle.get(kind)

    def secret_paths(self, action: str) -> tuple[SecretPath, ...]:
        return self._secret.get(action, ())

    def documented_paths(self, action: str) -> frozenset[str]:
        return self._documented.get(action, frozenset())
