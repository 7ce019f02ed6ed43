"""Attacks on a port, each in a process of its own and bounded: `python -m tests.support.attackers NAME PORT [TOKEN]`.

It writes a line once the attack is under way, and goes on until it is killed. Only the standard library is used: it starts at once.
"""

import asyncio
import base64
import itertools
import os
import resource
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

HOST = "127.0.0.1"
#: Who was cut comes again after so long, s: an attacker has two processor cores to share with whom it attacks.
_PAUSE_S = 1.0
_TENCENT = b"POST /callbacks/tencent HTTP/1.1\r\nHost: attacked\r\n"
#: What a viewer may ask that is dear: long pages, filters, full texts.
QUERIES = (
    "/v1/callbacks?limit=200",
    "/v1/tasks?limit=200",
    "/v1/tasks?limit=200&state=running",
    "/v1/tasks?q=room-1&limit=200",
    "/v1/events?after=0&limit=500",
    "/v1/callbacks?verdict=unknown&limit=200",
    "/v1/stats",
)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
#: One connection's part in an attack. port; number: of the connection.
Client = Callable[[int, int], Awaitable[None]]


async def _open(port: int) -> Streams:
    return await asyncio.open_connection(HOST, port)


async def _wait_for_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(65_536):
        pass


async def be_idle(port: int, _number: int) -> None:
    """Opens a connection and says nothing."""
    reader, _ = await _open(port)
    await _wait_for_end(reader)


async def drip_head(port: int, _number: int) -> None:
    """Sends a head, one byte a second."""
    _, writer = await _open(port)
    for byte in itertools.chain(_TENCENT, itertools.cycle(b"a: b\r\n")):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def send_half_a_body(port: int, _number: int) -> None:
    """Sends half of a body of 1 MiB, and one byte a second from then on."""
    _, writer = await _open(port)
    writer.write(_TENCENT + b"SdkAppId: 1400000001\r\nSign: x\r\nContent-Length: 1048576\r\n\r\n" + bytes(524_288))
    while True:
        await writer.drain()
        await asyncio.sleep(1)
        writer.write(b"x")


async def send_endless_fields(port: int, number: int) -> None:
    """Sends a head of empty fields without end, or of one field without end."""
    _, writer = await _open(port)
    writer.write(_TENCENT + (b"a: " if number % 2 else b""))
    piece = b"x" * 1024 if number % 2 else b"a:\r\n" * 256
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.001)


async def forge(port: int, number: int) -> None:
    """Sends callbacks with wrong signatures, the next one as soon as one is answered; every other client connects anew for each."""
    body = b'{"EventGroupId":3,"EventType":301,"CallbackTs":1768960000000,"EventInfo":{"TaskId":"forged"}}'
    sign = base64.b64encode(bytes(32))
    request = _TENCENT + b"SdkAppId: 1400000001\r\nSign: %b\r\nContent-Length: %d\r\n\r\n%b" % (sign, len(body), body)
    while True:
        reader, writer = await _open(port)
        for _ in range(1 if number % 2 else 1_000):
            writer.write(request)
            await _read_answer(reader)
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)


def _question(query: str) -> bytes:
    return f"GET {query} HTTP/1.1\r\nHost: attacked\r\nAuthorization: Bearer {sys.argv[3]}\r\n\r\n".encode()


async def ask_dearly(port: int, number: int) -> None:
    """Asks dear questions with the token of a viewer, the next one as soon as one is answered."""
    reader, writer = await _open(port)
    for query in itertools.islice(itertools.cycle(QUERIES), number, None):
        writer.write(_question(query))
        await _read_answer(reader)


async def take_no_answer(port: int, number: int) -> None:
    """Asks for the longest pages and for the stream of events, a few times each, and takes nothing of the answers."""
    _, writer = await _open(port)
    query = "/v1/events/stream?after=0" if number % 8 == 0 else "/v1/events?after=0&limit=500"
    writer.write(_question(query) * 8)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await writer.wait_closed()


async def connect_and_go(port: int, _number: int) -> None:
    """Opens connections as fast as they are accepted, says nothing and leaves them."""
    while True:
        _, writer = await _open(port)
        writer.close()


async def hear_hostilely(_port: int, _number: int) -> None:
    """A subscriber whose answers never end: in trailers, drop by drop, or because they never begin. Writes its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            mood = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
            if mood == b"/trailers":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
                while True:
                    writer.write(b"a: b\r\n" * 100)
                    await writer.drain()
                    await asyncio.sleep(0.001)
            writer.write(b"" if mood == b"/hang" else b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                writer.write(b"" if mood == b"/hang" else b"x")
                await writer.drain()
                await asyncio.sleep(0.5)

    server = await asyncio.start_server(answer, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


#: By name: what each client does, and how many there are.
ATTACKS: dict[str, tuple[Client, int]] = {
    "idle": (be_idle, 2_000),
    "slow-heads": (drip_head, 400),
    "slow-bodies": (send_half_a_body, 300),
    "endless-heads": (send_endless_fields, 8),
    "forged": (forge, 16),
    "dear-queries": (ask_dearly, 60),
    "answers-not-taken": (take_no_answer, 240),
    "connects": (connect_and_go, 64),
    "hostile-subscriber": (hear_hostilely, 1),
}


async def _attack(name: str, port: int) -> None:
    client, number = ATTACKS[name]
    came = asyncio.Semaphore(0)

    async def go_on(each: int) -> None:
        while True:
            came.release()
            with suppress(OSError, asyncio.IncompleteReadError):
                await client(port, each)
            await asyncio.sleep(_PAUSE_S)

    async with asyncio.TaskGroup() as group:
        for each in range(number):
            group.create_task(go_on(each))
        for _ in range(number):
            await came.acquire()
        if client is not hear_hostilely:
            print("under way", flush=True)


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(5)  # what it spends is not to be taken from whom it attacks
    asyncio.run(_attack(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
