"""A thread pool that counts its unfinished tasks, logs those that raise, and can be waited for when the process ends."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import ParamSpec

from adapters.logs import logger

_Args = ParamSpec("_Args")

log = logger(__name__)


class ThreadPool:
    """Runs tasks in at most `size` threads.

    name: prefix of the threads' names, and `part` of the line that is logged about a task that raised.
    on_finished: called after each task, in the thread that ran it.
    """

    def __init__(self, size: int, name: str, on_finished: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._on_finished = on_finished
        self._unfinished: set[Future[None]] = set()
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)

    @property
    def unfinished(self) -> int:
        """The number of tasks that run or wait for a thread."""
        return len(self._unfinished)

    def submit(self, task: Callable[_Args, None], *args: _Args.args, **kwargs: _Args.kwargs) -> None:
        future = self._executor.submit(task, *args, **kwargs)
        self._unfinished.add(future)
        future.add_done_callback(self._on_done)

    def _on_done(self, future: Future[None]) -> None:
        self._unfinished.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            log.error("thread.failed", part=self._name, exc_info=error)
        self._on_finished()

    def wait(self, timeout_s: float) -> None:
        """Waits until no task is unfinished, for at most `timeout_s`."""
        wait(list(self._unfinished), timeout=max(0.0, timeout_s))

    def shut_down(self) -> None:
        """Cancels the tasks that no thread has begun. Those that run are neither stopped nor waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
