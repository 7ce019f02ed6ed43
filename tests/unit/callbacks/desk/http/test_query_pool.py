"""What one caller asks delays nobody else, and what nobody waits for is not run on."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.requests import Request

from adapters.clock import monotonic_s
from adapters.ledger import Ledger, LedgerUnavailableError
from callbacks.desk.http.problems import QueryTooLong, TooManyQueries
from callbacks.desk.http.query_pool import QueryPool
from tests.support.ledgers import BOTH, open_ledger

#: Minutes of counting.
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"


@pytest.fixture(params=BOTH)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(request.param, tmp_path) as ledger:
        yield ledger


def request(method: str = "GET", gone: asyncio.Event | None = None) -> Request:
    """One whose client stays, or has gone once that is said."""

    async def receive() -> dict[str, Any]:
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": method, "path": "/v1/tasks", "headers": [], "query_string": b""}, receive)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def count_for_minutes(ledger: Ledger, began: threading.Event) -> int:
    with ledger.read() as connection:
        began.set()
        return int(connection.execute(text(ENDLESS)).scalar_one())


def test_one_caller_has_some_of_the_threads_and_others_are_answered_meanwhile() -> None:
    queries = QueryPool(threads=4, share=2)
    may_go_on, lock = threading.Event(), threading.Lock()
    running = most = 0

    def dear() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        may_go_on.wait(20)
        with lock:
            running -= 1

    async def scenario() -> None:
        asked = [asyncio.create_task(queries.run(request(), "greedy", dear)) for _ in range(60)]
        await asyncio.sleep(0)
        assert [await queries.run(request(), name, lambda: 7) for name in ("b", "c", "b")] == [7, 7, 7]
        may_go_on.set()
        await asyncio.gather(*asked)

    run(scenario)
    assert most == 2


def test_callers_take_turns() -> None:
    queries = QueryPool(threads=1, share=1)
    may_go_on, order = threading.Event(), []

    async def scenario() -> None:
        first = asyncio.create_task(queries.run(request(), "a", may_go_on.wait, 20))
        await asyncio.sleep(0)
        rest = [asyncio.create_task(queries.run(request(), name, order.append, name)) for name in ("a", "a", "a", "b", "b", "c")]
        await asyncio.sleep(0)
        may_go_on.set()
        await asyncio.gather(first, *rest)

    run(scenario)
    assert [order.index("b") < 3, order.index("c") < 3, sorted(order)] == [True, True, ["a", "a", "a", "b", "b", "c"]]


def test_a_line_that_is_too_long_is_refused_and_only_to_who_made_it() -> None:
    queries = QueryPool(threads=2, share=1, waiting=2)
    may_go_on = threading.Event()

    async def scenario() -> None:
        asked = [asyncio.create_task(queries.run(request(), "a", may_go_on.wait, 20)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyQueries, match="2 requests of this token wait already"):
            await queries.run(request(), "a", lambda: 1)
        assert await queries.run(request(), "b", lambda: 1) == 1
        may_go_on.set()
        await asyncio.gather(*asked)

    run(scenario)


def test_who_waits_in_line_for_too_long_is_told_so() -> None:
    queries = QueryPool(threads=1, share=1, patience_s=0.05)
    may_go_on = threading.Event()

    async def scenario() -> None:
        first = asyncio.create_task(queries.run(request("POST"), "a", may_go_on.wait, 20))
        await asyncio.sleep(0)
        with pytest.raises(TooManyQueries, match="it waited"):
            await queries.run(request(), "a", lambda: 1)
        may_go_on.set()
        await first

    run(scenario)


def test_a_query_that_takes_too_long_is_ended_and_its_thread_is_free(ledger: Ledger) -> None:
    queries = QueryPool(threads=1, share=1, limit_s=0.2)

    async def scenario() -> None:
        began_s = monotonic_s()
        with pytest.raises(QueryTooLong, match=r"more than 0\.2 s"):
            await queries.run(request(), "a", count_for_minutes, ledger, threading.Event())
        assert await queries.run(request(), "a", lambda: 7) == 7
        assert monotonic_s() - began_s < 5

    run(scenario)
    with ledger.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_query_whose_client_has_gone_does_not_run_on(ledger: Ledger) -> None:
    queries = QueryPool(threads=1, share=1)
    began = threading.Event()

    async def scenario() -> None:
        gone = asyncio.Event()
        asked = asyncio.create_task(queries.run(request(gone=gone), "a", count_for_minutes, ledger, began))
        await asyncio.to_thread(began.wait, 20)
        gone.set()
        with pytest.raises(QueryTooLong, match="the client has gone"):
            await asked
        assert await queries.run(request(), "a", lambda: 7) == 7

    run(scenario)


def test_what_a_closing_process_ran_is_stopped(ledger: Ledger) -> None:
    queries = QueryPool()
    began = threading.Event()

    async def scenario() -> None:
        asked = asyncio.create_task(queries.run(request("POST"), "a", count_for_minutes, ledger, began))
        await asyncio.to_thread(began.wait, 20)
        queries.close()
        with pytest.raises(LedgerUnavailableError):
            await asked

    run(scenario)
