"""Makes callbacks durable: one thread writes, and callbacks that arrive while it commits share the next commit.

Each `record` returns after the commit that holds its row; when idle there is nothing to wait for. A row that the ledger cannot
take fails alone.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.ledger import Ledger, LedgerUnavailableError
from adapters.ledger.inbox import Arrival, record, recorded_key

#: Callbacks per commit at the most: a bound on how long one waits for the others.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class _Waiting:
    arrival: Arrival
    done: "asyncio.Future[bool]"


class Recorder:
    """Start it in the event loop that will await it."""

    def __init__(self, ledger: Ledger, *, on_recorded: Callable[[], None]) -> None:
        self._ledger = ledger
        self._on_recorded = on_recorded
        self._queue: deque[_Waiting] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Writes what waits, then ends."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)

    async def record(self, arrival: Arrival) -> bool:
        """Whether it was new. Durable when this returns. Raises LedgerUnavailableError."""
        assert self._loop is not None, "start() first"
        done: asyncio.Future[bool] = self._loop.create_future()
        self._queue.append(_Waiting(arrival, done))
        self._wake.set()
        return await done

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while batch := self._take():
                self._write(batch)
            if self._stopping:
                return

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._queue and len(batch) < _BATCH:
            batch.append(self._queue.popleft())
        return batch

    def _write(self, batch: Sequence[_Waiting]) -> None:
        try:
            with self._ledger.write() as connection:
                new = record(connection, [waiting.arrival for waiting in batch])
        except LedgerUnavailableError as error:
            self._answer([(waiting, error) for waiting in batch])
        except Exception as error:  # noqa: BLE001 - whatever one row does must not fail the others
            self._write_alone(batch, error)
        else:
            self._answer([(waiting, recorded_key(waiting.arrival) in new) for waiting in batch])
            self._on_recorded()

    def _write_alone(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if len(batch) > 1:
            for waiting in batch:
                self._write([waiting])
        else:
            self._answer([(batch[0], error)])

    def _answer(self, answers: Sequence[tuple[_Waiting, bool | Exception]]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: Sequence[tuple[_Waiting, bool | Exception]]) -> None:
    for waiting, answer in answers:
        if waiting.done.done():  # the sender hung up; what it sent is recorded all the same
            continue
        if isinstance(answer, Exception):
            waiting.done.set_exception(answer)
        else:
            waiting.done.set_result(answer)
