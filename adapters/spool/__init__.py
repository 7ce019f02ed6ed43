"""The spool: where callbacks wait on this machine's disk while the ledger cannot take them.

Each process appends to one file of its own, which it holds locked as long as it lives; what it has synced survives a power cut.
Drained, a file is removed, and not before the ledger has committed what was in it: after a crash some of it is recorded a second
time, which the ledger recognises. The files of a process that died are unlocked by the kernel, and whoever finds them drains them.

`records` knows the bytes of a file, `payloads` those of a callback, `files` one open file, `spool` the folder.
"""

from adapters.spool.spool import Lot, Spool, SpoolUnavailableError, folder_of

__all__ = ["Lot", "Spool", "SpoolUnavailableError", "folder_of"]
