"""Shows the state of the service itself: numbers, metrics, health."""

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import LedgerUnavailableError, stats
from callbacks.desk.http import parameters
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import NotReady
from callbacks.desk.http.responses import NO_STORE, json_response
from callbacks.desk.service import metrics_bridge, rendering


async def show_stats(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)

    def read() -> Response:
        spool_rows = desk.spool_rows()  # before the ledger: what moves from one to the other meanwhile must not be in neither
        with desk.ledger.read() as connection:
            found = stats.read(connection, desk.clock())
        parts, unwritten = desk.health.parts(), desk.unrecorded()
        clock = desk.clock_watch
        return json_response(rendering.render_stats(found, spool_rows=spool_rows, parts=parts, unwritten=unwritten, clock=clock))

    return await desk.query_pool.run(request, caller.name, read)


async def show_metrics(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    """Answers also while the ledger cannot be reached, because operators look then."""

    def render() -> tuple[bytes, str]:
        try:
            with desk.ledger.read() as connection:
                desk.metrics_bridge.update(desk.metrics, connection, desk.clock())
        except LedgerUnavailableError:
            metrics_bridge.mark_unknown(desk.metrics)
        for name, fault in desk.health.parts().items():
            desk.metrics.part_up.labels(name).set(fault is None)
        desk.metrics.spool_rows.set(desk.spool_rows())
        desk.metrics.event_streams.set(desk.streams.open)
        return desk.metrics.render()

    body, content_type = await desk.query_pool.run(request, caller.name, render)
    return Response(body, headers={**NO_STORE, "Content-Type": content_type})


async def show_health(desk: Desk, request: Request) -> Response:
    """Answers 200 whenever the process runs; ignores the ledger, because a restart would not repair it."""
    return json_response({"status": "ok"})


async def show_readiness(desk: Desk, request: Request) -> Response:
    """Answers from memory, in the event loop: neither the ledger nor the desk's threads can delay it."""
    faults = desk.health.faults()
    shown = [rendering.render_fault(each) for each in faults]
    if any(each.vital for each in faults):
        detail = "; ".join(f"{each.part}: {each.detail}" for each in faults)
        raise NotReady(detail, more={"parts": shown})
    return json_response({"status": "degraded", "parts": shown} if faults else {"status": "ready"})
