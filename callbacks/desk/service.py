"""How the service itself does: refusals, numbers, health."""

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import LedgerUnavailableError, rejections, stats
from adapters.ledger.rejections import RejectionFilter
from adapters.settings.loading import vendor_names
from callbacks.desk import cursors, parameters, rendering, sums
from callbacks.desk.access import Caller
from callbacks.desk.answers import NO_STORE, answer
from callbacks.desk.desk import Desk
from callbacks.desk.paging import page_of
from callbacks.desk.problems import NotReady

REJECTION_PARAMS = (
    parameters.word("vendor", vendor_names(), "Refusals of what came to this vendor's path."),
    parameters.text("app_id", "Refusals of what said to be of this app."),
    parameters.text("reason", "Refusals for this reason, as in `bad_signature`."),
    *parameters.paging(int),
)


async def list_rejections(desk: Desk, request: Request, caller: Caller) -> Response:
    values = parameters.from_query(REJECTION_PARAMS, request)
    limit, cursor = values.pop("limit"), values.pop("cursor")
    wanted = RejectionFilter(**values)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = rejections.newest(connection, before=cursor[0] if cursor else None, limit=limit + 1, wanted=wanted)
        return page_of(
            found,
            limit,
            shown=lambda item: rendering.rejection(item[1], keys=caller.sees_keys),
            cursor=lambda item: cursors.encode(item[0]),
        )

    return await desk.queries.run(request, caller.name, read)


async def show_stats(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)

    def read() -> Response:
        spool_rows = desk.spool_rows()  # before the ledger: what moves from one to the other meanwhile must not be in neither
        with desk.ledger.read() as connection:
            found = stats.read(connection, desk.clock())
        parts, unwritten = desk.health.parts(), desk.unrecorded()
        clock = desk.clock_watch
        return answer(rendering.stats(found, spool_rows=spool_rows, parts=parts, unwritten=unwritten, clock=clock))

    return await desk.queries.run(request, caller.name, read)


async def show_metrics(desk: Desk, request: Request, caller: Caller) -> Response:
    """Answers when the ledger is away too: then above all somebody looks."""

    def render() -> tuple[bytes, str]:
        try:
            with desk.ledger.read() as connection:
                desk.sums.update(desk.metrics, connection, desk.clock())
        except LedgerUnavailableError:
            sums.unknown(desk.metrics)
        for name, fault in desk.health.parts().items():
            desk.metrics.part_up.labels(name).set(fault is None)
        desk.metrics.spool_rows.set(desk.spool_rows())
        desk.metrics.event_streams.set(desk.streams.open)
        return desk.metrics.render()

    body, content_type = await desk.queries.run(request, caller.name, render)
    return Response(body, headers={**NO_STORE, "Content-Type": content_type})


async def show_health(desk: Desk, request: Request) -> Response:
    """The process answers; says nothing of the ledger, for a restart does not mend that."""
    return answer({"status": "ok"})


async def show_readiness(desk: Desk, request: Request) -> Response:
    """Answers from what is known already, in the event loop: neither the ledger nor the desk's threads can hold it up."""
    faults = desk.health.faults()
    shown = [rendering.fault(each) for each in faults]
    if any(each.vital for each in faults):
        detail = "; ".join(f"{each.part}: {each.detail}" for each in faults)
        raise NotReady(detail, more={"parts": shown})
    return answer({"status": "degraded", "parts": shown} if faults else {"status": "ready"})
