"""Supervises the parts of a process: threads that must neither end nor hang unseen, and states that must be told.

A part registers with the process's `Health`. A thread that runs as a `SupervisedThread` is run again, after a pause, when an
exception ends it. A part that is at work and makes no progress for longer than its patience counts as hanging. Nobody can end a
thread that hangs, so a process in which one has hung for `give_up_s` ends itself: the service manager starts it again.

One thread, the monitor, looks at everything once a second, and tells in the log what stopped working and what works again.
`Health.faults` waits for nothing, so that an event loop may ask it.
"""

from adapters.supervision.health import LEDGER, Fault, Health, Part
from adapters.supervision.process_end import CANNOT_RECOVER, end_process, exit_status
from adapters.supervision.threads import SupervisedThread

__all__ = ["CANNOT_RECOVER", "LEDGER", "Fault", "Health", "Part", "SupervisedThread", "end_process", "exit_status"]
