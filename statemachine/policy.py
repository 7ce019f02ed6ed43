"""Policies: what the state machine does for a task without being asked (retry its start, stop it, renew it, restart it).

A policy is data of the start request. `policy_problems` validates it, field by field; `parse_policy` reads a valid one and adds the
defaults. One table of fields (`POLICY_FIELDS`) serves the validation, the OpenAPI document and the docs.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.states import FINAL, State


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPolicy:
    """Limits of a start's attempts."""

    max_attempts: int = 8
    max_elapsed_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPolicy:
    """Automatic stop of a task that stays interrupted for too long."""

    stop: bool = False
    max_s: int = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewPolicy:
    """A successor takes over before the maximum lifetime is over, started with the other of two sets of parameters."""

    params: Mapping[str, Any] = field(repr=False)
    lead_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """The final states after which the task is started again, after which pause, and at most how often."""

    on: tuple[State, ...]
    pause_s: int = 5
    max: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy of one task, with defaults."""

    start: StartPolicy = StartPolicy()
    recovery: RecoveryPolicy = RecoveryPolicy()
    renew: RenewPolicy | None = None
    restart: RestartPolicy | None = None
    #: Whether a task is stopped before the vendor can no longer be queried about it.
    reach_stop: bool = False
    #: Whether a task that lives on after the vendor reported its end is stopped.
    stop_zombies: bool = False


#: (field, what would be right). The message completes a sentence whose subject is the field.
PolicyProblem = tuple[str, str]


def parse_policy(doc: Mapping[str, Any]) -> Policy:
    """Returns the policy of a valid document."""
    renew, restart = doc.get("renew"), doc.get("restart")
    return Policy(
        start=StartPolicy(**doc.get("start", {})),
        recovery=RecoveryPolicy(**doc.get("recovery", {})),
        renew=RenewPolicy(**renew) if renew else None,
        restart=RestartPolicy(**{**restart, "on": tuple(State(word) for word in restart["on"])}) if restart else None,
        reach_stop=doc.get("reach") == "stop",
        stop_zombies=bool(doc.get("stop_zombies", False)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyField:
    """One field of a policy document. `right` completes the sentence "must be ..."."""

    right: str
    ok: Callable[[Any], bool]
    #: Meaning, for the docs.
    meaning: str
    default: Any = None
    required: bool = False


def _number_field(least: int, most: int, meaning: str, default: int) -> PolicyField:
    right = f"a whole number from {least} to {most}"
    return PolicyField(
        right=right, ok=lambda value: type(value) is int and least <= value <= most, meaning=meaning, default=default
    )


def _flag_field(meaning: str) -> PolicyField:
    return PolicyField(right="true or false", ok=lambda value: isinstance(value, bool), meaning=meaning, default=False)


def _is_final_state_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and item in FINAL for item in value)


_DAY_S = 24 * 3600
#: Section -> name -> field; the section "" has the fields at the top level.
POLICY_FIELDS: Mapping[str, Mapping[str, PolicyField]] = {
    "start": {
        "max_attempts": _number_field(1, 100, "Maximum number of start calls.", 8),
        "max_elapsed_s": _number_field(1, _DAY_S, "Time after the start request at which the start is given up, s.", 600),
    },
    "recovery": {
        "stop": _flag_field("Whether a task that stays interrupted is stopped."),
        "max_s": _number_field(60, _DAY_S, "Time in state interrupted after which it is stopped, s.", 1800),
    },
    "renew": {
        "params": PolicyField(
            right="the complete parameters of a start call, with a TaskId and UserId of their own",
            ok=lambda value: isinstance(value, dict),
            meaning="Second set of parameters; successors alternate between the two.",
            required=True,
        ),
        "lead_s": _number_field(
            60, _DAY_S, "Time before the end of the maximum lifetime at which the successor is started, s.", 600
        ),
    },
    "restart": {
        "on": PolicyField(
            right=f"a list of {', '.join(sorted(FINAL))}",
            ok=_is_final_state_list,
            meaning="Final states after which the task is started again, unless a stop was requested.",
            required=True,
        ),
        "pause_s": _number_field(0, _DAY_S, "Time from the end to the restart, s.", 5),
        "max": _number_field(1, 1000, "Maximum number of restarts.", 3),
    },
    "": {
        "reach": PolicyField(
            right='"mark" or "stop"',
            ok=lambda value: value in ("mark", "stop"),
            meaning="Action one hour before the vendor can neither be queried about the task nor stop it: mark it, or stop it.",
            default="mark",
        ),
        "stop_zombies": _flag_field("Whether a task that lives on after the vendor reported its end is stopped."),
    },
}


def policy_problems(doc: Any) -> list[PolicyProblem]:
    """Returns what is wrong with a policy document; an empty list if nothing is."""
    if not isinstance(doc, dict):
        return [("policy", "must be an object")]
    return list(_find_problems(doc))


def _find_problems(doc: Mapping[str, Any]) -> Iterator[PolicyProblem]:
    sections = [name for name in POLICY_FIELDS if name]
    for name, value in doc.items():
        if name in sections:
            if not isinstance(value, dict):
                yield f"policy.{name}", "must be an object"
            else:
                yield from _section_problems(f"policy.{name}", POLICY_FIELDS[name], value)
        elif name not in POLICY_FIELDS[""]:
            yield f"policy.{name}", f"is not known; there are {', '.join([*sections, *POLICY_FIELDS['']])}"
    yield from _section_problems("policy", POLICY_FIELDS[""], {name: doc[name] for name in doc if name in POLICY_FIELDS[""]})


def _section_problems(prefix: str, fields: Mapping[str, PolicyField], values: Mapping[str, Any]) -> Iterator[PolicyProblem]:
    for name, value in values.items():
        if name not in fields:
            yield f"{prefix}.{name}", f"is not known; there are {', '.join(fields)}"
        elif not fields[name].ok(value):
            yield f"{prefix}.{name}", f"must be {fields[name].right}"
    for name, policy_field in fields.items():
        if policy_field.required and name not in values:
            yield f"{prefix}.{name}", f"must be given: {policy_field.right}"


def markdown_table() -> str:
    """Returns the fields of a policy as a Markdown table."""
    rows = ["| field | must be | default | meaning |", "|---|---|---|---|"]
    for section, fields in POLICY_FIELDS.items():
        for name, policy_field in fields.items():
            field_name = f"{section}.{name}" if section else name
            default = "required" if policy_field.required else f"`{json.dumps(policy_field.default)}`"
            rows.append(f"| `{field_name}` | {policy_field.right} | {default} | {policy_field.meaning} |")
    return "\n".join(rows) + "\n"
