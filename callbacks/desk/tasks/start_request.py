"""Validates a request to start a task, and reports all errors before anything is recorded.

The vendor's parameters are checked against its pages (`Dialect.check`), the policy against its table. Messages name fields and what
would be right, never the value that was sent: it may be a secret.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.text import FieldProblem, closest_word
from adapters.vendors import DIALECTS, Dialect
from adapters.vendors.calls import Identity
from callbacks.desk.http import request_body
from callbacks.desk.http.context import Desk
from callbacks.desk.tasks.start_policy import StartCall, policy_errors

EXAMPLE = '{"vendor": "...", "action": "Start...", "params": {...}}'
_MEMBERS = ("vendor", "action", "version", "params", "policy")
#: Errors reported at most.
_MAX_ERRORS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidStart:
    """A start call that passed every check that is possible without calling the vendor."""

    dialect: Dialect
    identity: Identity
    action: str
    version: str | None
    params: Mapping[str, Any] = field(repr=False)
    policy: Mapping[str, Any] = field(repr=False)


def read_start(desk: Desk, document: Mapping[str, Any]) -> tuple[ValidStart | None, list[FieldProblem]]:
    """Returns (the start call, no errors), or (None, one error for each wrong field)."""
    errors: dict[str, FieldProblem] = {}
    for error in _find_errors(desk, document):
        errors.setdefault(error.field, error)
    return (None, list(errors.values())[:_MAX_ERRORS]) if errors else (_valid_start(document), [])


def _valid_start(document: Mapping[str, Any]) -> ValidStart:
    dialect, action, params = DIALECTS[document["vendor"]], document["action"], document["params"]
    return ValidStart(
        dialect=dialect,
        identity=dialect.identity(action, params),
        action=action,
        version=document.get("version"),
        params=params,
        policy=document.get("policy") or {},
    )


def _find_errors(desk: Desk, document: Mapping[str, Any]) -> Iterator[FieldProblem]:
    yield from request_body.unknown_members(document, _MEMBERS)
    # First: a masked url is reported as masked, not as a url of a wrong shape.
    yield from request_body.masked_members(document.get("params"))
    yield from request_body.masked_members(document.get("policy"), "policy")
    vendor, action = document.get("vendor"), document.get("action")
    dialect = DIALECTS.get(vendor) if isinstance(vendor, str) else None
    if dialect is None:
        yield FieldProblem(field="vendor", message=f"must be one of {', '.join(DIALECTS)}")
    elif not isinstance(action, str) or action not in dialect.start_actions:
        yield FieldProblem(field="action", message=_action_message(dialect, action))
    else:
        yield from _call_errors(desk, dialect, action, document)
        return
    yield from policy_errors(None, document.get("policy"))


def _action_message(dialect: Dialect, action: Any) -> str:
    close = closest_word(action, dialect.start_actions) if isinstance(action, str) else None
    hint = f"; did you mean {close}?" if close else ""
    return f"must be an action that starts a task: {', '.join(dialect.start_actions)}{hint}"


def _call_errors(desk: Desk, dialect: Dialect, action: str, document: Mapping[str, Any]) -> Iterator[FieldProblem]:
    version, params = document.get("version"), document.get("params")
    if version is not None and not (isinstance(version, str) and version):
        yield FieldProblem(field="version", message="must be text, or left out for the newest")
        version = None
    wrong = dialect.check(action, version, params)
    yield from wrong
    if isinstance(params, dict):
        yield from _app_errors(desk, dialect, dialect.identity(action, params))
    # The policy is compared with the call only if the call has no errors.
    call = (
        StartCall(dialect=dialect, action=action, version=version, params=params)
        if isinstance(params, dict) and not wrong
        else None
    )
    yield from policy_errors(call, document.get("policy"))


def _app_errors(desk: Desk, dialect: Dialect, about: Identity) -> Iterator[FieldProblem]:
    if not about.app_id:
        return
    if not desk.has_app(dialect.name, about.app_id):
        yield FieldProblem(field=about.app_field, message="must be one of the [[apps]] that are configured for this vendor")
    elif not desk.accounts.can_call(dialect.name, about.app_id):
        yield FieldProblem(field=about.app_field, message="must be an app with an account: this one's tasks are only observed")
