"""The door: the HTTP endpoint that takes vendors' callbacks. It verifies each, makes it durable and answers, and does nothing else.

It is a plain ASGI callable without a framework around it: routing, middleware and response objects would take a third of the time.
Only the signature counts as proof: no token, content type or query string matters. A rejection names the field and what would be
right.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from starlette.types import Message, Receive, Scope, Send

from adapters.ledger.inbox import Arrival
from adapters.ledger.rejections import RejectedCallback
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.vendors import CallbackRejected, Dialect, Rejection
from adapters.vendors.protocol import SecretsOf
from callbacks.client_connection import connection_of
from callbacks.pending_callbacks import NotRecordedError
from callbacks.recorder import Recorder
from callbacks.rejections import Rejections

#: Largest body that is accepted, bytes.
MAX_BODY_BYTES = 1024 * 1024
#: Headers that are kept, and characters of each name and value, at most: useful headers are few and short.
_MAX_HEADER_CHARS = 2_048
_MAX_HEADERS = 64

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A complete response, as the two messages of ASGI."""

    start: Message
    body: Message

    async def send_to(self, send: Send) -> None:
        await send(self.start)
        await send(self.body)


def json_response(status: int, content: object, media_type: bytes, headers: Mapping[bytes, bytes] | None = None) -> RawResponse:
    body = json.dumps(content, separators=(",", ":")).encode()
    fields = [(b"content-length", str(len(body)).encode()), (b"content-type", media_type), *(headers or {}).items()]
    start = {"type": "http.response.start", "status": status, "headers": fields}
    return RawResponse(start, {"type": "http.response.body", "body": body})


def problem_response(status: int, reason: str, detail: str, headers: Mapping[bytes, bytes] | None = None) -> RawResponse:
    """Returns a problem response (RFC 9457). It is short: a vendor reads at most 2,000 bytes of an answer."""
    content = {
        "type": f"urn:tallylight:problem:{reason}",
        "title": reason.replace("_", " "),
        "status": status,
        "detail": detail[:500],
    }
    return json_response(status, content, b"application/problem+json", {b"x-content-type-options": b"nosniff", **(headers or {})})


_ACCEPTED = json_response(200, {"code": 0}, b"application/json")
_WRONG_METHOD = problem_response(405, "method_not_allowed", "callbacks must be sent with POST", {b"allow": b"POST"})
_UNAVAILABLE = problem_response(503, "unavailable", "the callback cannot be saved now; send it again", {b"retry-after": b"5"})
_FAILED = problem_response(500, "internal", "this is a bug, and it is logged as callback.failed")


class Door:
    """The door of one vendor. clock: returns ms since the epoch."""

    def __init__(
        self,
        dialect: Dialect,
        secrets_of: SecretsOf,
        recorder: Recorder,
        rejections: Rejections,
        metrics: Metrics,
        clock: Callable[[], int],
    ) -> None:
        self._dialect = dialect
        self._secrets_of = secrets_of
        self._recorder = recorder
        self._rejections = rejections
        self._clock = clock
        # Finding the child of a metric costs more than counting with it.
        self._ack_seconds = metrics.ack_seconds.labels(dialect.name)
        self._received = metrics.received.labels(dialect.name)
        self._duplicates = metrics.duplicates.labels(dialect.name)
        metrics.unrecorded.labels(dialect.name)  # exported as 0 before the first one, so that an increase is visible

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _WRONG_METHOD.send_to(send)
            return
        began = time.perf_counter()
        headers = _join_headers(scope["headers"])
        body = await _read_body(receive, headers)
        if body is None:
            return  # the sender hung up before the body was complete
        try:
            response = await self._verify_and_record(scope, headers, body)
        except Exception as error:
            self._rejections.count_unrecorded(self._dialect.name, self._clock())
            log.exception("callback.failed", vendor=self._dialect.name, error=str(error))
            response = _FAILED
        self._ack_seconds.observe(time.perf_counter() - began)
        await response.send_to(send)

    async def _verify_and_record(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> RawResponse:
        received_at = self._clock()
        try:
            if len(body) > MAX_BODY_BYTES:
                raise CallbackRejected(Rejection.TOO_LARGE, f"the body has more than {MAX_BODY_BYTES} bytes")
            envelope = self._dialect.verify(headers, body, self._secrets_of)
        except CallbackRejected as rejection:
            return self._reject_callback(rejection, scope, body, received_at)
        if (connection := connection_of(scope)) is not None:
            connection.mark_verified()
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
        return await self._record_arrival(arrival)

    async def _record_arrival(self, arrival: Arrival) -> RawResponse:
        try:
            new = await self._recorder.record(arrival)
        except NotRecordedError as error:
            self._rejections.report_unrecorded(arrival.vendor, arrival.app_id, str(error), arrival.received_at)
            return _UNAVAILABLE
        self._received.inc()
        if not new:
            self._duplicates.inc()
        if _logs_debug():
            log.debug("callback.recorded", vendor=arrival.vendor, app_id=arrival.app_id, event_type=arrival.event_type, new=new)
        return _ACCEPTED

    def _reject_callback(self, rejection: CallbackRejected, scope: Scope, body: bytes, received_at: int) -> RawResponse:
        self._rejections.add(
            RejectedCallback(
                at=received_at,
                vendor=self._dialect.name,
                app_id=rejection.app_id,
                status=rejection.status,
                reason=rejection.reason.value,
                detail=rejection.detail,
                remote=_remote_address(scope),
                size=len(body),
            )
        )
        return problem_response(rejection.status, rejection.reason.value, rejection.detail)


class UnknownDoor:
    """Answers 404 to a path under `/callbacks/` of no vendor: such an address may have been entered at a vendor's console."""

    def __init__(self, vendors: Sequence[str], rejections: Rejections, clock: Callable[[], int]) -> None:
        self._right = " or ".join(f"/callbacks/{vendor}" for vendor in vendors)
        self._rejections = rejections
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"{scope['path'][:100]} takes no callbacks; change it to {self._right}"
        if scope["method"] == "POST":
            self._rejections.add(
                RejectedCallback(
                    at=self._clock(),
                    vendor="",
                    app_id=None,
                    status=404,
                    reason="wrong_path",
                    detail=detail,
                    remote=_remote_address(scope),
                    size=0,
                )
            )
        await problem_response(404, "wrong_path", detail).send_to(send)


def _logs_debug() -> bool:
    """Returns whether lines of level debug are written. A call of the logger itself costs ten times as much."""
    return logging.getLogger(__name__).isEnabledFor(logging.DEBUG)


def _remote_address(scope: Scope) -> str | None:
    return scope["client"][0] if scope.get("client") else None


async def _read_body(receive: Receive, headers: Mapping[str, str]) -> bytes | None:
    """Reads the body; returns one byte more than is allowed if it is too large, and None if the sender hung up."""
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and (len(length) > 15 or int(length) > MAX_BODY_BYTES):
        return bytes(MAX_BODY_BYTES + 1)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        chunks.append(chunk)
        if size > MAX_BODY_BYTES or not message.get("more_body", False):
            return b"".join(chunks)[: MAX_BODY_BYTES + 1]


def _join_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in list(raw)[:_MAX_HEADERS]:
        key, text = name[:_MAX_HEADER_CHARS].decode("latin-1").lower(), value[:_MAX_HEADER_CHARS].decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
