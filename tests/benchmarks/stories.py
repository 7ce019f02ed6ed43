"""What vendors tell of tasks of each kind: signed callbacks, from the first to the last of a task, or not to the last.

A story is of any length: what may be told over and over is told until it is long enough.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.clock import to_rfc3339
from tests.support.sample_apps import tencent, volcengine

#: (vendor, body, headers)
Heard = tuple[str, bytes, dict[str, str]]
MINUTE = 60_000


class Teller:
    """A task's own names, and its callbacks at moments a minute apart. began: ms."""

    def __init__(self, name: str, room: str, began: int) -> None:
        self._name = name
        self._room = room
        self._began = began
        self._told = 0

    def _now(self) -> int:
        self._told += 1
        return self._began + self._told * MINUTE

    def minted(self, group: int, event: int, payload: Mapping[str, Any] | None = None, **more: Any) -> Heard:
        """Of Tencent, which makes the task's id."""
        at = self._now()
        info = {"RoomId": self._room, "EventTs": at // 1_000, "EventMsTs": at, "UserId": f"robot-{self._name}"}
        info |= {"TaskId": f"{self._name}-minted-by-the-vendor-for-this-run-of-it", **more}
        if payload is not None:
            info["Payload"] = payload
        return tencent({"EventGroupId": group, "EventType": event, "CallbackTs": at + 40, "EventInfo": info})

    def named(self, event_type: str, **data: Any) -> Heard:
        """Of Volcengine, where the caller names the task."""
        at = self._now()
        told = {"RoomId": self._room, "TaskId": self._name, "Timestamp": at, **data}
        return volcengine(event_type, told, to_rfc3339(at), f"{event_type}-{self._name}-{self._told}")

    def url(self) -> str:
        return f"rtmp://push.example.com/live/{self._name}"


#: Tells a task that has ended in so many callbacks, or one that lives on.
Story = Callable[[Teller, random.Random, int, bool], list[Heard]]


def recording(tell: Teller, rng: random.Random, length: int, ended: bool) -> list[Heard]:
    whole = [tell.minted(3, 301, {"Status": 0})]
    last = 2 if ended else 0
    whole += [tell.minted(3, 305, {"Status": 0}) for _ in range(length - 1 - last)]
    if ended:
        whole.append(tell.minted(3, 302, {"LeaveCode": rng.choices((0, 1, 2, 99, 100), (12, 2, 3, 2, 1))[0]}))
        whole.append(tell.minted(3, 310, {"Status": 0, "FileList": ["main.mp4"], "FileMessage": [_file("main.mp4")]}))
    return whole


def _file(name: str) -> Mapping[str, Any]:
    return {"FileName": name, "UserId": "u", "TrackType": "audio_video", "MediaId": "main", "StartTimeStamp": 0}


def relay(tell: Teller, rng: random.Random, length: int, ended: bool) -> list[Heard]:
    def says(status: int) -> Heard:
        return tell.minted(4, 401, {"Url": tell.url(), "Status": status})

    flaps = [says(3 if step % 2 else 2) for step in range(length - 2)]
    return [says(1), *flaps, says(0 if ended else 2)]


def ingest(tell: Teller, rng: random.Random, length: int, ended: bool) -> list[Heard]:
    says = [tell.minted(7, 701, Status=1 if step % 2 else 0) for step in range(length - 1)]
    return [*says, tell.minted(7, 702 if ended else 701, Status=0)]


def page(tell: Teller, rng: random.Random, length: int, ended: bool) -> list[Heard]:
    last = 2 if ended else 1
    whole = [tell.minted(8, 801, {"Status": 3 if step % 2 else 1, "EventMessage": ""}) for step in range(length - last)]
    if ended:
        whole.append(tell.minted(8, 802, {"Status": 1, "EventMessage": "Success"}))
        whole.append(tell.minted(3, 310, {"Status": 0, "FileList": ["page.mp4"], "FileMessage": [_file("page.mp4")]}))
    else:
        whole.append(tell.minted(8, 803, {"Status": 3, "EventMessage": ""}))
    return whole


def push(tell: Teller, rng: random.Random, length: int, ended: bool) -> list[Heard]:
    def says(state: int) -> Heard:
        return tell.named("TranscodeStateChanged", TaskState=state, Code=4 if state == 2 else 0, PushURL=tell.url())

    flaps = [says(2 if step % 2 else 3) for step in range(length - 2)]
    begun = tell.named("TranscodeStarted", PushURL=tell.url(), Code=0)
    end = tell.named("TranscodeStopped", PushURL=tell.url(), Code=0, Reason="userStop")
    return [begun, *flaps, end if ended else says(3)]


def capture(tell: Teller, rng: random.Random, length: int, ended: bool) -> list[Heard]:
    whole = [tell.named("RecordStarted", Code=0, ErrorMessage="")]
    last = 2 if ended else 0
    whole += [tell.named("RecordVideoStreamStateChanged", UserId="u", State=1) for _ in range(length - 1 - last)]
    if ended:
        whole.append(tell.named("RecordStopped", Code=0, ErrorMessage="", Reason=rng.choice(("userStop", "idleTimeout"))))
        whole.append(tell.named("RecordUploadDone", Code=0, ErrorMessage="", RecordFileList=[]))
    return whole


#: Which stories there are, and how often each is told.
STORIES: Sequence[tuple[Story, int]] = ((recording, 40), (relay, 20), (ingest, 5), (page, 5), (push, 20), (capture, 10))
