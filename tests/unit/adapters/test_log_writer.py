"""Lines are written in order and complete, and the thread that logs never waits or fails."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.clock import monotonic_s
from adapters.log_writer import LineWriter
from tests.support.small_disks import small_disk

#: The test fails if something does not happen within this time, s.
LATE_S = 20


class Pipe:
    """A pipe that holds 4 KiB."""

    def __init__(self) -> None:
        self.reader, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, 4096)
        self.writers: list[LineWriter] = []
        self.is_reader_closed = False

    def writer(self, **bounds: int) -> LineWriter:
        self.writers.append(LineWriter(self.write_end, notice, **bounds))
        return self.writers[-1]

    def close_reader(self) -> None:
        if not self.is_reader_closed:  # once: another thread may have the number by now
            os.close(self.reader)
        self.is_reader_closed = True

    def read_lines(self, until: str) -> list[str]:
        with open(self.reader, encoding="utf-8", closefd=False) as file:
            lines = []
            for line in file:
                lines.append(line.rstrip("\n"))
                if lines[-1].startswith(until):
                    break
        return lines


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close_reader()
    for writer in made.writers:
        writer.close(LATE_S)
    os.close(made.write_end)


def notice(lines: int) -> str:
    return f"dropped {lines}"


def put(writer: LineWriter, *numbers: int) -> None:
    for number in numbers:
        writer.put(f"{number:06} {'x' * 90}")


def test_lines_of_a_pipe_that_nobody_reads_wait_and_the_rest_is_dropped_and_counted(pipe: Pipe):
    writer = pipe.writer(most_lines=500)
    begun = monotonic_s()
    put(writer, *range(5_000))
    assert monotonic_s() - begun < 2
    assert not writer.flush(0.05)
    dropped = writer.dropped
    assert 3_900 < dropped < 4_600

    *lines, last = pipe.read_lines(until="dropped")
    assert last == f"dropped {dropped}"
    assert [len(line) for line in lines] == [97] * (5_000 - dropped)
    numbers = [int(line[:6]) for line in lines]
    assert numbers == sorted(numbers)
    put(writer, 7)
    assert writer.flush(LATE_S)
    assert pipe.read_lines(until="000007")[-1].startswith("000007")


def test_what_waits_is_bounded_by_its_size_too(pipe: Pipe):
    writer = pipe.writer(most_size=100_000)
    for _ in range(50):
        writer.put("y" * 10_000)
    assert writer.dropped >= 50 - 10 - 11


def test_many_threads_lose_and_tear_nothing(tmp_path: Path):
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = LineWriter(fd, notice)
    threads = [threading.Thread(target=lambda n=n: put(writer, *range(n * 1_000, n * 1_000 + 1_000))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.flush(LATE_S)
    os.close(fd)
    numbers = [int(line[:6]) for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(numbers) == list(range(8_000))
    for n in range(8):
        own = [number for number in numbers if number // 1_000 == n]
        assert own == sorted(own)


def test_a_reader_that_is_gone_costs_its_lines_and_nothing_else(pipe: Pipe):
    writer = pipe.writer()
    pipe.close_reader()
    put(writer, *range(100))
    begun = monotonic_s()
    writer.close(0.3)
    assert monotonic_s() - begun < 1


def test_a_flush_waits_for_the_notice_of_what_was_dropped_too(tmp_path: Path):
    may_go_on = threading.Event()

    def slow_notice(lines: int) -> str:
        assert may_go_on.wait(LATE_S)
        return notice(lines)

    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = LineWriter(fd, slow_notice, most_lines=0)
    put(writer, 1)
    assert not writer.flush(0.1)
    may_go_on.set()
    assert writer.flush(LATE_S)
    os.close(fd)
    assert (tmp_path / "log").read_text() == "dropped 1\n"


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: Pipe):
    os.set_blocking(pipe.write_end, False)
    writer = pipe.writer()
    put(writer, *range(200), 999_999)
    assert [int(line[:6]) for line in pipe.read_lines(until="999999")] == [*range(200), 999_999]


def test_once_the_disk_is_freed_the_lines_come_whole(tmp_path: Path):
    with small_disk(tmp_path / "disk", 256) as disk:
        fd = os.open(disk.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        writer = LineWriter(fd, notice)
        put(writer, 0)
        assert writer.flush(LATE_S)
        disk.fill()
        put(writer, *range(1, 400))  # the first of them end in the middle of a page, and so of a line
        assert not writer.flush(0.2)
        disk.free()
        assert writer.flush(LATE_S)
        os.close(fd)
        lines = (disk.folder / "log").read_text().splitlines()
        assert [(int(line[:6]), len(line)) for line in lines] == [(number, 97) for number in range(400)]


def test_a_text_that_is_no_utf_8_is_written_all_the_same(tmp_path: Path):
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    writer = LineWriter(fd, notice)
    writer.put(json.dumps("\ud800") + "\ud800")
    assert writer.flush(LATE_S)
    os.close(fd)
    assert (tmp_path / "log").read_text() == '"\\ud800"\\ud800\n'


def test_a_child_that_was_forked_off_writes_its_own_lines_only(tmp_path: Path):
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = LineWriter(fd, notice)
    put(writer, 1)
    child = os.fork()
    if child == 0:
        put(writer, 2)
        written = writer.flush(LATE_S)
        os._exit(0 if written else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert writer.flush(LATE_S)
    os.close(fd)
    assert sorted(int(line[:6]) for line in (tmp_path / "log").read_text().splitlines()) == [1, 2]
