"""Orders the threads of a process that write to SQLite: one writes at a time, and urgent ones (the door) go first.

SQLite's own busy handler polls after ever longer pauses, and whichever thread polls at the right moment gets the lock: under load
the door, which vendors wait for, waited for a second and more.
"""

import threading


class WriterQueue:
    """A mutex with two priorities. patience_s: timeout of a waiting thread, s.

    A turn belongs to a thread. If an exception from outside ends the thread's work between two lines, so that it cannot release its
    turn, the turn is free again once the thread is gone or wants to write anew: else nothing would be written any more.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._moved = threading.Condition()
        self._owner: threading.Thread | None = None
        #: Number of urgent threads that wait.
        self._first = 0

    def acquire(self, *, first: bool) -> None:
        """Waits until the calling thread may write. first: it goes before all waiting threads that are not. Raises TimeoutError."""
        with self._moved:
            self._first += first
            try:
                is_free = self._moved.wait_for(lambda: self._is_free() and (first or not self._first), self._patience_s)
            finally:
                self._first -= first
            if not is_free:
                self._moved.notify_all()
                raise TimeoutError("another transaction of this process does not end")
            self._owner = threading.current_thread()

    def release(self) -> None:
        """Lets the next thread write."""
        with self._moved:
            self._owner = None
            self._moved.notify_all()

    def _is_free(self) -> bool:
        owner = self._owner
        return owner is None or owner is threading.current_thread() or not owner.is_alive()
