"""Runs threads again when something ends them."""

import threading
from collections.abc import Callable

from adapters.clock import monotonic_s, now_ms
from adapters.logs import logger
from adapters.supervision.health import Fault, Health, Part

#: Pauses before a thread is run again, s: the first, doubled up to the last.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 5.0
#: After a run of this time the pauses begin with the first again, s.
_LONG_RUN_S = 60.0
#: Runs of a thread at most that fails while it is told to end.
_LAST_TRIES = 5

log = logger(__name__)


class SupervisedThread:
    """A daemon thread that runs `run` until `stopping` is set. `run` returns then; if anything else ends it, it is run again.

    is_over: whether it may end although `stopping` is not set. on_failure: called before it is run again; raises nothing.
    """

    def __init__(
        self,
        health: Health,
        part: Part,
        run: Callable[[], None],
        stopping: threading.Event,
        *,
        is_over: Callable[[], bool] = lambda: False,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._health = health
        self._part = part
        self._target = run
        self._stopping = stopping
        self._is_over = is_over
        self._on_failure = on_failure
        #: True when it has ended because it was told to.
        self.ended = False
        self._thread = self._new_thread()

    def start(self) -> None:
        self._thread.start()
        self._health.monitor(self)

    def join(self, timeout: float | None = None) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def revive(self) -> None:
        """Starts a new thread if this one is gone and should not be: even the loop in `_run` can be ended from outside."""
        if self.ended or self._may_end() or self._thread.is_alive():
            return
        log.error("thread.failed", part=self._part.name, error="the thread is gone; another one is started")
        self._part.failed("its thread was gone")
        self._thread = self._new_thread()
        try:
            self._thread.start()
        except RuntimeError as error:  # the system allows no more threads
            fault = Fault(part=self._part.name, since=now_ms(), detail=f"no thread can be started: {error}", vital=True)
            self._health.end(fault)

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name=self._part.name, daemon=True)

    def _may_end(self) -> bool:
        return self._stopping.is_set() or self._is_over()

    def _run(self) -> None:
        failures = 0
        while True:
            begun_s = monotonic_s()
            error = self._run_once()
            self._part.rest()
            failures = failures if monotonic_s() - begun_s < _LONG_RUN_S else 0
            if self._may_end() and (error is None or failures >= _LAST_TRIES):
                break
            self._report_failure(error)
            self._stopping.wait(min(_LAST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures, 10)))
            failures += 1
        self.ended = True

    def _run_once(self) -> BaseException | None:
        """Runs it; returns the exception that ended it, None if it returned."""
        try:
            self._target()
        except BaseException as error:  # noqa: BLE001 - no thread may end unnoticed
            return error
        return None

    def _report_failure(self, error: BaseException | None) -> None:
        self._part.failed_with(error)
        log.error("thread.failed", part=self._part.name, error=repr(error), exc_info=error)
        self._on_failure()
