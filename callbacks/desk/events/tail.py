"""Keeps the newest events in memory for all streams: the ledger is polled once, however many clients follow.

A stream keeps only a position, and requests the events after it. Near the end they come from memory; a stream that is further
behind reads page after page from the ledger. The ledger is polled only while there are streams. While it cannot be reached, streams
wait, and miss nothing. Everything but the reading itself happens in the event loop.
"""

import asyncio
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from adapters.contract.cloud_events import cloud_event, event_bytes
from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError, epochs, events, positions
from adapters.ledger.events import Event
from adapters.logs import logger

#: Events read at once, and their bytes: a stream that is far behind holds as much while its client reads nothing.
PAGE = 100
_PAGE_BYTES = 256 * 1024
#: Bytes of rendered events that are kept in memory.
KEPT_BYTES = 32 * 1024 * 1024

T = TypeVar("T")

log = logger(__name__)


class TailItem:
    """An event as streams send it: rendered on demand, once for readers with keys and once for those without."""

    def __init__(self, event: Event) -> None:
        self.position = event.position
        self.size = 0
        self._event = event
        self._blocks: dict[bool, bytes] = {}

    def sse_block(self, *, keys: bool) -> bytes:
        """Returns the event as a server-sent event. keys: whether the reader may see stream keys."""
        if keys not in self._blocks:
            data = event_bytes(cloud_event(self._event, keys=keys))
            self._blocks[keys] = b"id: %d\ndata: %b\n\n" % (self.position, data)
            self.size = sum(map(len, self._blocks.values()))
        return self._blocks[keys]


class _EventWindow:
    """The newest items: all known events after `since`. `since`: None until the ledger was read."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._items: deque[TailItem] = deque()
        self.since: int | None = None
        #: Set and replaced when there are more events. Take it before you look: then no event is missed in between.
        self.changed = asyncio.Event()

    @property
    def newest(self) -> int | None:
        return self._items[-1].position if self._items else self.since

    def begin(self, position: int) -> None:
        self.since = position
        self._notify_readers()

    def add(self, items: Sequence[TailItem]) -> None:
        self._items.extend(items)
        sizes = sum(item.size for item in self._items)
        while len(self._items) > self._kept or (sizes > KEPT_BYTES and len(self._items) > 1):
            oldest = self._items.popleft()
            sizes -= oldest.size
            self.since = oldest.position
        self._notify_readers()

    def covers(self, position: int) -> bool:
        return self.since is not None and position >= self.since

    def behind(self, position: int) -> Sequence[TailItem]:
        """Returns the first items after a position that the window covers."""
        first = bisect_right(self._items, position, key=lambda item: item.position)
        return list(islice(self._items, first, first + PAGE))

    def _notify_readers(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Tail:
    """The newest events, for all streams of a process.

    every_s: poll interval; away_s: the same while the ledger cannot be reached. kept: events kept in memory.
    """

    def __init__(self, ledger: Ledger, *, every_s: float = 0.1, away_s: float = 1.0, kept: int = 1_000) -> None:
        self._ledger = ledger
        self._every_s = every_s
        self._away_s = away_s
        self._kept = kept
        #: One thread reads for streams that are far behind, and one reads new events. More threads would compete with the event
        #: loop for the interpreter: with 30 streams from the beginning beside 200 expensive queries, callbacks waited 1,000 ms
        #: (median) with four threads, 400 ms with two, 95 ms with one.
        self._catching_up = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tail")
        self._following = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tail-news")
        #: Streams, by whether they may see stream keys.
        self._listeners: Counter[bool] = Counter()
        self._window: _EventWindow | None = None
        self._watch: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self, *, keys: bool) -> Iterator[None]:
        """Registers a stream, which may then request events."""
        if not self._listeners.total():
            self._start_following()
        self._listeners[keys] += 1
        try:
            yield
        finally:
            self._listeners[keys] -= 1
            if not self._listeners.total():
                self._stop_following()

    def _start_following(self) -> None:
        self._window = _EventWindow(self._kept)
        self._watch = asyncio.create_task(self._follow_ledger(self._window))

    def _stop_following(self) -> None:
        """Stops polling and drops the kept events: they may be old when the next stream begins."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._window = None

    async def newest_position(self) -> int:
        """Returns the position of the newest event. Raises LedgerUnavailableError."""
        return await self._run_in_thread(self._following, self._read_newest)

    async def resume_position(self, after: int) -> int:
        """Returns the position at which a reader of this position continues, after a restore too."""
        return await self._read_until_available(self._following, lambda: self._read_resume_position(after))

    async def next_items(self, position: int, *, keys: bool) -> Sequence[TailItem]:
        """Returns the next events after a position, in order; waits until there is one. Needs `listening`."""
        window = self._window
        assert window is not None
        while True:
            news = window.changed
            if found := await self._available_items(window, position, keys=keys):
                return found
            await news.wait()

    async def _available_items(self, window: _EventWindow, position: int, *, keys: bool) -> Sequence[TailItem]:
        if window.since is None:
            return ()
        if window.covers(position):
            return window.behind(position)
        return await self._read_until_available(self._catching_up, lambda: self._read_page(position, {keys}))

    async def _follow_ledger(self, window: _EventWindow) -> None:
        """Fills the window until it is cancelled."""
        while True:
            try:
                more = await self._fill_window(window)
            except Exception as error:
                log.exception("tail.failed", error=str(error))
                await asyncio.sleep(self._away_s)
                continue
            if not more:
                await asyncio.sleep(self._every_s)

    async def _fill_window(self, window: _EventWindow) -> bool:
        """Reads new events into the window; returns whether there may be more at once."""
        known = window.newest
        if known is None:
            window.begin(await self._read_until_available(self._following, self._read_newest))
            return False
        wanted = {keys for keys, number in self._listeners.items() if number}
        found = await self._read_until_available(self._following, lambda: self._read_if_newer(known, wanted))
        if found:
            window.add(found)
        return bool(found)  # a page of long events has few

    async def _read_until_available(self, thread: ThreadPoolExecutor, read: Callable[[], T]) -> T:
        """Reads, and retries while the ledger cannot be reached."""
        while True:
            try:
                return await self._run_in_thread(thread, read)
            except (LedgerUnavailableError, ConflictError):
                await asyncio.sleep(self._away_s)

    async def _run_in_thread(self, thread: ThreadPoolExecutor, read: Callable[[], T]) -> T:
        """Runs in a thread; a cancelled task does not wait for the thread, which may hang with the ledger."""
        return await asyncio.get_running_loop().run_in_executor(thread, read)

    # In threads.

    def _read_newest(self) -> int:
        with self._ledger.read() as connection:
            return positions.newest(connection)

    def _read_resume_position(self, after: int) -> int:
        with self._ledger.read() as connection:
            return epochs.resume_position(connection, after)

    def _read_if_newer(self, position: int, wanted: Collection[bool]) -> Sequence[TailItem]:
        return self._read_page(position, wanted) if self._read_newest() > position else ()

    def _read_page(self, position: int, wanted: Collection[bool]) -> Sequence[TailItem]:
        """Reads a page. wanted: the values of `keys` for which items are rendered here, not in the event loop."""
        with self._ledger.read() as connection:
            items = [TailItem(event) for event in events.page(connection, after=position, limit=PAGE, most_bytes=_PAGE_BYTES)]
        for item in items:
            for keys in wanted:
                item.sse_block(keys=keys)
        return items
