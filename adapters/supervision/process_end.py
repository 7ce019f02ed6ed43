"""Ends a process that cannot recover, so that its service manager starts a new one."""

import os
import signal
import threading

from adapters import logs
from adapters.supervision.health import Health

#: The exit status of a process that ended itself (EX_SOFTWARE of sysexits.h).
CANNOT_RECOVER = 70
#: What does not end by itself in this time is cut off, s.
_END_S = 30.0


def end_process() -> None:
    """Ends this process as its service manager would; what does not end by itself in time is cut off."""
    # To the main thread, which handles signals: one that another thread gets does not wake it from what it waits for.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    cut = threading.Timer(_END_S, _cut_off)
    cut.daemon = True
    cut.start()


def _cut_off() -> None:
    logs.flush()
    os._exit(CANNOT_RECOVER)


def exit_status(health: Health) -> int:
    """Of a process that was told to end, or had to."""
    return CANNOT_RECOVER if health.ends_because is not None else 0
