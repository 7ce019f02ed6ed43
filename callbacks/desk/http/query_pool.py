"""Runs the desk's queries of the ledger in a thread pool that callers share fairly.

A caller (a token) has at most `share` of the threads at a time; its further queries wait in a queue of its own, and callers take
turns. So a caller with sixty requests delays only its own requests, and the door's threads never wait for the desk's. Few threads
are enough: they compete with the event loop for the interpreter lock, which a computing thread keeps for 5 ms.

A query that only reads is cancelled when its client has disconnected, or when it took too long.
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
    """A query and its future answer."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self.ask = ask
        self.answer: Future[Any] = Future()
        self.reading = CancellableReads()
        self.put_s = monotonic_s()
        #: When a thread began to run it, s; None while it waits.
        self.begun_s: float | None = None

    def run(self) -> None:
        if not self.answer.set_running_or_notify_cancel():
            return
        self.begun_s = monotonic_s()
        try:
            with self.reading.for_this_thread():
                self.answer.set_result(self.ask())
        except BaseException as error:  # noqa: BLE001 - the waiting request gets it
            self.answer.set_exception(error)

    def stop(self) -> None:
        """Cancels it, because its request has ended."""
        if not self.answer.cancel():
            threading.Thread(target=self.reading.cancel, name="stop-query", daemon=True).start()


class QueryPool:
    """A fair thread pool; thread-safe.

    threads: in total. share: threads of one caller at a time. waiting: queued queries of one caller at most; further ones are
    refused. patience_s: the longest wait in the queue; limit_s: the longest run of a query that reads.
    """

    def __init__(
        self, *, threads: int = 6, share: int = 3, waiting: int = 200, patience_s: float = 20.0, limit_s: float = 10.0
    ) -> None:
        self._threads, self._share, self._most_waiting = threads, share, waiting
        self._patience_s, self._limit_s = patience_s, limit_s
        self._lock = threading.Lock()
        #: Callers with queued queries, in the order of their turns.
        self._lines: OrderedDict[str, deque[_Query]] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._under_way: set[_Query] = set()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="query")

    async def run(self, request: Request, who: str, ask: Callable[..., T], *given: Any) -> T:
        """Returns what the function returns, called in a thread of the pool. who: the caller's name.

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
        """Cancels all queries, and starts no more."""
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
        """Waits until there is an answer. Raises QueryTooLong, TooManyQueries."""
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
        """Returns how much longer the query may wait in the queue, or run, s."""
        begun_s = query.begun_s
        if begun_s is None:
            return query.put_s + self._patience_s - monotonic_s()
        return begun_s + self._limit_s - monotonic_s()

    def _timeout_problem(self, *, waited: bool) -> Exception:
        if waited:
            return TooManyQueries(f"it waited {self._patience_s:g} s for other requests of this token; send fewer at once")
        return QueryTooLong(f"it took more than {self._limit_s:g} s and was ended; use a filter, or a smaller limit")

    def _enqueue(self, who: str, ask: Callable[[], Any]) -> _Query:
        """Raises TooManyQueries."""
        query = _Query(ask)
        with self._lock:
            line = self._lines.setdefault(who, deque())
            if len(line) >= self._most_waiting:
                self._forget_given_up(line)
            if len(line) >= self._most_waiting:
                raise TooManyQueries(f"{len(line)} requests of this token wait already; try again when some are answered")
            line.append(query)
        self._start_queries()
        return query

    @staticmethod
    def _forget_given_up(line: "deque[_Query]") -> None:
        kept = [query for query in line if not query.answer.cancelled()]
        line.clear()
        line.extend(kept)

    def _start_queries(self) -> None:
        """Starts queued queries on free threads."""
        with self._lock:
            while self._running.total() < self._threads and (found := self._next_query()) is not None:
                who, query = found
                self._running[who] += 1
                self._under_way.add(query)
                self._pool.submit(self._run_query, who, query)

    def _next_query(self) -> tuple[str, _Query] | None:
        """Returns the next query: of the caller whose turn it is, if its share allows another thread."""
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
    """Returns when the client has disconnected. Only for requests whose body is not read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _ignore_result(answer: "asyncio.Future[Any]") -> None:
    """Retrieves the exception of an abandoned answer: else asyncio logs that it was never retrieved."""
    if not answer.cancelled():
        answer.exception()
