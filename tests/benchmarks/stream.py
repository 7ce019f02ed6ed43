"""The stream that the benchmarks send: signed recording callbacks, endless, the same for the same seed and start.

So many recordings are under way at a time; each tells that it started, that it left the room, that its upload is over and where its
file is, in this order and with those of the others between. No two callbacks are the same, so each can be found again by its body.
"""

import base64
import heapq
import hmac
import json
import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.sample_apps import TENCENT_KEY

#: A recording's callbacks, in the order in which they are sent.
STEPS = (301, 302, 305, 310)
UNDER_WAY = 2_000
_GROUP = 3
_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ID_LENGTH = 72


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """`sign`: its signature, as the header has it."""

    task_id: str
    event_type: int
    body: bytes
    sign: str


def callbacks(seed: int, start_ms: int, *, under_way: int = UNDER_WAY, steps: Sequence[int] = STEPS) -> Iterator[Callback]:
    """Endless. The first one happened at `start_ms`, each further one a millisecond later. steps: what each task tells."""
    rng = random.Random(seed)
    #: (when its next callback is due, on a clock of its own; number; task id; steps done)
    tasks = [(rng.expovariate(1), number, _new_id(rng), 0) for number in range(under_way)]
    heapq.heapify(tasks)
    number, at = under_way, start_ms
    while True:
        due, each, task_id, done = tasks[0]
        yield _callback(each, task_id, steps[done], at)
        at += 1
        if done + 1 < len(steps):
            heapq.heapreplace(tasks, (due + rng.expovariate(1), each, task_id, done + 1))
        else:
            heapq.heapreplace(tasks, (due + rng.expovariate(1), number, _new_id(rng), 0))
            number += 1


def _new_id(rng: random.Random) -> str:
    return "".join(rng.choices(_ID_LETTERS, k=_ID_LENGTH))


def _callback(number: int, task_id: str, event_type: int, at: int) -> Callback:
    said = {
        "RoomId": f"lesson-{number % 9_973:04}",
        "EventTs": at // 1_000,
        "EventMsTs": at,
        "UserId": f"recorder-{number}",
        "TaskId": task_id,
        "Payload": _payload(number, event_type, at),
    }
    whole = {"EventGroupId": _GROUP, "EventType": event_type, "CallbackTs": at + 20, "EventInfo": said}
    body = json.dumps(whole, separators=(",", ":")).encode()
    sign = base64.b64encode(hmac.digest(TENCENT_KEY.encode(), body, "sha256")).decode()
    return Callback(task_id=task_id, event_type=event_type, body=body, sign=sign)


def _payload(number: int, event_type: int, at: int) -> Mapping[str, Any]:
    if event_type == 302:
        return {"LeaveCode": 0}
    if event_type != 310:
        return {"Status": 0}
    name = f"{number % 1_000}.mp4"
    times = {"StartTimeStamp": at - 90_000, "EndTimeStamp": at}
    file = {"FileName": name, "TrackType": "audio_video", "MediaId": "main", **times}
    return {"Status": 0, "FileList": [name], "FileMessage": [file]}


class Stream:
    """A file that holds a stretch of the stream, a callback a line: signature, tab, body.

    Each ledger is sent the same file; how far it has come in it, it knows itself.
    """

    def __init__(self, path: Path, *, seed: int, start_ms: int, length: int, steps: Sequence[int] = STEPS) -> None:
        self.path = path
        #: Of each line, where it begins; and at last the end of the file.
        self._begins = array("Q", [0])
        with path.open("wb") as file:
            made = callbacks(seed, start_ms, steps=steps)
            for _ in range(length):
                callback = next(made)
                self._begins.append(self._begins[-1] + file.write(b"%b\t%b\n" % (callback.sign.encode(), callback.body)))

    def __len__(self) -> int:
        return len(self._begins) - 1

    def offset(self, line: int) -> int:
        """Where a line begins, in bytes."""
        return self._begins[line]

    def bodies(self, first: int, count: int) -> Iterator[bytes]:
        """Those of so many lines."""
        with self.path.open("rb") as file:
            file.seek(self.offset(first))
            for _ in range(count):
                yield file.readline().rstrip(b"\n").partition(b"\t")[2]


def told_by(body: bytes) -> tuple[str, int]:
    """(task id, event type) of a callback of the stream."""
    whole = json.loads(body)
    return whole["EventInfo"]["TaskId"], whole["EventType"]
