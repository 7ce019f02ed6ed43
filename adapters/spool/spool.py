"""The folder of spool files: appended to while the ledger is away, drained when it is back.

    NAME.spool       waits to be drained; the process that holds it is alive exactly as long as it is locked
    NAME.refused     callbacks that the ledger refuses for what they are; tried again when the next process opens the spool
    NAME.torn        bytes between records that nobody can read, or a file that is no spool file: for a person to look at

Names sort by the time of their making. One thread may append while another drains.
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
from adapters.spool.files import SpoolFile, count_more, make_folder, sync_folder, write_and_remove
from adapters.spool.payloads import UnreadablePayloadError, arrival, payload
from adapters.spool.records import RECORD_SIZE, Damage, NotASpoolError, Record

_SPOOL, _REFUSED, _TORN = ".spool", ".refused", ".torn"
#: What is drained in one transaction, at the most.
_LOT_ROWS = 500
_LOT_BYTES = 4 * 1024 * 1024

log = logger(__name__)


class SpoolUnavailableError(Exception):
    """The spool cannot take it: it is full, or the disk is, or fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """The oldest callbacks that wait: to be recorded in one transaction, and then `done`."""

    arrivals: Sequence[Arrival]
    #: Stretches that hold no record.
    damages: Sequence[Damage]
    #: How many records these are, callbacks or not.
    rows: int
    begin: int
    end: int
    file: SpoolFile


def folder_of(folder: Path, ledger_url: str) -> Path:
    """Each ledger has a folder of its own there: what was meant for one must not be drained into another.

    So its files can be moved into the folder of the ledger that took its place.
    """
    path = sqlite_path(ledger_url)
    if path is not None:
        name, where = path.stem, str(path.resolve())
    else:
        parts = urlsplit(ledger_url)
        # Who logs in, and how, may change; which database it is may not.
        asked = [(key, value) for key, value in parse_qsl(parts.query) if key in ("host", "port", "dbname", "service")]
        several = hosts_of(ledger_url)
        host, port = (several["host"], several["port"]) if several else (parts.hostname, parts.port)
        name, where = parts.path.strip("/"), repr((host, port, parts.path, sorted(asked)))
    plain = "".join(c for c in name if c.isalnum() or c in "-_")[:40]
    return folder / f"{plain}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"


class Spool:
    """`folder`: of this ledger alone; made when first needed. `clock`: ms since the epoch, for names only."""

    def __init__(self, folder: Path, max_bytes: int, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        #: All that we hold locked, the oldest first.
        self._files: list[SpoolFile] = []
        self._refused: SpoolFile | None = None
        #: Of files that others hold: up to where they were counted.
        self._counted: dict[str, tuple[int, int]] = {}

    def open(self) -> None:
        """Before the first use: what the ledger refused to processes that are gone is tried once more."""
        for path in self._paths(_REFUSED):
            if (file := _adopted(path)) is not None:
                file.kept_as = path.with_suffix(_SPOOL)
                file.remove()
        for other in self._strangers():
            log.warning("spool.stranded", folder=str(other), hint="move its files into the folder of this ledger")
        self._complain_early()

    def _complain_early(self) -> None:
        """The door opens all the same, for the ledger may take it all; but whoever starts it should know."""
        there = next(folder for folder in (self._folder, *self._folder.absolute().parents) if folder.exists())
        if self._max_bytes and not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            error = f"{there} cannot be written by user {os.geteuid()}: while the ledger is away, callbacks will be refused"
            log.error("spool.failed", folder=str(self._folder), error=error)

    def close(self) -> None:
        """What was not drained is left to the next process."""
        with self._lock:
            for file in [*self._files, *([self._refused] if self._refused else [])]:
                file.close()
            self._files, self._refused = [], None

    def append(self, arrivals: Sequence[Arrival]) -> None:
        """They survive a power cut when this returns. Raises SpoolUnavailableError: then none of them does."""
        with self._lock:
            current = next((file for file in self._files if file.takes_more and file.is_ours), None)
            appended = self._append(self._bounded(arrivals), current, _SPOOL)
            if appended is not current:
                self._files.append(appended)

    def prove_writable(self, size: int) -> None:
        """Writes and syncs so many bytes, and takes them away again. Raises SpoolUnavailableError: it would take no callback."""
        with self._lock:
            self._require_room(size)
            try:
                make_folder(self._folder.parent, 0o700)
                make_folder(self._folder, 0o700)
                write_and_remove(self._folder / "writable.probe", size)
            except OSError as error:
                raise SpoolUnavailableError(f"the spool cannot be written: {error.strerror}") from error

    def set_aside(self, arrivals: Sequence[Arrival]) -> None:
        """Keeps what the ledger refuses for what it is, away from the rest. Raises SpoolUnavailableError."""
        with self._lock:
            self._set_aside(self._bounded(arrivals))

    def _set_aside(self, payloads: Sequence[bytes]) -> None:
        current = self._refused if self._refused and self._refused.takes_more and self._refused.is_ours else None
        self._refused = self._append(payloads, current, _REFUSED)
        log.error("spool.set_aside", file=str(self._refused.path), rows=len(payloads))

    def _bounded(self, arrivals: Sequence[Arrival]) -> list[bytes]:
        payloads = [payload(each) for each in arrivals]
        self._require_room(sum(len(each) + RECORD_SIZE for each in payloads))
        return payloads

    def _require_room(self, size: int) -> None:
        if self._size() + size > self._max_bytes:
            raise SpoolUnavailableError(f"the spool has {self._max_bytes} bytes, which is all it may have")

    def _append(self, payloads: Sequence[bytes], current: SpoolFile | None, suffix: str) -> SpoolFile:
        try:
            if current is not None:
                current.append(payloads)
                return current
            return self._begin(payloads, suffix)
        except OSError as error:
            log.error("spool.failed", error=str(error))
            raise SpoolUnavailableError(f"the spool cannot be written: {error.strerror}") from error

    def _begin(self, payloads: Sequence[bytes], suffix: str) -> SpoolFile:
        file = self._create(suffix)
        try:
            file.append(payloads)
            sync_folder(self._folder)
        except OSError:
            file.remove()
            raise
        return file

    def _create(self, suffix: str) -> SpoolFile:
        make_folder(self._folder.parent, 0o700)
        make_folder(self._folder, 0o700)
        while True:
            name = f"{self._clock():015d}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
            with suppress(FileExistsError):
                return SpoolFile.create(self._folder / name)

    def adopt(self) -> None:
        """Takes over the files of processes that are gone."""
        held = {file.path for file in tuple(self._files)}
        for path in self._paths(_SPOOL):
            if path in held or (file := _adopted(path)) is None:  # it may be long in reading: nobody must wait for that
                continue
            if file.is_drained:
                file.remove()
                continue
            log.info("spool.adopted", file=str(path), rows=file.rows)
            with self._lock:
                self._files = sorted([*self._files, file], key=lambda file: file.path.name)

    def next_lot(self) -> Lot | None:
        """The oldest callbacks that wait here; None if there are none. Raises OSError."""
        file = next((file for file in tuple(self._files) if not file.is_drained), None)
        return None if file is None else _lot(file)

    def done(self, lot: Lot, refused: Sequence[Arrival] = ()) -> None:
        """The ledger has committed it, but for what it refuses. A file of which nothing is left is removed."""
        with self._lock:
            file = lot.file
            if file.at != lot.begin or file not in self._files:
                return  # another thread, which was given up, has done it meanwhile
            for damage in lot.damages:
                _keep_torn(file, damage)
            if refused:
                try:
                    self._set_aside([payload(each) for each in refused])
                except SpoolUnavailableError:
                    file.kept_as = file.path.with_suffix(_REFUSED)  # all of it: that takes no room
            file.drained_to(lot.end, lot.rows)
            if file.is_drained:
                self._files.remove(file)
                file.remove()

    @property
    def has_rows(self) -> bool:
        """Whether we hold something to be drained."""
        return any(not file.is_drained for file in tuple(self._files))

    def rows(self) -> int:
        """Callbacks that wait in the folder, whoever holds them. Waits for no disk that syncs."""
        ours = {file.path: file.rows for file in tuple(self._files)}
        theirs = (self._rows_of_others(path) for path in self._paths(_SPOOL) if path not in ours)
        return sum(ours.values()) + sum(theirs)

    def _rows_of_others(self, path: Path) -> int:
        try:
            size = path.stat().st_size
            at, rows = self._counted.get(path.name, (0, 0))
            if size > at:
                self._counted[path.name] = at, rows = count_more(path, at, rows)
        except (OSError, NotASpoolError):
            return 0  # it was drained meanwhile, or will be moved out of the way
        return rows

    def set_aside_files(self) -> int:
        """Files that wait for a person."""
        return len(self._paths(_REFUSED)) + len(self._paths(_TORN))

    def _size(self) -> int:
        with suppress(OSError):
            return sum(_size_of(path) for path in self._folder.iterdir())
        return 0

    def _paths(self, suffix: str) -> list[Path]:
        with suppress(OSError):
            return sorted(path for path in self._folder.iterdir() if path.suffix == suffix)
        return []

    def _strangers(self) -> Iterator[Path]:
        with suppress(OSError):
            for folder in self._folder.parent.iterdir():
                if folder != self._folder and folder.is_dir() and any(folder.glob(f"*{_SPOOL}")):
                    yield folder


def _lot(file: SpoolFile) -> Lot:
    arrivals: list[Arrival] = []
    damages: list[Damage] = []
    begin = end = file.at
    rows = 0
    for found in file.walk():
        begin_of_found, end = end, found.end
        if isinstance(found, Record):
            rows += 1
            try:
                arrivals.append(arrival(found.payload))
            except UnreadablePayloadError:
                damages.append(Damage(begin_of_found, end))
        else:
            damages.append(found)
        if rows >= _LOT_ROWS or end - begin >= _LOT_BYTES:
            break
    return Lot(arrivals=arrivals, damages=damages, rows=rows, begin=begin, end=end, file=file)


def _keep_torn(file: SpoolFile, damage: Damage) -> None:
    """Copies the stretch into a file of its own; where there is no room for that, the whole file will be kept."""
    kept = file.path.with_name(f"{file.path.stem}-{damage.at}{_TORN}")
    try:
        fd = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as torn:
            torn.write(file.read(damage.at, damage.end - damage.at))
            torn.flush()
            os.fsync(fd)
    except OSError:
        kept = file.path.with_suffix(_TORN)
        file.kept_as = file.kept_as or kept
    log.warning("spool.torn", file=str(file.path), at=damage.at, bytes=damage.end - damage.at, kept=str(kept))


def _adopted(path: Path) -> SpoolFile | None:
    try:
        return SpoolFile.adopt(path)
    except NotASpoolError:
        log.warning("spool.torn", file=str(path), at=0, bytes=_size_of(path), kept=str(path.with_suffix(_TORN)))
        with suppress(OSError):
            path.rename(path.with_suffix(_TORN))
    except OSError as error:
        log.error("spool.failed", file=str(path), error=str(error))
    return None


def _size_of(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
