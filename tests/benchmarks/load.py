"""The load: wrk, which sends callbacks of the stream and says how they were answered."""

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.stream import Stream
from tests.support.sample_apps import TENCENT_APP

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("load.lua")
#: An answer that did not come this long after the end of the load never will, s.
_PATIENCE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was sent, and how it was answered. elapsed_s: from the first request to the last answer."""

    #: The line of the stream that was sent first, and how many.
    first: int
    sent: int
    answered: int
    #: Answered with 400 or more.
    refused: int
    #: Of connections.
    errors: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float

    @property
    def acked(self) -> int:
        return self.answered - self.refused

    @property
    def rate(self) -> float:
        """Acknowledged callbacks a second."""
        return self.acked / self.elapsed_s


class Sending:
    """A load that is under way. rate: callbacks a second; None: as fast as they are answered."""

    def __init__(
        self,
        url: str,
        stream: Stream,
        first: int,
        *,
        seconds: float,
        close: bool = False,
        rate: float | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        if first >= len(stream):
            raise ValueError(f"the stream has only {len(stream)} callbacks")
        self._first = first
        target = urlsplit(url)
        said = {
            "STREAM": str(stream.path),
            "OFFSET": str(stream.offset(first)),
            "SECONDS": str(seconds),
            "CONNECTIONS": str(connections),
            "CONNECTION": "close" if close else "keep-alive",
            "URLPATH": target.path,
            "APP": TENCENT_APP,
            "RATE": "" if rate is None else str(rate),
        }
        limit = ["-d", f"{int(seconds) + _PATIENCE_S}s", "--timeout", f"{_PATIENCE_S}s"]
        command = [wrk(), "-t1", f"-c{connections}", *limit, "-s", str(_SCRIPT), f"{target.scheme}://{target.netloc}"]
        self._process = subprocess.Popen(command, env=os.environ | said, stdout=subprocess.PIPE, text=True)

    def result(self) -> Load:
        """Waits for the end."""
        with self._process as process:
            assert process.stdout is not None
            line = ""
            for line in process.stdout:
                if line == "rested\n":
                    process.send_signal(signal.SIGINT)
        if process.returncode or not line.startswith("{"):
            raise RuntimeError(f"wrk ended with {process.returncode}: {line}")
        return Load(first=self._first, **json.loads(line))

    def give_up(self) -> None:
        self._process.kill()
        self._process.wait()


def send(url: str, stream: Stream, first: int, *, seconds: float, close: bool = False, rate: float | None = None) -> Load:
    """Sends from a line of the stream on, and waits for the answers. close: a new connection for each callback."""
    return Sending(url, stream, first, seconds=seconds, close=close, rate=rate).result()


def wrk() -> str:
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is not installed; tests/benchmarks/provision.sh installs it")
    return program
