"""Takes requests to replay events to one subscription: those of a time range, of a task, or the dead ones.

The desk counts the events and stores the request; workers queue the events at its rate.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import replays
from adapters.ledger.replays import EventSelection
from adapters.text import FieldProblem
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.body_fields import BodyField, read_fields, read_flag, read_number, read_time
from callbacks.desk.http.context import Desk
from callbacks.desk.http.json_schema import FLAG, TEXT, TIME
from callbacks.desk.http.problems import Invalid, TooManyReplays
from callbacks.desk.http.responses import json_response
from callbacks.desk.subscriptions.queries import find_subscription, locked, log_change, require_subscription

#: Events per second: maximum and default.
_MAX_RATE, _DEFAULT_RATE = 1_000, 100
#: Replays of one subscription at the same time.
MAX_REPLAYS = 10
_EXAMPLE = '{"from": "2026-11-21T13:00:00Z", "to": "2026-11-21T14:00:00Z"}'
_TASK_ID = re.compile(r"[0-9A-Z]{26}")
#: At least one of these is required.
_SELECTORS = ("from", "to", "task_id", "dead")


def _read_task_id(given: Any) -> str:
    if not isinstance(given, str) or not _TASK_ID.fullmatch(given):
        raise ValueError("must be a task's id: 26 digits and capital letters")
    return given


FIELDS = (
    BodyField(name="from", meaning="Events at this time or later; from the beginning by default.", schema=TIME, read=read_time),
    BodyField(name="to", meaning="Events before this time; until now by default.", schema=TIME, read=read_time),
    BodyField(name="task_id", meaning="Only events of this task.", schema=TEXT, read=_read_task_id),
    BodyField(
        name="dead",
        meaning="Only deliveries that failed for three days; `from` and `to` mean when they were queued.",
        schema=FLAG,
        read=read_flag,
        default=False,
    ),
    BodyField(
        name="rate_per_s",
        meaning="Events queued per second at most.",
        schema={"type": "number", "minimum": 1, "maximum": _MAX_RATE},
        read=read_number(1, _MAX_RATE, "events per second"),
        default=_DEFAULT_RATE,
    ),
    BodyField(name="dry_run", meaning="Only count them.", schema=FLAG, read=read_flag, default=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """A request to replay events. rate: events per second."""

    selection: EventSelection
    rate: float
    dry_run: bool


async def replay(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    body = await request_body.read_body(request)
    return await desk.query_pool.run(request, caller.name, _replay_events, desk, caller, request.path_params["id"], body)


def _replay_events(desk: Desk, caller: ApiCaller, subscription_id: str, body: bytes) -> Response:
    require_subscription(desk, subscription_id)
    asked = _read_request(request_body.parse_document(body.strip() or b"{}", _EXAMPLE), desk.clock())
    matched = _count_events(desk, subscription_id, asked.selection)
    if asked.dry_run:
        return json_response({"matched": matched, "dry_run": True})
    _add_replay(desk, subscription_id, asked)
    log_change(caller, subscription_id, "replay_asked", matched=matched)
    return json_response({"matched": matched}, status=202)


def _count_events(desk: Desk, subscription_id: str, selection: EventSelection) -> int:
    """Returns the number of events, in a transaction that only reads: counting many takes time."""
    with desk.ledger.read() as connection:
        return replays.count(connection, find_subscription(connection, subscription_id), selection)


def _add_replay(desk: Desk, subscription_id: str, asked: ReplayRequest) -> None:
    with locked(desk, subscription_id) as it:
        if len(replays.of_subscription(it.connection, subscription_id)) >= MAX_REPLAYS:
            raise TooManyReplays(f"{MAX_REPLAYS} replays are running; try again when one of them is done")
        replays.add(it.connection, it.subscription, asked.selection, asked.rate, it.now)


def _read_request(document: Mapping[str, Any], now: int) -> ReplayRequest:
    """Returns the request. Raises Invalid."""
    values, errors = read_fields(FIELDS, document)
    errors = errors or list(_missing_fields(values, now))
    if errors:
        raise Invalid("the body does not say what to replay", errors)
    selection = EventSelection(**_time_range(values, now), subject=values["task_id"], dead=bool(values["dead"]))
    return ReplayRequest(selection=selection, rate=values["rate_per_s"], dry_run=bool(values["dry_run"]))


def _time_range(values: Mapping[str, Any], now: int) -> dict[str, int]:
    """Returns since and until, ms. Without `to`, events of this very millisecond are included."""
    return {"since": values["from"] or 0, "until": now + 1 if values["to"] is None else values["to"]}


def _missing_fields(values: Mapping[str, Any], now: int) -> Iterator[FieldProblem]:
    times = _time_range(values, now)
    if all(values[name] is None or values[name] is False for name in _SELECTORS):
        yield FieldProblem(field="from", message=f"at least one of {', '.join(_SELECTORS)} must be given")
    elif times["since"] >= times["until"]:
        yield FieldProblem(field="from", message="must be before `to`, which is now by default")
