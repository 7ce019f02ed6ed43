"""Writes lines to a file descriptor from a thread of its own, so that a thread that logs never waits or fails.

Lines that cannot be written yet (the pipe is not read, the disk is full, the reader is gone) wait, up to a limit of lines and
characters; further lines are dropped and counted. Once writing works again the waiting lines are written, in order and complete,
and after them a notice of how many were dropped.
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

#: Limits of the waiting lines: lines, characters. As many again may be on their way to the descriptor.
_MAX_LINES, _MAX_SIZE = 10_000, 4 * 1024 * 1024
#: Characters per write, about: a pipe holds as many bytes.
_PIECE_SIZE = 64 * 1024
#: Pauses while writing fails, s: the first, doubled up to the last.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 1.0
#: Interval at which a descriptor that would block is tried again, ms.
_POLL_MS = 200
#: A write that lasts this long counts as stuck, s.
_STUCK_S = 3.0


#: Accepts a line, without its line break. Raises nothing.
PutLine = Callable[[str], None]


class LineWriter:
    """Thread-safe, and safe where the calling thread may hold the lock already: in a signal handler, or in garbage collection.

    fd: used by this writer alone; never closed. notice: returns the line that reports how many were dropped.
    """

    def __init__(self, fd: int, notice: Callable[[int], str], *, most_lines: int = _MAX_LINES, most_size: int = _MAX_SIZE) -> None:
        self._fd = fd
        self._notice = notice
        self._max_lines = most_lines
        self._max_size = most_size
        #: Lines that were dropped.
        self.dropped = 0
        self._reported = 0
        self._closing = False
        self._reset_state()
        os.register_at_fork(after_in_child=self._reset_state)

    def _reset_state(self) -> None:
        """Starts without waiting lines: those of a process that forks are written by that process."""
        self._lock = threading.RLock()
        self._lines: deque[str | threading.Event] = deque()
        self._size = 0
        #: True if the thread was woken since its last look. A `SimpleQueue` wakes it, since its `put` is reentrant.
        self._woken = False
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._writing_since_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Accepts a line, without its line break; drops it if too many wait."""
        with self._lock:
            if len(self._lines) >= self._max_lines or self._size + len(line) > self._max_size:
                self.dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
        self._wake_thread()

    def flush(self, timeout_s: float) -> bool:
        """Waits until all earlier lines are written, but at most `timeout_s`; returns whether they are."""
        reached = threading.Event()
        with self._lock:
            self._lines.append(reached)
        self._wake_thread()
        return reached.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Flushes at the end of the process: what cannot be written at once is not tried again."""
        self._closing = True
        self.flush(timeout_s)

    @property
    def is_stuck(self) -> bool:
        """True if lines have waited for some seconds to be written."""
        since = self._writing_since_s
        return since is not None and monotonic_s() - since > _STUCK_S

    def _wake_thread(self) -> None:
        if not self._woken:
            self._woken = True
            self._wakeups.put(None)

    # The thread.

    def _run(self) -> None:
        while True:
            with suppress(BaseException):  # nothing may end it, and no log is there to report to
                self._write_waiting()

    def _write_waiting(self) -> None:
        self._wakeups.get()
        self._woken = False
        with self._lock:
            lines, self._lines, self._size = self._lines, deque(), 0
            dropped = self.dropped
        try:
            self._write_all(lines)
            self._write_notice(dropped)
        finally:
            self._writing_since_s = None

    def _write_all(self, lines: deque[str | threading.Event]) -> None:
        piece: list[str] = []
        size = 0
        while lines:
            item = lines.popleft()
            if isinstance(item, str):
                piece.append(item)
                size += len(item)
            if not isinstance(item, str) or size >= _PIECE_SIZE or not lines:
                self._write_lines(piece)
                piece, size = [], 0
            if not isinstance(item, str):
                self._write_notice(self.dropped)  # first: the waiting thread may end the process, or close the descriptor
                item.set()

    def _write_notice(self, dropped: int) -> None:
        """Writes how many lines were dropped since the last notice. dropped: the number in all."""
        if dropped > self._reported:
            self._write_lines([self._notice(dropped - self._reported)])
            self._reported = dropped

    def _write_lines(self, lines: list[str]) -> None:
        """Tries until all lines are written; after a failure it goes on within the line."""
        if not lines:
            return
        self._writing_since_s = self._writing_since_s or monotonic_s()
        data = memoryview(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
        pause_s = _FIRST_PAUSE_S
        while data:
            try:
                data = data[os.write(self._fd, data) :]
                pause_s = _FIRST_PAUSE_S
            except BlockingIOError:  # another process that shares it has made it non-blocking
                self._wait_for_room()
            except OSError:
                if self._closing:
                    self.dropped += len(lines)
                    return
                threading.Event().wait(pause_s)
                pause_s = min(_LAST_PAUSE_S, pause_s * 2)
        self._writing_since_s = None

    def _wait_for_room(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll(_POLL_MS)


class LineStream(TextIOBase):
    """A stream that replaces stderr: each line goes to `put`, and nothing waits or fails."""

    def __init__(self, put: PutLine, before: TextIO, *, is_terminal: bool) -> None:
        self._put = put
        self._before = before
        self._is_terminal = is_terminal
        self._lock = threading.RLock()
        self._partial_line = ""

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
            *lines, self._partial_line = (self._partial_line + text).split("\n")
        for line in lines:
            self._put(line)
        return len(text)

    def flush(self) -> None:
        """Does nothing: a line without its line break waits for it, so that lines are complete."""


def put_to_stream(stream: TextIO) -> PutLine:
    """Returns a function that writes lines to a stream directly."""

    def put(line: str) -> None:
        with suppress(OSError, ValueError):
            stream.write(line + "\n")
            stream.flush()

    return put
