"""The folder of spool files: appended to while the ledger is unavailable, drained once it is back.

    NAME.spool       waits to be drained; it is locked exactly as long as its process lives
    NAME.refused     callbacks whose content the ledger refuses; tried again when the next process opens the spool
    NAME.torn        damaged bytes between records, or a file that is no spool file; for the operator

Names sort by creation time. One thread may append while another drains.
"""

import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from adapters.ledger.inbox import Arrival
from adapters.ledger.ledger_url import hosts_of, sqlite_path
from adapters.logs import logger
from adapters.spool.files import SpoolFile, count_new_records, make_folder, probe_write, sync_folder
from adapters.spool.payloads import UnreadablePayloadError, decode_arrival, encode_arrival
from adapters.spool.records import RECORD_SIZE, DamagedRange, NotASpoolError, Record

_SPOOL, _REFUSED, _TORN = ".spool", ".refused", ".torn"
#: Rows per transaction at most when draining.
_BATCH_ROWS = 500
#: Bytes per transaction at most when draining (exceeded by the last row).
_BATCH_BYTES = 4 * 1024 * 1024

log = logger(__name__)


class SpoolUnavailableError(Exception):
    """Raised when the spool cannot store callbacks: it or the disk is full, or the disk fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolBatch:
    """The oldest waiting callbacks, to be recorded in one transaction; then call `complete_batch`."""

    arrivals: Sequence[Arrival]
    #: Damaged ranges and unreadable records.
    damages: Sequence[DamagedRange]
    #: Number of records, readable or not.
    rows: int
    begin: int
    end: int
    file: SpoolFile


def ledger_folder(folder: Path, ledger_url: str) -> Path:
    """Returns the folder of this ledger's spool files: callbacks for one ledger must not be drained into another.

    If a ledger was replaced, its files can be moved into the folder of the new one. The folder's name depends on which database it
    is, not on how to log in.
    """
    path = sqlite_path(ledger_url)
    if path is not None:
        name, where = path.stem, str(path.resolve())
    else:
        parts = urlsplit(ledger_url)
        # User and password may change; they do not identify the database.
        identifying = [(key, value) for key, value in parse_qsl(parts.query) if key in ("host", "port", "dbname", "service")]
        hosts = hosts_of(ledger_url)
        host, port = (hosts["host"], hosts["port"]) if hosts else (parts.hostname, parts.port)
        name, where = parts.path.strip("/"), repr((host, port, parts.path, sorted(identifying)))
    plain = "".join(c for c in name if c.isalnum() or c in "-_")[:40]
    return folder / f"{plain}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"


class Spool:
    """The spool of one ledger. `folder`: created when needed. `clock`: ms since the epoch, for file names only."""

    def __init__(self, folder: Path, max_bytes: int, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        #: All files that we have locked and must drain, the oldest first.
        self._files: list[SpoolFile] = []
        self._refused: SpoolFile | None = None
        #: Name of another process's file -> (offset up to which it was counted, number of records).
        self._counted: dict[str, tuple[int, int]] = {}

    def open(self) -> None:
        """Prepares the spool for use: callbacks of dead processes that the ledger refused are queued once more."""
        for path in self._paths_with(_REFUSED):
            if (file := _try_adopt(path)) is not None:
                file.rename_to = path.with_suffix(_SPOOL)
                file.remove()
        for other in self._other_folders():
            log.warning("spool.stranded", folder=str(other), hint="move its files into the folder of this ledger")
        self._report_unwritable()

    def _report_unwritable(self) -> None:
        """Logs an error if the folder is not writable. The door opens nevertheless, since the ledger may always be available."""
        existing = next(folder for folder in (self._folder, *self._folder.absolute().parents) if folder.exists())
        if self._max_bytes and not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
            error = f"{existing} cannot be written by user {os.geteuid()}: while the ledger is away, callbacks will be refused"
            log.error("spool.failed", folder=str(self._folder), error=error)

    def close(self) -> None:
        """Closes all files; the next process drains what is left."""
        with self._lock:
            for file in [*self._files, *([self._refused] if self._refused else [])]:
                file.close()
            self._files, self._refused = [], None

    def append(self, arrivals: Sequence[Arrival]) -> None:
        """Appends callbacks durably: they survive a power cut. Raises SpoolUnavailableError: then none was appended."""
        with self._lock:
            current = next((file for file in self._files if file.is_appendable and file.is_ours), None)
            appended = self._append_payloads(self._encode_within_limit(arrivals), current, _SPOOL)
            if appended is not current:
                self._files.append(appended)

    def prove_writable(self, size: int) -> None:
        """Writes, syncs and deletes this number of bytes. Raises SpoolUnavailableError if no callback could be appended."""
        with self._lock:
            self._require_room(size)
            try:
                make_folder(self._folder.parent, 0o700)
                make_folder(self._folder, 0o700)
                probe_write(self._folder / "writable.probe", size)
            except OSError as error:
                raise SpoolUnavailableError(f"the spool cannot be written: {error.strerror}") from error

    def set_aside(self, arrivals: Sequence[Arrival]) -> None:
        """Stores callbacks whose content the ledger refuses, apart from the others. Raises SpoolUnavailableError."""
        with self._lock:
            self._set_aside_payloads(self._encode_within_limit(arrivals))

    def _set_aside_payloads(self, payloads: Sequence[bytes]) -> None:
        current = self._refused if self._refused and self._refused.is_appendable and self._refused.is_ours else None
        self._refused = self._append_payloads(payloads, current, _REFUSED)
        log.error("spool.set_aside", file=str(self._refused.path), rows=len(payloads))

    def _encode_within_limit(self, arrivals: Sequence[Arrival]) -> list[bytes]:
        payloads = [encode_arrival(arrival) for arrival in arrivals]
        self._require_room(sum(len(payload) + RECORD_SIZE for payload in payloads))
        return payloads

    def _require_room(self, size: int) -> None:
        if self._total_bytes() + size > self._max_bytes:
            raise SpoolUnavailableError(f"the spool has {self._max_bytes} bytes, which is all it may have")

    def _append_payloads(self, payloads: Sequence[bytes], current: SpoolFile | None, suffix: str) -> SpoolFile:
        try:
            if current is not None:
                current.append(payloads)
                return current
            return self._create_with(payloads, suffix)
        except OSError as error:
            log.error("spool.failed", error=str(error))
            raise SpoolUnavailableError(f"the spool cannot be written: {error.strerror}") from error

    def _create_with(self, payloads: Sequence[bytes], suffix: str) -> SpoolFile:
        file = self._create_file(suffix)
        try:
            file.append(payloads)
            sync_folder(self._folder)
        except OSError:
            file.remove()
            raise
        return file

    def _create_file(self, suffix: str) -> SpoolFile:
        make_folder(self._folder.parent, 0o700)
        make_folder(self._folder, 0o700)
        while True:
            name = f"{self._clock():015d}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
            with suppress(FileExistsError):
                return SpoolFile.create(self._folder / name)

    def adopt(self) -> None:
        """Takes over the files of dead processes."""
        own = {file.path for file in tuple(self._files)}
        for path in self._paths_with(_SPOOL):
            if path in own or (file := _try_adopt(path)) is None:  # reading a file may be slow, so it happens without the lock
                continue
            if file.is_drained:
                file.remove()
                continue
            log.info("spool.adopted", file=str(path), rows=file.rows)
            with self._lock:
                self._files = sorted([*self._files, file], key=lambda file: file.path.name)

    def next_batch(self) -> SpoolBatch | None:
        """Returns the oldest waiting callbacks of our files; None if there are none. Raises OSError."""
        file = next((file for file in tuple(self._files) if not file.is_drained), None)
        return None if file is None else _read_batch(file)

    def complete_batch(self, batch: SpoolBatch, refused: Sequence[Arrival] = ()) -> None:
        """Marks a batch as drained: the ledger has committed it, except the refused callbacks. A drained file is removed."""
        with self._lock:
            file = batch.file
            if file.drained_end != batch.begin or file not in self._files:
                return  # another thread, which had been given up, completed it meanwhile
            for damage in batch.damages:
                _save_torn_bytes(file, damage)
            if refused:
                try:
                    self._set_aside_payloads([encode_arrival(arrival) for arrival in refused])
                except SpoolUnavailableError:
                    file.rename_to = file.path.with_suffix(_REFUSED)  # keep the whole file: a rename needs no space
            file.mark_drained(batch.end, batch.rows)
            if file.is_drained:
                self._files.remove(file)
                file.remove()

    @property
    def has_rows(self) -> bool:
        """True if one of our files has callbacks to drain."""
        return any(not file.is_drained for file in tuple(self._files))

    def rows(self) -> int:
        """Returns the number of callbacks that wait in the folder, in files of all processes. Never waits for a sync."""
        ours = {file.path: file.rows for file in tuple(self._files)}
        theirs = (self._count_rows(path) for path in self._paths_with(_SPOOL) if path not in ours)
        return sum(ours.values()) + sum(theirs)

    def _count_rows(self, path: Path) -> int:
        try:
            size = path.stat().st_size
            at, rows = self._counted.get(path.name, (0, 0))
            if size > at:
                self._counted[path.name] = at, rows = count_new_records(path, at, rows)
        except (OSError, NotASpoolError):
            return 0  # it was drained meanwhile, or will be set aside
        return rows

    def set_aside_files(self) -> int:
        """Returns the number of files that wait for the operator."""
        return len(self._paths_with(_REFUSED)) + len(self._paths_with(_TORN))

    def _total_bytes(self) -> int:
        with suppress(OSError):
            return sum(_file_size(path) for path in self._folder.iterdir())
        return 0

    def _paths_with(self, suffix: str) -> list[Path]:
        with suppress(OSError):
            return sorted(path for path in self._folder.iterdir() if path.suffix == suffix)
        return []

    def _other_folders(self) -> Iterator[Path]:
        with suppress(OSError):
            for folder in self._folder.parent.iterdir():
                if folder != self._folder and folder.is_dir() and any(folder.glob(f"*{_SPOOL}")):
                    yield folder


def _read_batch(file: SpoolFile) -> SpoolBatch:
    arrivals: list[Arrival] = []
    damages: list[DamagedRange] = []
    begin = end = file.drained_end
    rows = 0
    for item in file.scan_records():
        item_begin, end = end, item.end
        if isinstance(item, Record):
            rows += 1
            try:
                arrivals.append(decode_arrival(item.payload))
            except UnreadablePayloadError:
                damages.append(DamagedRange(item_begin, end))
        else:
            damages.append(item)
        if rows >= _BATCH_ROWS or end - begin >= _BATCH_BYTES:
            break
    return SpoolBatch(arrivals=arrivals, damages=damages, rows=rows, begin=begin, end=end, file=file)


def _save_torn_bytes(file: SpoolFile, damage: DamagedRange) -> None:
    """Copies a damaged range into a file of its own; if there is no space for it, the whole file will be kept."""
    kept = file.path.with_name(f"{file.path.stem}-{damage.at}{_TORN}")
    try:
        fd = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as torn:
            torn.write(file.read_bytes(damage.at, damage.end - damage.at))
            torn.flush()
            os.fsync(fd)
    except OSError:
        kept = file.path.with_suffix(_TORN)
        file.rename_to = file.rename_to or kept
    log.warning("spool.torn", file=str(file.path), at=damage.at, bytes=damage.end - damage.at, kept=str(kept))


def _try_adopt(path: Path) -> SpoolFile | None:
    try:
        return SpoolFile.adopt(path)
    except NotASpoolError:
        log.warning("spool.torn", file=str(path), at=0, bytes=_file_size(path), kept=str(path.with_suffix(_TORN)))
        with suppress(OSError):
            path.rename(path.with_suffix(_TORN))
    except OSError as error:
        log.error("spool.failed", file=str(path), error=str(error))
    return None


def _file_size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
