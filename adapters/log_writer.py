"""Writes lines to a file descriptor from a thread of its own, so that who logs neither waits nor fails, whatever the descriptor is.

What cannot be written yet (nobody reads the pipe, the disk is full, the reader is gone) waits, up to a bound of lines and bytes;
what comes on top is dropped and counted. Once writing works again the waiting lines come out, in order and whole, and behind them a
line that tells how many were dropped.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from io import TextIOBase
from queue import SimpleQueue
from typing import TextIO

from adapters.clock import monotonic_s

#: Of lines that wait; as many again may be on their way to the descriptor. Lines; characters.
_MOST_LINES, _MOST_SIZE = 10_000, 4 * 1024 * 1024
#: Written at once, about, bytes: a pipe holds as much.
_PIECE = 64 * 1024
#: Pauses while writing fails, s: the first, doubled up to the last.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 1.0
#: How often a descriptor is asked that would have to wait, ms.
_POLL_MS = 200
#: Who has tried to write for so long is stuck, s.
_STUCK_S = 3.0


#: Takes a line, without its end. Raises nothing.
Put = Callable[[str], None]


class LineWriter:
    """Thread-safe, and safe to call where a lock may be held already: in a signal handler, or while garbage is collected.

    fd: of this writer alone; closed by nobody. notice: the line that tells how many were dropped.
    """

    def __init__(
        self, fd: int, notice: Callable[[int], str], *, most_lines: int = _MOST_LINES, most_size: int = _MOST_SIZE
    ) -> None:
        self._fd = fd
        self._notice = notice
        self._most_lines = most_lines
        self._most_size = most_size
        #: How many were dropped.
        self.dropped = 0
        self._told = 0
        self._closing = False
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """With nothing waiting: what waits in a process that forks is written by that process."""
        self._lock = threading.RLock()
        self._lines: deque[str | threading.Event] = deque()
        self._size = 0
        #: Whether the thread was woken since it looked. A `SimpleQueue` wakes it, for that may be entered twice by one thread.
        self._woken = False
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._since: float | None = None
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Takes a line, without its end; drops it if too many wait."""
        with self._lock:
            if len(self._lines) >= self._most_lines or self._size + len(line) > self._most_size:
                self.dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
        self._wake()

    def flush(self, timeout_s: float) -> bool:
        """Waits until all that was put is written, but no longer than this; whether it is."""
        reached = threading.Event()
        with self._lock:
            self._lines.append(reached)
        self._wake()
        return reached.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """As `flush`, for the end: what cannot be written at once is not tried again."""
        self._closing = True
        self.flush(timeout_s)

    @property
    def is_stuck(self) -> bool:
        """Whether lines have waited for some seconds to be written."""
        since = self._since
        return since is not None and monotonic_s() - since > _STUCK_S

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._bell.put(None)

    # The thread.

    def _run(self) -> None:
        while True:
            with suppress(BaseException):  # nothing may end it, and there is nobody to be told
                self._write_waiting()

    def _write_waiting(self) -> None:
        self._bell.get()
        self._woken = False
        with self._lock:
            waiting, self._lines, self._size = self._lines, deque(), 0
            dropped = self.dropped
        try:
            self._write_all(waiting)
            self._write_notice(dropped)
        finally:
            self._since = None

    def _write_all(self, waiting: deque[str | threading.Event]) -> None:
        piece: list[str] = []
        size = 0
        while waiting:
            item = waiting.popleft()
            if isinstance(item, str):
                piece.append(item)
                size += len(item)
            if not isinstance(item, str) or size >= _PIECE or not waiting:
                self._write_out(piece)
                piece, size = [], 0
            if not isinstance(item, str):
                self._write_notice(self.dropped)  # first: who waits for this may end the process, or close the descriptor
                item.set()

    def _write_notice(self, dropped: int) -> None:
        """Writes how many lines were dropped since the last notice. dropped: so many in all."""
        if dropped > self._told:
            self._write_out([self._notice(dropped - self._told)])
            self._told = dropped

    def _write_out(self, lines: list[str]) -> None:
        """Tries until all of them are out; what a failure left behind of a line comes first."""
        if not lines:
            return
        self._since = self._since or monotonic_s()
        data = memoryview(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
        pause_s = _FIRST_PAUSE_S
        while data:
            try:
                data = data[os.write(self._fd, data) :]
                pause_s = _FIRST_PAUSE_S
            except BlockingIOError:  # somebody who shares it has set it so
                self._wait_for_room()
            except OSError:
                if self._closing:
                    self.dropped += len(lines)
                    return
                threading.Event().wait(pause_s)
                pause_s = min(_LAST_PAUSE_S, pause_s * 2)
        self._since = None

    def _wait_for_room(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll(_POLL_MS)


class LineStream(TextIOBase):
    """What takes stderr's place: each line goes to `put`, and nothing waits or fails."""

    def __init__(self, put: Put, before: TextIO, *, is_terminal: bool) -> None:
        self._put = put
        self._before = before
        self._is_terminal = is_terminal
        self._lock = threading.RLock()
        self._begun = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def fileno(self) -> int:
        return self._before.fileno()

    def isatty(self) -> bool:
        return self._is_terminal

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._put(line)
        return len(text)

    def flush(self) -> None:
        """What has no end yet waits for it: lines come out whole."""


def stream_put(stream: TextIO) -> Put:
    """Writes to a stream directly."""

    def put(line: str) -> None:
        with suppress(OSError, ValueError):
            stream.write(line + "\n")
            stream.flush()

    return put
