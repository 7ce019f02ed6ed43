"""The spool: local files that hold callbacks while the ledger is unavailable.

Each process appends to one file of its own, and keeps it locked as long as it lives; synced data survives a power cut. A file is
removed once it is drained, and only after the ledger has committed its callbacks: after a crash some are recorded a second time,
which the ledger recognises. The kernel unlocks the files of a process that died, and the next process that finds them drains them.

* `spool` - the folder of spool files: appending and draining.
* `files` - one open, locked spool file.
* `records` - the byte format of a file.
* `payloads` - the byte format of a callback.
* `snapshot` - reads what waits in a spool without draining it (for backups).
"""

from adapters.spool.spool import Spool, SpoolBatch, SpoolUnavailableError, ledger_folder

__all__ = ["Spool", "SpoolBatch", "SpoolUnavailableError", "ledger_folder"]
