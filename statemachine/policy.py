"""What a task's owner wants done by itself: how long to try, when to stop, when to go on with a successor.

A policy is data that came with the start request. `problems` says what is wrong with it, field by field; `read` takes one that
is right, and fills in what it leaves out.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.states import FINAL, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How long a start is tried."""

    max_attempts: int = 8
    max_elapsed_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Whether a task that does not recover is stopped, and after how long."""

    stop: bool = False
    max_s: int = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """A successor that takes over before the allowed life is over, started with the other of two sets of parameters."""

    params: Mapping[str, Any] = field(repr=False)
    lead_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Final states after which the task is started again."""

    on: tuple[State, ...]
    pause_s: int = 5
    max: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    start: Start = Start()
    recovery: Recovery = Recovery()
    renew: Renew | None = None
    restart: Restart | None = None
    #: Whether a task is stopped before the vendor's window closes on it.
    reach_stop: bool = False
    #: Whether a task that lives on after its told end is stopped.
    stop_zombies: bool = False


#: (field, what would be right)
Problem = tuple[str, str]


def read(doc: Mapping[str, Any]) -> Policy:
    """The policy that a document without problems states."""
    renew, restart = doc.get("renew"), doc.get("restart")
    return Policy(
        start=Start(**doc.get("start", {})),
        recovery=Recovery(**doc.get("recovery", {})),
        renew=Renew(**renew) if renew else None,
        restart=Restart(**{**restart, "on": tuple(State(word) for word in restart["on"])}) if restart else None,
        reach_stop=doc.get("reach") == "stop",
        stop_zombies=bool(doc.get("stop_zombies", False)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One field of the document. `right` ends the sentence "must be ..."."""

    right: str
    ok: Callable[[Any], bool]
    #: What it means, for the docs.
    meaning: str
    default: Any = None
    required: bool = False


def _number(least: int, most: int, meaning: str, default: int) -> Member:
    right = f"a whole number from {least} to {most}"
    return Member(right=right, ok=lambda value: type(value) is int and least <= value <= most, meaning=meaning, default=default)


def _flag(meaning: str) -> Member:
    return Member(right="true or false", ok=lambda value: isinstance(value, bool), meaning=meaning, default=False)


def _finals(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) and v in FINAL for v in value)


_DAY_S = 24 * 3600
#: section -> its members; the section "" holds those at the top.
MEMBERS: Mapping[str, Mapping[str, Member]] = {
    "start": {
        "max_attempts": _number(1, 100, "So many start calls are made at most.", 8),
        "max_elapsed_s": _number(1, _DAY_S, "A start is given up so long after it was asked for, s.", 600),
    },
    "recovery": {
        "stop": _flag("Whether a task that stays interrupted is stopped."),
        "max_s": _number(60, _DAY_S, "After so long, s.", 1800),
    },
    "renew": {
        "params": Member(
            right="the whole parameters of a start call, with a TaskId and UserId of their own",
            ok=lambda value: isinstance(value, dict),
            meaning="The second set of parameters; the two alternate.",
            required=True,
        ),
        "lead_s": _number(60, _DAY_S, "The successor is started so long before the allowed life is over, s.", 600),
    },
    "restart": {
        "on": Member(
            right=f"a list of {', '.join(sorted(FINAL))}",
            ok=_finals,
            meaning="Final states after which it is started again, unless a stop was asked for.",
            required=True,
        ),
        "pause_s": _number(0, _DAY_S, "How long after the end, s.", 5),
        "max": _number(1, 1000, "How often at most.", 3),
    },
    "": {
        "reach": Member(
            right='"mark" or "stop"',
            ok=lambda value: value in ("mark", "stop"),
            meaning="What is done an hour before the vendor can neither be asked nor told to stop.",
            default="mark",
        ),
        "stop_zombies": _flag("Whether a task that lives on after its told end is stopped."),
    },
}


def problems(doc: Any) -> list[Problem]:
    """What is wrong with a policy; empty: nothing."""
    if not isinstance(doc, dict):
        return [("policy", "must be an object")]
    return list(_problems(doc))


def _problems(doc: Mapping[str, Any]) -> Iterator[Problem]:
    sections = [name for name in MEMBERS if name]
    for name, value in doc.items():
        if name in sections:
            if not isinstance(value, dict):
                yield f"policy.{name}", "must be an object"
            else:
                yield from _of_section(f"policy.{name}", MEMBERS[name], value)
        elif name not in MEMBERS[""]:
            yield f"policy.{name}", f"is not known; there are {', '.join([*sections, *MEMBERS['']])}"
    yield from _of_section("policy", MEMBERS[""], {name: doc[name] for name in doc if name in MEMBERS[""]})


def _of_section(prefix: str, members: Mapping[str, Member], given: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in given.items():
        if name not in members:
            yield f"{prefix}.{name}", f"is not known; there are {', '.join(members)}"
        elif not members[name].ok(value):
            yield f"{prefix}.{name}", f"must be {members[name].right}"
    for name, member in members.items():
        if member.required and name not in given:
            yield f"{prefix}.{name}", f"must be given: {member.right}"


def table() -> str:
    """The fields of a policy as a Markdown table."""
    rows = ["| field | must be | default | meaning |", "|---|---|---|---|"]
    for section, members in MEMBERS.items():
        for name, member in members.items():
            field_name = f"{section}.{name}" if section else name
            default = "required" if member.required else f"`{json.dumps(member.default)}`"
            rows.append(f"| `{field_name}` | {member.right} | {default} | {member.meaning} |")
    return "\n".join(rows) + "\n"
