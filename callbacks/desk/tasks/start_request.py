"""What somebody wants started: reads the request, and says everything that is wrong with it before anything is recorded.

The vendor's own pages say what its parameters must be (`Dialect.check`); the policy's table what a policy may say. Messages name
fields and what would be right, never what was given: that may be a secret.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from adapters.vendors import DIALECTS, Dialect
from adapters.vendors.calls import Identity
from callbacks.desk.http import request_body
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import FieldError
from callbacks.desk.tasks.start_policy import StartCall, policy_errors

EXAMPLE = '{"vendor": "...", "action": "Start...", "params": {...}}'
_MEMBERS = ("vendor", "action", "version", "params", "policy")
#: So many problems are told at most.
_TOLD = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A start call in which nothing is wrong that could be known beforehand."""

    dialect: Dialect
    about: Identity
    action: str
    version: str | None
    params: Mapping[str, Any] = field(repr=False)
    policy: Mapping[str, Any] = field(repr=False)


def read(desk: Desk, document: Mapping[str, Any]) -> tuple[Intent | None, list[FieldError]]:
    """The intent, or what is wrong: one problem per field."""
    told: dict[str, FieldError] = {}
    for error in _errors(desk, document):
        told.setdefault(error.field, error)
    return (None, list(told.values())[:_TOLD]) if told else (_intent(document), [])


def _intent(document: Mapping[str, Any]) -> Intent:
    dialect, action, params = DIALECTS[document["vendor"]], document["action"], document["params"]
    return Intent(
        dialect=dialect,
        about=dialect.identity(action, params),
        action=action,
        version=document.get("version"),
        params=params,
        policy=document.get("policy") or {},
    )


def _errors(desk: Desk, document: Mapping[str, Any]) -> Iterator[FieldError]:
    yield from request_body.unknown_members(document, _MEMBERS)
    # Before all else: a masked url is told for what it is, not for its shape.
    yield from request_body.masked_members(document.get("params"))
    yield from request_body.masked_members(document.get("policy"), "policy")
    vendor, action = document.get("vendor"), document.get("action")
    dialect = DIALECTS.get(vendor) if isinstance(vendor, str) else None
    if dialect is None:
        yield FieldError(field="vendor", message=f"must be one of {', '.join(DIALECTS)}")
    elif not isinstance(action, str) or action not in dialect.start_actions:
        yield FieldError(field="action", message=_right_action(dialect, action))
    else:
        yield from _call_errors(desk, dialect, action, document)
        return
    yield from policy_errors(None, document.get("policy"))


def _right_action(dialect: Dialect, action: Any) -> str:
    close = get_close_matches(action[:100], dialect.start_actions, n=1) if isinstance(action, str) else []
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"must be an action that starts a task: {', '.join(dialect.start_actions)}{hint}"


def _call_errors(desk: Desk, dialect: Dialect, action: str, document: Mapping[str, Any]) -> Iterator[FieldError]:
    version, params = document.get("version"), document.get("params")
    if version is not None and not (isinstance(version, str) and version):
        yield FieldError(field="version", message="must be text, or left out for the newest")
        version = None
    wrong = [FieldError(field=each.field, message=each.message) for each in dialect.check(action, version, params)]
    yield from wrong
    if isinstance(params, dict):
        yield from _app_errors(desk, dialect, dialect.identity(action, params))
    # What belongs together is compared once the first part is right by itself.
    call = (
        StartCall(dialect=dialect, action=action, version=version, params=params)
        if isinstance(params, dict) and not wrong
        else None
    )
    yield from policy_errors(call, document.get("policy"))


def _app_errors(desk: Desk, dialect: Dialect, about: Identity) -> Iterator[FieldError]:
    if not about.app_id:
        return
    if not desk.knows(dialect.name, about.app_id):
        yield FieldError(field=about.app_field, message="must be one of the [[apps]] that are configured for this vendor")
    elif not desk.accounts.callable(dialect.name, about.app_id):
        yield FieldError(field=about.app_field, message="must be an app with an account: this one's tasks are only observed")
