"""Threads of a process that want to write to SQLite stand in line, and who is waited for goes first.

SQLite itself has who waits look again and again after ever longer pauses, and whoever comes at the right moment goes first: under
load the door, which vendors wait for, stood outside for a second and more.
"""

import threading


class WriterQueue:
    """patience_s: who waits for longer gives up."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._moved = threading.Condition()
        self._busy = False
        #: Who go first and wait.
        self._first = 0

    def acquire(self, *, first: bool) -> None:
        """Waits until it is the thread's turn. first: before all others that wait. Raises TimeoutError."""
        with self._moved:
            self._first += first
            come = self._moved.wait_for(lambda: not self._busy and (first or not self._first), self._patience_s)
            self._first -= first
            if not come:
                self._moved.notify_all()
                raise TimeoutError("another transaction of this process does not end")
            self._busy = True

    def release(self) -> None:
        """The next one's turn begins."""
        with self._moved:
            self._busy = False
            self._moved.notify_all()
