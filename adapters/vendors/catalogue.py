"""A vendor's API as a table: action -> what it does, how often it may be called, and its parameters in each version."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from adapters.vendors.calls import Call, FieldProblem, Operation, SecretPath
from adapters.vendors.json_fields import storable
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
        close = get_close_matches(action[:_SHOWN], catalogue, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; it must be one of {', '.join(start_actions(catalogue))}"
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
