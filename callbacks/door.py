"""The door: where vendors' callbacks come in. It checks, makes durable, answers; nothing else may fail here.

A plain ASGI callable, with nothing of a framework around it: routing, middleware and response objects would take a third of the
time. The signature is the proof: no token, no content type, no query string matters. What it refuses it says in words, with the
field and what would be right.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from starlette.types import Message, Receive, Scope, Send

from adapters.ledger.inbox import Arrival
from adapters.ledger.rejections import Refused
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.vendors import CallbackRejected, Dialect, Rejection
from adapters.vendors.protocol import SecretsOf
from callbacks.client_connection import connection_of
from callbacks.pending_callbacks import NotRecordedError
from callbacks.recorder import Recorder
from callbacks.rejections import Rejections

#: Bytes of a body that is taken.
MAX_BODY = 1024 * 1024
#: Headers worth keeping are few and short; a flood of them is not evidence.
_MAX_HEADER = 2_048
_MAX_HEADERS = 64

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response, as ASGI's two messages."""

    start: Message
    body: Message

    async def send_to(self, send: Send) -> None:
        await send(self.start)
        await send(self.body)


def answer(status: int, content: object, media_type: bytes, headers: Mapping[bytes, bytes] | None = None) -> Answer:
    body = json.dumps(content, separators=(",", ":")).encode()
    fields = [(b"content-length", str(len(body)).encode()), (b"content-type", media_type), *(headers or {}).items()]
    start = {"type": "http.response.start", "status": status, "headers": fields}
    return Answer(start, {"type": "http.response.body", "body": body})


def problem(status: int, reason: str, detail: str, headers: Mapping[bytes, bytes] | None = None) -> Answer:
    """RFC 9457. Short: a vendor takes at most 2,000 bytes of answer."""
    content = {
        "type": f"urn:tallylight:problem:{reason}",
        "title": reason.replace("_", " "),
        "status": status,
        "detail": detail[:500],
    }
    return answer(status, content, b"application/problem+json", {b"x-content-type-options": b"nosniff", **(headers or {})})


_TAKEN = answer(200, {"code": 0}, b"application/json")
_WRONG_METHOD = problem(405, "method_not_allowed", "callbacks come by POST", {b"allow": b"POST"})
_NOT_TAKEN = problem(503, "unavailable", "it cannot be made durable now; send it again", {b"retry-after": b"5"})
_FAILED = problem(500, "internal", "this is a bug, and it is logged as callback.failed")


class Door:
    """One vendor's door. `clock`: ms since the epoch."""

    def __init__(
        self,
        dialect: Dialect,
        secrets_of: SecretsOf,
        recorder: Recorder,
        refusals: Rejections,
        metrics: Metrics,
        clock: Callable[[], int],
    ) -> None:
        self._dialect = dialect
        self._secrets_of = secrets_of
        self._recorder = recorder
        self._refusals = refusals
        self._clock = clock
        # Finding the child of a metric costs more than counting with it.
        self._ack_seconds = metrics.ack_seconds.labels(dialect.name)
        self._received = metrics.received.labels(dialect.name)
        self._duplicates = metrics.duplicates.labels(dialect.name)
        metrics.unrecorded.labels(dialect.name)  # it stands at 0 before the first one, so that an increase is seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _WRONG_METHOD.send_to(send)
            return
        began = time.perf_counter()
        headers = _headers(scope["headers"])
        body = await _body(receive, headers)
        if body is None:
            return  # the sender hung up before it had said everything
        try:
            given = await self._answer(scope, headers, body)
        except Exception as error:
            self._refusals.count_unrecorded(self._dialect.name, self._clock())
            log.exception("callback.failed", vendor=self._dialect.name, error=str(error))
            given = _FAILED
        self._ack_seconds.observe(time.perf_counter() - began)
        await given.send_to(send)

    async def _answer(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> Answer:
        received_at = self._clock()
        try:
            if len(body) > MAX_BODY:
                raise CallbackRejected(Rejection.TOO_LARGE, f"the body has more than {MAX_BODY} bytes")
            envelope = self._dialect.verify(headers, body, self._secrets_of)
        except CallbackRejected as refusal:
            return self._refuse(refusal, scope, body, received_at)
        if (connection := connection_of(scope)) is not None:
            connection.prove()
        arrival = Arrival(
            vendor=self._dialect.name,
            app_id=envelope.app_id,
            event_type=envelope.event_type,
            dedupe_key=envelope.dedupe_key,
            signature_key=envelope.signature_key,
            vendor_task_id=envelope.vendor_task_id,
            received_at=received_at,
            headers=headers,
            body=body,
        )
        return await self._record(arrival)

    async def _record(self, arrival: Arrival) -> Answer:
        try:
            new = await self._recorder.record(arrival)
        except NotRecordedError as error:
            self._refusals.report_unrecorded(arrival.vendor, arrival.app_id, str(error), arrival.received_at)
            return _NOT_TAKEN
        self._received.inc()
        if not new:
            self._duplicates.inc()
        if _debugs():
            log.debug("callback.recorded", vendor=arrival.vendor, app_id=arrival.app_id, event_type=arrival.event_type, new=new)
        return _TAKEN

    def _refuse(self, refusal: CallbackRejected, scope: Scope, body: bytes, received_at: int) -> Answer:
        self._refusals.add(
            Refused(
                at=received_at,
                vendor=self._dialect.name,
                app_id=refusal.app_id,
                status=refusal.status,
                reason=refusal.reason.value,
                detail=refusal.detail,
                remote=_remote(scope),
                size=len(body),
            )
        )
        return problem(refusal.status, refusal.reason.value, refusal.detail)


class WrongDoor:
    """A path under `/callbacks/` that is no vendor's: an address that somebody may have entered at a console."""

    def __init__(self, vendors: Sequence[str], refusals: Rejections, clock: Callable[[], int]) -> None:
        self._right = " or ".join(f"/callbacks/{vendor}" for vendor in vendors)
        self._refusals = refusals
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"no vendor's callbacks come to {scope['path'][:100]}; set {self._right}"
        if scope["method"] == "POST":
            self._refusals.add(
                Refused(
                    at=self._clock(),
                    vendor="",
                    app_id=None,
                    status=404,
                    reason="wrong_path",
                    detail=detail,
                    remote=_remote(scope),
                    size=0,
                )
            )
        await problem(404, "wrong_path", detail).send_to(send)


def _debugs() -> bool:
    """Whether a line of debug level would be written at all: to ask the logger itself costs ten times as much."""
    return logging.getLogger(__name__).isEnabledFor(logging.DEBUG)


def _remote(scope: Scope) -> str | None:
    return scope["client"][0] if scope.get("client") else None


async def _body(receive: Receive, headers: Mapping[str, str]) -> bytes | None:
    """The body; of one that is too large, a byte more than is allowed. None: the sender hung up."""
    told = headers.get("content-length", "0")
    if told.isascii() and told.isdigit() and (len(told) > 15 or int(told) > MAX_BODY):
        return bytes(MAX_BODY + 1)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        chunks.append(chunk)
        if size > MAX_BODY or not message.get("more_body", False):
            return b"".join(chunks)[: MAX_BODY + 1]


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in list(raw)[:_MAX_HEADERS]:
        key, text = name[:_MAX_HEADER].decode("latin-1").lower(), value[:_MAX_HEADER].decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
