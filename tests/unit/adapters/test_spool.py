"""Callbacks appended to the spool are drained in order, whatever happens to the process or the disk in between."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.ledger.inbox import Arrival
from adapters.spool import Spool, SpoolUnavailableError, ledger_folder
from adapters.spool.payloads import UnreadablePayloadError, decode_arrival, encode_arrival
from adapters.spool.records import HEADER_SIZE, RECORD_SIZE

ROOT = Path(__file__).parents[3]
PLENTY = 64 * 1024 * 1024


def callback(number: int, body: bytes = b"{}") -> Arrival:
    return Arrival(
        vendor="acme",
        app_id="app",
        event_type="started",
        dedupe_key=f"{number:064x}",
        vendor_task_id=f"task-{number}",
        received_at=1_768_960_000_000 + number,
        headers={"sign": "s", "odd": "\ud800\x85\n"},
        body=body,
    )


def callbacks(first: int, count: int) -> list[Arrival]:
    return [callback(number) for number in range(first, first + count)]


def spool(folder: Path, max_bytes: int = PLENTY, ticks: Iterator[int] | None = None) -> Spool:
    times = ticks or count(1_768_960_000_000)
    return Spool(folder, max_bytes, lambda: next(times))


def drain(spool: Spool) -> list[Arrival]:
    """Drains all waiting callbacks, as the recorder does."""
    spool.adopt()
    drained: list[Arrival] = []
    while (batch := spool.next_batch()) is not None:
        drained += batch.arrivals
        spool.complete_batch(batch)
    return drained


def files(folder: Path, suffix: str = ".spool") -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def the_file(folder: Path) -> Path:
    (path,) = files(folder)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "tally-0"


def left_behind(folder: Path, arrivals: list[Arrival]) -> Path:
    """Returns the file of a dead process with these callbacks."""
    gone = spool(folder)
    gone.append(arrivals)
    gone.close()
    return files(folder)[-1]


def test_a_callback_is_decoded_as_it_was_encoded():
    there = callback(1, b"\x00\n{\xff")
    assert decode_arrival(encode_arrival(there)) == there


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"{}\n", b'{"vendor": "acme"}\n{}', b"\xff\n", b"null\n"])
def test_a_payload_that_is_no_callback_raises_one_error(line: bytes):
    with pytest.raises(UnreadablePayloadError):
        decode_arrival(line)


def test_a_field_that_another_version_wrote_is_left_out():
    assert decode_arrival(encode_arrival(callback(1)).replace(b'{"vendor"', b'{"colour": "red", "vendor"', 1)) == callback(1)


def test_appended_callbacks_are_drained_in_order_and_the_file_removed(folder: Path):
    ours = spool(folder)
    ours.append(callbacks(0, 700))
    ours.append(callbacks(700, 700))
    assert (ours.rows(), ours.has_rows, len(files(folder))) == (1400, True, 1)
    assert drain(ours) == callbacks(0, 1400)
    assert (ours.rows(), ours.has_rows, list(folder.iterdir())) == (0, False, [])
    ours.append(callbacks(0, 1))
    assert drain(ours) == callbacks(0, 1)


def test_nothing_is_created_before_it_is_needed(folder: Path):
    ours = spool(folder)
    ours.open()
    assert drain(ours) == []
    assert not folder.parent.exists()
    ours.close()


def test_only_the_owner_may_read_it(folder: Path):
    spool(folder).append(callbacks(0, 1))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, the_file(folder))]
    assert modes == [0o700, 0o700, 0o600]


def test_callbacks_appended_while_draining_come_next(folder: Path):
    ours = spool(folder)
    ours.append(callbacks(0, 10))
    batch = ours.next_batch()
    assert batch is not None
    ours.append(callbacks(10, 10))
    ours.complete_batch(batch)
    assert ours.rows() == 10
    assert drain(ours) == callbacks(10, 10)


def test_a_batch_that_is_not_completed_is_read_again(folder: Path):
    ours = spool(folder)
    ours.append(callbacks(0, 3))
    assert ours.next_batch() == ours.next_batch()
    ours.close()
    assert drain(spool(folder)) == callbacks(0, 3)


def test_a_batch_that_two_threads_drained_is_completed_once(folder: Path):
    ours = spool(folder)
    ours.append(callbacks(0, 600))
    first, again = ours.next_batch(), ours.next_batch()
    assert first is not None
    assert again is not None
    ours.complete_batch(first)
    ours.complete_batch(again)
    assert ours.rows() == 100
    assert drain(ours) == callbacks(500, 100)


def test_files_of_dead_processes_are_drained_oldest_first_whatever_the_clock_did(folder: Path):
    for at, first in ((3000, 20), (1000, 0), (2000, 10)):
        gone = spool(folder, ticks=count(at))
        gone.append(callbacks(first, 10))
        gone.close()
    ours = spool(folder, ticks=count(500))
    ours.append(callbacks(30, 10))
    assert sorted(drain(ours), key=lambda arrival: arrival.dedupe_key) == callbacks(0, 40)
    assert list(folder.iterdir()) == []


def test_of_two_processes_on_one_folder_neither_adopts_the_others_file(folder: Path):
    ours, theirs = spool(folder), spool(folder)
    ours.append(callbacks(0, 5))
    theirs.append(callbacks(5, 7))
    assert drain(ours) == callbacks(0, 5)
    assert (ours.rows(), theirs.rows()) == (7, 7)
    theirs.append(callbacks(12, 1))
    assert ours.rows() == 8
    theirs.close()
    assert drain(ours) == callbacks(5, 8)
    assert ours.rows() == 0


def test_an_empty_file_of_a_dead_process_is_removed(folder: Path):
    folder.mkdir(parents=True)
    (folder / "1.spool").touch()
    assert drain(spool(folder)) == []
    assert list(folder.iterdir()) == []


def test_a_torn_tail_at_any_byte_loses_nothing_before_it(tmp_path: Path):
    whole = left_behind(tmp_path / "whole", callbacks(0, 3)).read_bytes()
    ends = [HEADER_SIZE]
    for arrival in callbacks(0, 3):
        ends.append(ends[-1] + RECORD_SIZE + len(encode_arrival(arrival)))
    assert ends[-1] == len(whole)
    for cut in range(len(whole)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "1.spool").write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends[1:])
        tail = cut - max((end for end in ends if end <= cut), default=cut)
        with capture_logs() as logs:
            assert drain(spool(folder)) == callbacks(0, kept)
        torn = files(folder, ".torn")
        assert files(folder) == []
        assert [path.stat().st_size for path in torn] == ([tail] if tail else [])
        assert [(entry["at"], entry["bytes"]) for entry in logs if entry["event"] == "spool.torn"] == (
            [(cut - tail, tail)] if tail else []
        )


def test_a_damaged_byte_anywhere_costs_one_record_at_the_most(tmp_path: Path):
    whole = left_behind(tmp_path / "whole", callbacks(0, 3)).read_bytes()
    for at in range(HEADER_SIZE, len(whole)):
        folder = tmp_path / str(at)
        folder.mkdir()
        (folder / "1.spool").write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        record = len(whole[HEADER_SIZE:]) // 3
        lost = (at - HEADER_SIZE) // record
        assert drain(spool(folder)) == [arrival for number, arrival in enumerate(callbacks(0, 3)) if number != lost]
        (torn,) = files(folder, ".torn")
        assert torn.read_bytes()[(at - HEADER_SIZE) % record] == whole[at] ^ 0x41


def test_zeros_after_the_last_record_are_no_records(folder: Path):
    path = left_behind(folder, callbacks(0, 2))
    with path.open("ab") as file:
        file.write(bytes(3 * 1024 * 1024))
    assert drain(spool(folder)) == callbacks(0, 2)
    assert [path.stat().st_size for path in files(folder, ".torn")] == [3 * 1024 * 1024]


def test_a_callback_that_looks_like_a_spool_file_is_a_callback(folder: Path):
    other = left_behind(folder.parent / "other", callbacks(0, 2)).read_bytes()
    path = left_behind(folder, [callback(1, other), callback(2)])
    path.write_bytes(path.read_bytes().replace(b"task-1", b"task-X", 1))
    assert drain(spool(folder)) == [callback(2)]


def test_a_file_that_is_no_spool_file_is_set_aside(folder: Path):
    folder.mkdir(parents=True)
    (folder / "1.spool").write_bytes(b"what is this? " * 10)
    with capture_logs() as logs:
        assert drain(spool(folder)) == []
    assert [entry["event"] for entry in logs] == ["spool.torn"]
    assert (folder / "1.torn").read_bytes() == b"what is this? " * 10


def test_a_complete_record_that_is_no_callback_is_set_aside(folder: Path):
    ours = spool(folder)
    ours.append(callbacks(0, 1))
    batch = ours.next_batch()
    assert batch is not None
    batch.file.append([b"not a callback"])
    ours.append(callbacks(1, 1))
    assert drain(ours) == callbacks(0, 2)
    assert [path.read_bytes()[RECORD_SIZE:] for path in files(folder, ".torn")] == [b"not a callback"]


def test_above_its_limit_it_stores_nothing_until_it_is_drained(folder: Path):
    ours = spool(folder, max_bytes=3_000)
    ours.append([callback(0, b"x" * 2_000)])
    with pytest.raises(SpoolUnavailableError, match="3000 bytes"):
        ours.append([callback(1, b"x" * 2_000)])
    assert drain(ours) == [callback(0, b"x" * 2_000)]
    ours.append([callback(1, b"x" * 2_000)])


def test_the_limit_includes_files_of_other_processes(folder: Path):
    left_behind(folder, [callback(0, b"x" * 2_000)])
    with pytest.raises(SpoolUnavailableError):
        spool(folder, max_bytes=3_000).append([callback(1, b"x" * 2_000)])


def test_on_a_full_disk_a_partial_append_is_removed(folder: Path, small_files: None):
    ours = spool(folder)
    ours.append([callback(0, b"a" * 20_000)])
    with capture_logs() as logs, pytest.raises(SpoolUnavailableError, match="cannot be written"):
        ours.append([callback(1, b"b" * 20_000), callback(2, b"c" * 40_000)])
    assert [entry["event"] for entry in logs] == ["spool.failed"]
    ours.append([callback(3, b"d" * 20_000)])
    assert ours.rows() == 2
    ours.close()
    assert drain(spool(folder)) == [callback(0, b"a" * 20_000), callback(3, b"d" * 20_000)]
    assert list(folder.iterdir()) == []


def test_on_a_full_disk_a_first_append_leaves_no_file(folder: Path, small_files: None):
    ours = spool(folder)
    with pytest.raises(SpoolUnavailableError):
        ours.append([callback(0, b"a" * 90_000)])
    assert (list(folder.iterdir()), ours.rows()) == ([], 0)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Limits files of this process to 64 KiB: the kernel writes up to the limit, then fails, as on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_callbacks_the_ledger_refuses_are_set_aside_and_retried_by_the_next_process(folder: Path):
    ours = spool(folder)
    with capture_logs() as logs:
        ours.set_aside(callbacks(0, 2))
    assert [(entry["event"], entry["rows"]) for entry in logs] == [("spool.set_aside", 2)]
    ours.set_aside(callbacks(2, 1))
    assert (drain(ours), ours.rows(), ours.set_aside_files()) == ([], 0, 1)
    beside = spool(folder)
    beside.open()
    assert (drain(beside), beside.set_aside_files()) == ([], 1)
    ours.close()
    after = spool(folder)
    after.open()
    assert drain(after) == callbacks(0, 3)
    assert list(folder.iterdir()) == []


def test_refused_callbacks_do_not_block_the_rest_while_the_spool_is_full(folder: Path):
    ours = spool(folder, max_bytes=1_500)
    ours.append([callback(0), callback(1, b"x" * 500)])
    batch = ours.next_batch()
    assert batch is not None
    ours.complete_batch(batch, batch.arrivals[:1])
    assert (ours.rows(), ours.set_aside_files()) == (0, 1)
    ours.close()
    after = spool(folder)
    after.open()
    assert drain(after) == callbacks(0, 1)


def test_if_refused_callbacks_cannot_be_written_their_whole_file_is_kept(folder: Path):
    ours = spool(folder)
    ours.append([callback(0, b"x" * 1_000), callback(1)])
    batch = ours.next_batch()
    assert batch is not None
    import resource

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    ours.complete_batch(batch, batch.arrivals[:1])
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)
    assert (ours.rows(), ours.set_aside_files()) == (0, 1)
    after = spool(folder)
    after.open()
    assert drain(after) == [callback(0, b"x" * 1_000), callback(1)]


def test_a_forked_child_does_not_write_into_our_file(folder: Path):
    ours = spool(folder)
    ours.append(callbacks(0, 1))
    child = os.fork()
    if child == 0:
        ours.append(callbacks(1, 1))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    ours.append(callbacks(2, 1))
    assert ours.rows() == 3
    assert sorted(drain(ours), key=lambda arrival: arrival.dedupe_key) == callbacks(0, 3)


def test_each_ledger_has_a_folder_of_its_own(tmp_path: Path):
    urls = [
        f"sqlite:///{tmp_path}/tally.db",
        f"sqlite:///{tmp_path}/demo.db",
        "postgresql://tally:a@db/tally",
        "postgresql://tally:a@db/other",
        "postgresql://tally:a@db:5433/tally",
        "postgresql:///tally?host=/run/postgresql",
    ]
    assert len({ledger_folder(tmp_path, url) for url in urls}) == len(urls)
    assert ledger_folder(tmp_path, "postgresql://other:b@db/tally") == ledger_folder(tmp_path, urls[2])
    assert ledger_folder(tmp_path, urls[2]).name.startswith("tally-")


def test_callbacks_for_another_ledger_are_left_alone_and_reported(folder: Path):
    left_behind(folder.parent / "other-1", callbacks(0, 1))
    ours = spool(folder)
    with capture_logs() as logs:
        ours.open()
    assert [(entry["event"], entry["folder"]) for entry in logs] == [("spool.stranded", str(folder.parent / "other-1"))]
    assert (drain(ours), ours.rows()) == ([], 0)


APPENDS = """
import sys
from pathlib import Path
from tests.unit.adapters.test_spool import callback, spool
ours, number = spool(Path(sys.argv[1])), 0
while True:
    ours.append([callback(n, b"x" * 50_000) for n in range(number, number + 20)])
    number += 20
    print(number, flush=True)
"""


@pytest.mark.parametrize("seen", [1, 2, 5])
def test_a_process_killed_while_appending_loses_no_appended_callback(folder: Path, seen: int):
    process = subprocess.Popen([sys.executable, "-c", APPENDS, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(seen)][-1]
    process.kill()
    acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    process.wait()
    process.stdout.close()
    drained = drain(spool(folder))
    assert len(drained) >= acknowledged
    assert drained == [callback(number, b"x" * 50_000) for number in range(len(drained))]


def test_a_callback_that_an_older_version_spooled_is_read():
    """The older version had no `signature_key`."""
    line, _, body = encode_arrival(callback(1)).partition(b"\n")
    values = json.loads(line)
    del values["signature_key"]

    assert decode_arrival(json.dumps(values).encode() + b"\n" + body) == callback(1)
