"""Answers how the service itself does: numbers, metrics, health."""

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import LedgerUnavailableError, stats
from callbacks.desk import rendering
from callbacks.desk.http import parameters
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import NotReady
from callbacks.desk.http.responses import NO_STORE, answer
from callbacks.desk.service import metrics_bridge


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
            metrics_bridge.unknown(desk.metrics)
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
