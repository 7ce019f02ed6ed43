"""A subscriber as quick as Python makes one, in a process of its own: takes every event, and says what it got when it is asked.

    python -m tests.benchmarks.subscriber

Prints its port. POST: an event. GET: `{"events", "again", "too_early", "unsigned"}`, where `again` counts those that came more than
once, and `too_early` those that came before another one of their task with a lesser sequence.
"""

import asyncio
import json
from typing import Any

import uvloop


class Register:
    """What came so far."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self.ids: set[str] = set()
        self.counts = {"events": 0, "again": 0, "too_early": 0, "unsigned": 0}

    def take(self, head: bytes, body: bytes) -> None:
        event = json.loads(body)
        self.counts["events"] += event["id"] not in self.ids
        self.counts["again"] += event["id"] in self.ids
        self.ids.add(event["id"])
        self.counts["too_early"] += event["sequence"] < self.newest.get(event["subject"], 0)
        self.newest[event["subject"]] = event["sequence"]
        self.counts["unsigned"] += b"webhook-signature: v1," not in head


class Connection(asyncio.Protocol):
    def __init__(self, register: Register) -> None:
        self._register = register
        self._got = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._got = b""
        answer = b"{}"
        if head.startswith(b"GET"):
            answer = json.dumps(self._register.counts).encode()
        else:
            self._register.take(head.lower(), body)
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))


def _length(head: bytes) -> int:
    place = head.lower().find(b"content-length:")
    return int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0


async def main() -> None:
    register = Register()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(register), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
