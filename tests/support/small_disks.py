"""Small disks for tests that fill them: each a tmpfs of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server_processes import missing


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator["SmallDisk"]:
    """Mounted at a new folder. Only root may mount; elsewhere the test is skipped, in CI it fails."""
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        missing("a small disk (root and `mount`)")
    made = subprocess.run([str(mount), "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], capture_output=True, check=False)
    if made.returncode != 0:
        missing(f"a small disk ({made.stderr.decode().strip()})")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Nothing is left, to the last page."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (65_536, 4_096):
                while _took(file.fileno(), size):
                    pass

    def free(self) -> None:
        self._ballast.unlink()


def _took(fd: int, size: int) -> bool:
    try:
        return os.write(fd, bytes(size)) == size
    except OSError:
        return False
