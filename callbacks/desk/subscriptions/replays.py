"""Asks for events to be delivered once more to one subscription: those of a time, of a task, or those that nobody took.

The desk counts them, and keeps what was asked; workers queue them little by little.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.clock import parse_rfc3339
from adapters.ledger import replays
from adapters.ledger.replays import EventSelection
from adapters.text import FieldProblem
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import Invalid, TooManyReplays
from callbacks.desk.http.responses import json_response
from callbacks.desk.subscriptions.queries import find, held, noted, require

MAX_RATE, USUAL_RATE = 1_000, 100
#: Under way at the same time, of a subscription.
MOST = 10
_EXAMPLE = '{"from": "2026-11-21T13:00:00Z", "to": "2026-11-21T14:00:00Z"}'
_TASK_ID = re.compile(r"[0-9A-Z]{26}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants delivered once more. rate: events per second."""

    selection: EventSelection
    rate: float
    dry_run: bool


async def resend(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    body = await request_body.read_body(request)
    return await desk.query_pool.run(request, caller.name, _resent, desk, caller, request.path_params["id"], body)


def _resent(desk: Desk, caller: ApiCaller, subscription_id: str, body: bytes) -> Response:
    require(desk, subscription_id)
    asked = _asked(request_body.parse_document(body.strip() or b"{}", _EXAMPLE), desk.clock())
    matched = _count(desk, subscription_id, asked.selection)
    if asked.dry_run:
        return json_response({"matched": matched, "dry_run": True})
    _add(desk, subscription_id, asked)
    noted(caller, subscription_id, "replay_asked", matched=matched)
    return json_response({"matched": matched}, status=202)


def _count(desk: Desk, subscription_id: str, selection: EventSelection) -> int:
    """There may be many, so nobody has to wait for it."""
    with desk.ledger.read() as connection:
        return replays.count(connection, find(connection, subscription_id), selection)


def _add(desk: Desk, subscription_id: str, asked: Asked) -> None:
    with held(desk, subscription_id) as it:
        if len(replays.of_subscription(it.connection, subscription_id)) >= MOST:
            raise TooManyReplays(f"{MOST} replays are under way; ask again when one of them is done")
        replays.add(it.connection, it.subscription, asked.selection, asked.rate, it.now)


def _asked(document: Mapping[str, Any], now: int) -> Asked:
    """Raises Invalid."""
    values, errors = _values(document)
    errors = errors or list(_missing(values, now))
    if errors:
        raise Invalid("this does not say what to deliver once more", errors)
    selection = EventSelection(**_times(values, now), subject=values["task_id"], dead=bool(values["dead"]))
    return Asked(selection=selection, rate=values["rate_per_s"] or USUAL_RATE, dry_run=bool(values["dry_run"]))


def _times(values: Mapping[str, Any], now: int) -> dict[str, int]:
    """What happens in this very millisecond is part of it."""
    return {"since": values["from"] or 0, "until": now + 1 if values["to"] is None else values["to"]}


def _missing(values: Mapping[str, Any], now: int) -> Iterator[FieldProblem]:
    times = _times(values, now)
    if all(values[name] is None or values[name] is False for name in _CHOOSE):
        yield FieldProblem(field="from", message=f"at least one of {', '.join(_CHOOSE)} must be given")
    elif times["since"] >= times["until"]:
        yield FieldProblem(field="from", message="must be before `to`, which is now where it is not given")


def _values(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
    """The members, and everything that is wrong. null: not given."""
    values: dict[str, Any] = {}
    errors = request_body.unknown_members(document, tuple(_READERS))
    for name, read in _READERS.items():
        given = document.get(name)
        try:
            values[name] = None if given is None else read(given)
        except ValueError as error:
            errors.append(FieldProblem(field=name, message=str(error)))
    return values, errors


def _moment(given: Any) -> int:
    """ms."""
    return parse_rfc3339(given if isinstance(given, str) else "")


def _task_id(given: Any) -> str:
    if not isinstance(given, str) or not _TASK_ID.fullmatch(given):
        raise ValueError("must be a task's id: 26 digits and capital letters")
    return given


def _flag(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueError("must be true or false")
    return given


def _rate(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given <= MAX_RATE:
        raise ValueError(f"must be a number from 1 to {MAX_RATE}: so many events per second")
    return given


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "from": _moment,
    "to": _moment,
    "task_id": _task_id,
    "dead": _flag,
    "rate_per_s": _rate,
    "dry_run": _flag,
}
#: Of these at least one is needed.
_CHOOSE = ("from", "to", "task_id", "dead")
