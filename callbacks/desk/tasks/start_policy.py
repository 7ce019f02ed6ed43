"""Checks a policy against the start call that it belongs to.

`statemachine.policy` checks its fields. Here stands what only the vendor's dialect knows: whether the task can have a successor,
and whether the successor's parameters can run beside the first task's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.text import FieldProblem
from adapters.vendors import Dialect
from statemachine import policy

_NAME_SHOWN = 200
_RENEW = "policy.renew"
_PARAMS = f"{_RENEW}.params"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCall:
    """A start call whose parameters are right."""

    dialect: Dialect
    action: str
    version: str | None
    params: Mapping[str, Any] = field(repr=False)


def policy_errors(call: StartCall | None, given: Any) -> Iterator[FieldProblem]:
    """Yields the errors of a policy. given: None without a policy. call: None if it has errors itself, and cannot be compared."""
    if given is None:
        return
    for name, message in policy.policy_problems(given):
        yield FieldProblem(field=name[:_NAME_SHOWN], message=message)
    renew = given.get("renew") if isinstance(given, dict) else None
    if call is not None and isinstance(renew, dict):
        yield from _renew_errors(call, renew.get("params"), renew.get("lead_s", policy.RenewPolicy(params={}).lead_s))


def _renew_errors(call: StartCall, second: Any, lead_s: Any) -> Iterator[FieldProblem]:
    about = call.dialect.identity(call.action, call.params)
    life_s = call.dialect.rules(about.kind, call.params).life_s
    if life_s and type(lead_s) is int and lead_s * 2 > life_s:  # else each successor would start the next one soon after itself
        yield FieldProblem(field=f"{_RENEW}.lead_s", message=f"must be at most half of the allowed life, which is {life_s:g} s")
    if about.vendor_task_id is None or not life_s:
        message = "must be left out: it is for tasks whose life the vendor limits and whose id the caller chooses"
        yield FieldProblem(field=_RENEW, message=message)
    elif isinstance(second, dict):
        for problem in call.dialect.check(call.action, call.version, second):
            yield FieldProblem(field=f"{_PARAMS}.{problem.field}", message=problem.message)
        message = _describe_clash(call, second)
        if message:
            yield FieldProblem(field=_PARAMS, message=message)


def _describe_clash(call: StartCall, second: Mapping[str, Any]) -> str:
    """Returns why the two tasks cannot run beside each other; empty if they can."""
    one, other = (call.dialect.identity(call.action, params) for params in (call.params, second))
    wrong = [
        "name the same app as params" if other.app_id != one.app_id else "",
        "name the same room as params" if other.room_id != one.room_id else "",
        "have a task id of its own" if other.vendor_task_id == one.vendor_task_id else "",
        "have a robot's user id of its own" if one.robot is not None and other.robot == one.robot else "",
    ]
    found = [each for each in wrong if each]
    return f"must {', and '.join(found)}" if found else ""
