"""Takes requests to replay callbacks: one, or all that a filter selects.

The desk only puts the requests into the inbox; a worker reads and decides the callbacks again. A filter selects the callbacks that
are recorded when the request comes.
"""

from collections.abc import Iterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import Connection, callbacks, inbox
from adapters.ledger.callbacks import CallbackFilter
from adapters.logs import logger
from adapters.text import FieldProblem
from callbacks.desk.callbacks.queries import FILTERS, find_summary
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.body_fields import BodyField, field_of, read_fields, read_flag, read_members, schema_of
from callbacks.desk.http.context import Desk
from callbacks.desk.http.json_schema import FLAG
from callbacks.desk.http.problems import Invalid
from callbacks.desk.http.responses import json_response

_EXAMPLE = '{"filter": {"verdict": "unknown"}, "dry_run": true}'
#: Replays per transaction at most: the door must not wait for a long one.
_BATCH = 300
_READ = 10_000

_FILTER_FIELDS = tuple(field_of(param) for param in FILTERS)
FIELDS = (
    BodyField(
        name="filter",
        meaning="The filters; they may stand at the top level too.",
        schema=schema_of("Filters.", _FILTER_FIELDS),
        read=read_members(_FILTER_FIELDS, "must be an object"),
    ),
    *_FILTER_FIELDS,
    BodyField(
        name="dry_run",
        meaning="Only count them.",
        schema=FLAG,
        read=read_flag,
        default=False,
    ),
)

log = logger(__name__)


async def replay_one(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    callback = await desk.query_pool.run(request, caller.name, find_summary, desk, request.path_params["id"])
    queued = await desk.query_pool.run(request, caller.name, _queue_replays, desk, [callback.id])
    log.info("callback.replay_asked", by=caller.name, matched=1, callback_id=callback.id)
    return json_response({"matched": 1, "queued": queued}, status=202, headers={"Location": f"/v1/callbacks/{callback.id}"})


async def replay_many(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    wanted, dry_run = _read_request(await request_body.read_body(request))
    if dry_run:
        return json_response(
            {"matched": await desk.query_pool.run(request, caller.name, _count_callbacks, desk, wanted), "dry_run": True}
        )
    ids = await desk.query_pool.run(request, caller.name, _select_ids, desk, wanted)
    queued = await desk.query_pool.run(request, caller.name, _queue_replays, desk, ids)
    log.info("callback.replay_asked", by=caller.name, matched=len(ids))
    return json_response({"matched": len(ids), "queued": queued}, status=202)


def _count_callbacks(desk: Desk, wanted: CallbackFilter) -> int:
    with desk.ledger.read() as connection:
        return callbacks.count(connection, wanted)


def _select_ids(desk: Desk, wanted: CallbackFilter) -> list[int]:
    with desk.ledger.read() as connection:
        return list(_iterate_ids(connection, wanted))


def _iterate_ids(connection: Connection, wanted: CallbackFilter) -> Iterator[int]:
    after = 0
    while found := callbacks.ids_after(connection, wanted, after=after, limit=_READ):
        yield from found
        after = found[-1]


def _queue_replays(desk: Desk, ids: Sequence[int]) -> int:
    """Puts a replay for each into the inbox; returns how many were new."""
    now = desk.clock()
    queued = 0
    for begin in range(0, len(ids), _BATCH):
        with desk.ledger.write() as connection:
            queued += inbox.post_replays(connection, ids[begin : begin + _BATCH], now)
        desk.wake_workers()
    return queued


def _read_request(body: bytes) -> tuple[CallbackFilter, bool]:
    """Returns (the filter, whether only to count). Raises Malformed or Invalid."""
    values, errors = read_fields(FIELDS, request_body.parse_document(body, _EXAMPLE))
    inner, dry_run = values.pop("filter", None) or {}, bool(values.pop("dry_run", False))
    for name in [name for name, value in inner.items() if value is not None and values.get(name) is not None]:
        errors.append(FieldProblem(field=f"filter.{name}", message="must be given once"))
    values |= {name: value for name, value in inner.items() if value is not None}
    if not errors and not any(values.values()):
        errors = [FieldProblem(field="filter", message="must name at least one filter, or received_after or received_before")]
    if errors:
        raise Invalid("the body does not say what to replay", errors)
    return CallbackFilter(**values), dry_run
