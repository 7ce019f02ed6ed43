"""Ends a process that cannot recover, so that its service manager starts a new one."""

import os
import signal
import threading

from adapters import logs
from adapters.supervision.health import Health

#: The exit status of a process that ended itself (EX_SOFTWARE of sysexits.h).
CANNOT_RECOVER = 70
#: If the process does not end by itself within this time, it is ended, s.
_END_TIMEOUT_S = 30.0


def end_process() -> None:
    """Ends this process as its service manager would; after `_END_TIMEOUT_S` it ends at once."""
    # Sent to the main thread, which handles signals: a signal that another thread gets does not wake it.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    timer = threading.Timer(_END_TIMEOUT_S, _exit_now)
    timer.daemon = True
    timer.start()


def _exit_now() -> None:
    logs.flush()
    os._exit(CANNOT_RECOVER)


def exit_status(health: Health) -> int:
    """Returns the exit status of a process that was told to end, or had to end itself."""
    return CANNOT_RECOVER if health.end_reason is not None else 0
