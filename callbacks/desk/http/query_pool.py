"""Runs what the desk asks of the ledger in threads of its own, and shares them between the callers fairly.

A caller (a token) has at most `share` of the threads at a time; what more it asks waits in a line of its own, and callers take
turns. So one caller with sixty requests delays its own and nobody else's, and the door's threads never wait for the desk's. Few
threads are enough: they compete with the event loop for one interpreter lock, which a thread that computes keeps for 5 ms.

A request that only reads is stopped when its client has gone, or when it took too long: it does not run on for nobody.
"""

import asyncio
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request

from adapters.clock import monotonic_s
from adapters.ledger.read_cancellation import CancellableReads
from adapters.logs import logger
from callbacks.desk.http.problems import QueryTooLong, TooManyQueries

T = TypeVar("T")

log = logger(__name__)


class _Query:
    """What is asked, and what came of it."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self.ask = ask
        self.answer: Future[Any] = Future()
        self.reading = CancellableReads()
        self.put_s = monotonic_s()
        #: When a thread began with it, s; None: it waits.
        self.begun_s: float | None = None

    def run(self) -> None:
        if not self.answer.set_running_or_notify_cancel():
            return
        self.begun_s = monotonic_s()
        try:
            with self.reading.for_this_thread():
                self.answer.set_result(self.ask())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the answer gets it
            self.answer.set_exception(error)

    def stop(self) -> None:
        """Nobody waits for it any more."""
        if not self.answer.cancel():
            threading.Thread(target=self.reading.cancel, name="stop-query", daemon=True).start()


class QueryPool:
    """Thread-safe.

    threads: in all. share: of one caller. waiting: of one caller in line; more are refused. patience_s: so long one waits in line;
    limit_s: so long a reading one may run.
    """

    def __init__(
        self, *, threads: int = 6, share: int = 3, waiting: int = 200, patience_s: float = 20.0, limit_s: float = 10.0
    ) -> None:
        self._threads, self._share, self._most_waiting = threads, share, waiting
        self._patience_s, self._limit_s = patience_s, limit_s
        self._lock = threading.Lock()
        #: Who has something in line, in the order in which they come up.
        self._lines: OrderedDict[str, deque[_Query]] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._under_way: set[_Query] = set()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="query")

    async def run(self, request: Request, who: str, ask: Callable[..., T], *given: Any) -> T:
        """What the function answers, called in a thread. who: the caller's name.

        Raises TooManyQueries, QueryTooLong, and what the function raises.
        """
        query = self._enqueue(who, lambda: ask(*given))
        answer: asyncio.Future[T] = asyncio.wrap_future(query.answer)
        if request.method not in ("GET", "HEAD"):
            return await answer
        gone = asyncio.create_task(_client_gone(request))
        try:
            await self._wait_for_answer(request, who, query, answer, gone)
        finally:
            gone.cancel()
            if not answer.done():
                query.stop()
                answer.add_done_callback(_ignore_result)
        return await answer

    def close(self) -> None:
        """Stops what runs, and begins nothing more."""
        with self._lock:
            waiting = [query for line in self._lines.values() for query in line]
            under_way = list(self._under_way)
            self._lines.clear()
        for query in (*waiting, *under_way):
            query.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _wait_for_answer(
        self, request: Request, who: str, query: _Query, answer: "asyncio.Future[Any]", gone: "asyncio.Task[None]"
    ) -> None:
        """Until there is an answer. Raises QueryTooLong, TooManyQueries, _GoneError."""
        while not answer.done():
            left_s = self._remaining_s(query)
            if left_s <= 0:
                waited = query.begun_s is None
                log.warning("desk.query_stopped", by=who, path=request.url.path, why="waited" if waited else "too_long")
                raise self._timeout_problem(waited=waited)
            await asyncio.wait({answer, gone}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and not answer.done():
                log.debug("desk.query_stopped", by=who, path=request.url.path, why="client_gone")
                raise QueryTooLong("the client has gone")

    def _remaining_s(self, query: _Query) -> float:
        """How much longer it may wait in line, or run."""
        begun_s = query.begun_s
        if begun_s is None:
            return query.put_s + self._patience_s - monotonic_s()
        return begun_s + self._limit_s - monotonic_s()

    def _timeout_problem(self, *, waited: bool) -> Exception:
        if waited:
            return TooManyQueries(f"it waited {self._patience_s:g} s for other requests of this token; ask for less at once")
        return QueryTooLong(f"it took more than {self._limit_s:g} s and was ended; ask for less: a filter, or a smaller limit")

    def _enqueue(self, who: str, ask: Callable[[], Any]) -> _Query:
        """Raises TooManyQueries."""
        query = _Query(ask)
        with self._lock:
            line = self._lines.setdefault(who, deque())
            if len(line) >= self._most_waiting:
                self._forget_given_up(line)
            if len(line) >= self._most_waiting:
                raise TooManyQueries(f"{len(line)} requests of this token wait already; ask again when some are answered")
            line.append(query)
        self._start_queries()
        return query

    @staticmethod
    def _forget_given_up(line: "deque[_Query]") -> None:
        kept = [query for query in line if not query.answer.cancelled()]
        line.clear()
        line.extend(kept)

    def _start_queries(self) -> None:
        """Gives free threads to whose turn it is."""
        with self._lock:
            while self._running.total() < self._threads and (found := self._next_query()) is not None:
                who, query = found
                self._running[who] += 1
                self._under_way.add(query)
                self._pool.submit(self._run_query, who, query)

    def _next_query(self) -> tuple[str, _Query] | None:
        """The first query of the caller that has waited longest for its turn and may have another thread."""
        for who in list(self._lines):
            line = self._lines[who]
            if not line:
                del self._lines[who]
            elif self._running[who] < self._share:
                self._lines.move_to_end(who)
                return who, line.popleft()
        return None

    def _run_query(self, who: str, query: _Query) -> None:
        query.run()
        with self._lock:
            self._under_way.discard(query)
            self._running[who] -= 1
            if not self._running[who]:
                del self._running[who]
        self._start_queries()


async def _client_gone(request: Request) -> None:
    """Returns once the client has. Only for requests of which nobody reads a body."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _ignore_result(answer: "asyncio.Future[Any]") -> None:
    """Or asyncio would complain that nobody looked at it."""
    if not answer.cancelled():
        answer.exception()
