"""Supervises the parts of a process: no thread may end or hang unnoticed, and faults are reported.

A part registers with the process's `Health`. A thread that runs as a `SupervisedThread` is run again, after a pause, when an
exception ends it. A part that is at work and makes no progress for longer than its patience counts as hanging. A hanging thread
cannot be ended, so a process in which one has hung for `give_up_s` ends itself: the service manager starts it again.

One thread, the monitor, checks everything once a second, and logs what stopped working and what works again. `Health.faults` never
waits, so that an event loop may call it.

health - `Health`, the parts of a process (`Part`), their faults, and the monitor
threads - `SupervisedThread`: a thread that is run again when something ends it
process_end - ends a process that cannot recover
"""

from adapters.supervision.health import LEDGER, Fault, Health, Part
from adapters.supervision.process_end import CANNOT_RECOVER, end_process, exit_status
from adapters.supervision.threads import SupervisedThread

__all__ = ["CANNOT_RECOVER", "LEDGER", "Fault", "Health", "Part", "SupervisedThread", "end_process", "exit_status"]
