"""The newest events, kept for all who follow them: the ledger is asked what is new once, however many listen.

Who listens keeps nothing but a position, and asks for what is behind it. Near the end that comes from memory; who is further behind
reads page after page from the ledger. The ledger is looked at only while somebody listens. Where it is away, whoever asks waits
until it is back, and misses nothing. All but the reading itself happens in the event loop.
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

#: Events that are read at once, and bytes of them: who reads from far behind holds as much for as long as it takes nothing.
PAGE = 100
_PAGE_BYTES = 256 * 1024
#: Bytes of rendered events that are kept in memory.
KEPT_BYTES = 32 * 1024 * 1024

T = TypeVar("T")

log = logger(__name__)


class Item:
    """An event as streams send it: rendered when somebody wants it, and once for all who may see the same of it."""

    def __init__(self, event: Event) -> None:
        self.position = event.position
        self.size = 0
        self._event = event
        self._blocks: dict[bool, bytes] = {}

    def block(self, *, keys: bool) -> bytes:
        """keys: whether the reader may see stream keys."""
        if keys not in self._blocks:
            said = event_bytes(cloud_event(self._event, keys=keys))
            self._blocks[keys] = b"id: %d\ndata: %b\n\n" % (self.position, said)
            self.size = sum(map(len, self._blocks.values()))
        return self._blocks[keys]


class _Window:
    """The newest items: all events behind `since` that were heard of. `since`: None until the ledger was read."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._items: deque[Item] = deque()
        self.since: int | None = None
        #: Set, and replaced, when there is more: take it before you look, then nothing comes unnoticed in between.
        self.news = asyncio.Event()

    @property
    def newest(self) -> int | None:
        return self._items[-1].position if self._items else self.since

    def begin(self, position: int) -> None:
        self.since = position
        self._ring()

    def add(self, items: Sequence[Item]) -> None:
        self._items.extend(items)
        sizes = sum(item.size for item in self._items)
        while len(self._items) > self._kept or (sizes > KEPT_BYTES and len(self._items) > 1):
            oldest = self._items.popleft()
            sizes -= oldest.size
            self.since = oldest.position
        self._ring()

    def covers(self, position: int) -> bool:
        return self.since is not None and position >= self.since

    def behind(self, position: int) -> Sequence[Item]:
        """The first ones behind a position that is covered."""
        first = bisect_right(self._items, position, key=lambda item: item.position)
        return list(islice(self._items, first, first + PAGE))

    def _ring(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class Tail:
    """One for each process.

    every_s: how often the ledger is looked at; away_s: if it is away. kept: how many events are kept in memory.
    """

    def __init__(self, ledger: Ledger, *, every_s: float = 0.1, away_s: float = 1.0, kept: int = 1_000) -> None:
        self._ledger = ledger
        self._every_s = every_s
        self._away_s = away_s
        self._kept = kept
        #: One thread reads for those who are far behind, and one what is new, so that they wait for nobody. More would compete with
        #: the event loop for the interpreter: with 30 streams from the beginning beside 200 dear queries, four threads made
        #: callbacks wait 1,000 ms in the middle, two 400 ms, one 95 ms.
        self._catching_up = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tail")
        self._following = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tail-news")
        #: How many listen, by whether they may see stream keys.
        self._listeners: Counter[bool] = Counter()
        self._window: _Window | None = None
        self._watch: asyncio.Task[None] | None = None

    @contextmanager
    def joined(self, *, keys: bool) -> Iterator[None]:
        """Somebody listens, and may ask what is behind a position."""
        if not self._listeners.total():
            self._begin()
        self._listeners[keys] += 1
        try:
            yield
        finally:
            self._listeners[keys] -= 1
            if not self._listeners.total():
                self._end()

    def _begin(self) -> None:
        self._window = _Window(self._kept)
        self._watch = asyncio.create_task(self._watched(self._window))

    def _end(self) -> None:
        """What was kept goes too: once somebody listens again, it may be long behind."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._window = None

    async def newest(self) -> int:
        """The position of the newest event. Raises LedgerUnavailableError."""
        return await self._in_thread(self._following, self._read_newest)

    async def resumed(self, after: int) -> int:
        """Where who asks for what is behind this position goes on."""
        return await self._patiently(self._following, lambda: self._read_resumed(after))

    async def behind(self, position: int, *, keys: bool) -> Sequence[Item]:
        """The next events behind a position, in order; waits until there is one. Needs `joined`."""
        window = self._window
        assert window is not None
        while True:
            news = window.news
            if found := await self._look(window, position, keys=keys):
                return found
            await news.wait()

    async def _look(self, window: _Window, position: int, *, keys: bool) -> Sequence[Item]:
        if window.since is None:
            return ()
        if window.covers(position):
            return window.behind(position)
        return await self._patiently(self._catching_up, lambda: self._read(position, {keys}))

    async def _watched(self, window: _Window) -> None:
        """Fills the window until it is cancelled."""
        while True:
            try:
                more = await self._fill(window)
            except Exception as error:
                log.exception("tail.failed", error=str(error))
                await asyncio.sleep(self._away_s)
                continue
            if not more:
                await asyncio.sleep(self._every_s)

    async def _fill(self, window: _Window) -> bool:
        """Whether there is more to be read at once."""
        known = window.newest
        if known is None:
            window.begin(await self._patiently(self._following, self._read_newest))
            return False
        wanted = {keys for keys, number in self._listeners.items() if number}
        found = await self._patiently(self._following, lambda: self._read_if_newer(known, wanted))
        if found:
            window.add(found)
        return bool(found)  # a page of long events has few

    async def _patiently(self, thread: ThreadPoolExecutor, read: Callable[[], T]) -> T:
        """Reads as soon as the ledger can be read."""
        while True:
            try:
                return await self._in_thread(thread, read)
            except (LedgerUnavailableError, ConflictError):
                await asyncio.sleep(self._away_s)

    async def _in_thread(self, thread: ThreadPoolExecutor, read: Callable[[], T]) -> T:
        """Who is cancelled does not wait for the thread, which may hang as long as the ledger does."""
        return await asyncio.get_running_loop().run_in_executor(thread, read)

    # In threads.

    def _read_newest(self) -> int:
        with self._ledger.read() as connection:
            return positions.newest(connection)

    def _read_resumed(self, after: int) -> int:
        with self._ledger.read() as connection:
            return epochs.resume_position(connection, after)

    def _read_if_newer(self, position: int, wanted: Collection[bool]) -> Sequence[Item]:
        return self._read(position, wanted) if self._read_newest() > position else ()

    def _read(self, position: int, wanted: Collection[bool]) -> Sequence[Item]:
        """wanted: as which readers see them, so that the event loop need not render."""
        with self._ledger.read() as connection:
            items = [Item(event) for event in events.page(connection, after=position, limit=PAGE, most_bytes=_PAGE_BYTES)]
        for item in items:
            for keys in wanted:
                item.block(keys=keys)
        return items
