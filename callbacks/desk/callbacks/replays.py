"""Asks for callbacks to be read and decided once again: one, or all that a filter selects.

The desk only puts the wish into the inbox; a worker does it. What is selected is what is there when it is asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import Connection, callbacks, inbox
from adapters.ledger.callbacks import CallbackFilter
from adapters.logs import logger
from callbacks.desk.callbacks.queries import FILTERS, find
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.parameters import Given
from callbacks.desk.http.problems import FieldError, Invalid
from callbacks.desk.http.responses import answer

_EXAMPLE = '{"filter": {"verdict": "unknown"}, "dry_run": true}'
#: Wishes per transaction: the door must not wait for a long one.
_BATCH = 300
_READ = 10_000

DRY_RUN = parameters.flag("dry_run", "Only say how many.")

log = logger(__name__)


async def replay_one(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)
    callback = await desk.queries.run(request, caller.name, find, desk, request.path_params["id"])
    queued = await desk.queries.run(request, caller.name, _queue, desk, [callback.id])
    log.info("callback.replay_asked", by=caller.name, matched=1, callback_id=callback.id)
    return answer({"matched": 1, "queued": queued}, status=202, headers={"Location": f"/v1/callbacks/{callback.id}"})


async def replay_many(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)
    wanted, dry_run = _asked(await request_body.read(request))
    if dry_run:
        return answer({"matched": await desk.queries.run(request, caller.name, _count, desk, wanted), "dry_run": True})
    ids = await desk.queries.run(request, caller.name, _select, desk, wanted)
    queued = await desk.queries.run(request, caller.name, _queue, desk, ids)
    log.info("callback.replay_asked", by=caller.name, matched=len(ids))
    return answer({"matched": len(ids), "queued": queued}, status=202)


def _count(desk: Desk, wanted: CallbackFilter) -> int:
    with desk.ledger.read() as connection:
        return callbacks.count(connection, wanted)


def _select(desk: Desk, wanted: CallbackFilter) -> list[int]:
    with desk.ledger.read() as connection:
        return list(_ids(connection, wanted))


def _ids(connection: Connection, wanted: CallbackFilter) -> Iterator[int]:
    after = 0
    while found := callbacks.ids_after(connection, wanted, after=after, limit=_READ):
        yield from found
        after = found[-1]


def _queue(desk: Desk, ids: Sequence[int]) -> int:
    """Puts a wish for each into the inbox; how many were not there yet."""
    now = desk.clock()
    queued = 0
    for begin in range(0, len(ids), _BATCH):
        with desk.ledger.write() as connection:
            queued += inbox.post_replays(connection, ids[begin : begin + _BATCH], now)
        desk.ring()
    return queued


def _asked(body: bytes) -> tuple[CallbackFilter, bool]:
    """(what is to be replayed, whether only to count). Raises Malformed or Invalid."""
    errors: list[FieldError] = []
    values, more = parameters.read_all((*FILTERS, DRY_RUN), _given(request_body.document(body, _EXAMPLE), errors))
    errors += more
    dry_run = bool(values.pop("dry_run"))
    if not errors and not any(values.values()):
        errors = [FieldError(field="filter", message="must name at least one filter, or received_after or received_before")]
    if errors:
        raise Invalid("this does not say what to replay", errors)
    return CallbackFilter(**values), dry_run


def _given(document: Mapping[str, Any], errors: list[FieldError]) -> Iterator[Given]:
    """The members as parameters; those of `filter` stand at the top level as well. null: not given."""
    inner = {} if document.get("filter") is None else document["filter"]
    if not isinstance(inner, dict):
        errors.append(FieldError(field="filter", message="must be an object"))
        inner = {}
    outer = {name: value for name, value in document.items() if name != "filter"}
    members = [(name, name, value) for name, value in outer.items()]
    members += [(name, f"filter.{name}", value) for name, value in inner.items()]
    for name, field, value in members:
        if isinstance(value, bool) and field == DRY_RUN.name:
            yield Given(name=name, field=field, value=str(value).lower())
        elif isinstance(value, str) and name != DRY_RUN.name:
            yield Given(name=name, field=field, value=value)
        elif value is not None:
            message = "must be true or false, at the top level" if name == DRY_RUN.name else "must be text"
            errors.append(FieldError(field=field, message=message))
