"""The door: where vendors' callbacks come in. It checks, makes durable, answers; nothing else may fail here.

A plain ASGI callable. The signature is the proof: no token, no content type, no query string matters. What it refuses it says in
words, with the field and what would be right.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from adapters.ledger import LedgerUnavailableError
from adapters.ledger.inbox import Arrival
from adapters.ledger.rejections import Refused
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.vendors import CallbackRejected, Dialect, Rejection
from adapters.vendors.protocol import SecretsOf
from callbacks.recorder import Recorder
from callbacks.refusals import Refusals

#: Bytes of a body that is taken.
MAX_BODY = 1024 * 1024
#: Headers worth keeping are few and short; a flood of them is not evidence.
_MAX_HEADER = 2_048
_MAX_HEADERS = 64

log = logger(__name__)

_TAKEN = b'{"code":0}'


class Door:
    """One vendor's door. `clock`: ms since the epoch."""

    def __init__(
        self,
        dialect: Dialect,
        secrets_of: SecretsOf,
        recorder: Recorder,
        refusals: Refusals,
        metrics: Metrics,
        clock: Callable[[], int],
    ) -> None:
        self._dialect = dialect
        self._secrets_of = secrets_of
        self._recorder = recorder
        self._refusals = refusals
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _problem(405, "method_not_allowed", "callbacks come by POST", {"Allow": "POST"})(scope, receive, send)
            return
        began = time.perf_counter()
        body = await _body(receive, _told_length(scope["headers"]))
        if body is None:
            return  # the sender hung up before it had said everything
        response = await self._answer(scope, body)
        self._metrics.ack_seconds.labels(self._dialect.name).observe(time.perf_counter() - began)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, body: bytes) -> Response:
        headers = _headers(scope["headers"])
        received_at = self._clock()
        try:
            if len(body) > MAX_BODY:
                raise CallbackRejected(Rejection.TOO_LARGE, f"the body has more than {MAX_BODY} bytes")
            envelope = self._dialect.verify(headers, body, self._secrets_of)
        except CallbackRejected as refusal:
            return self._refuse(refusal, scope, body, received_at)
        arrival = Arrival(
            vendor=self._dialect.name,
            app_id=envelope.app_id,
            event_type=envelope.event_type,
            dedupe_key=envelope.dedupe_key,
            vendor_task_id=envelope.vendor_task_id,
            received_at=received_at,
            headers=headers,
            body=body,
        )
        return await self._record(arrival)

    async def _record(self, arrival: Arrival) -> Response:
        try:
            new = await self._recorder.record(arrival)
        except LedgerUnavailableError as error:
            log.error("callback.unrecorded", vendor=arrival.vendor, app_id=arrival.app_id, error=str(error))
            return _problem(503, "unavailable", "the ledger cannot take it now; send it again", {"Retry-After": "5"})
        self._metrics.received.labels(arrival.vendor).inc()
        if not new:
            self._metrics.duplicates.labels(arrival.vendor).inc()
        log.debug("callback.recorded", vendor=arrival.vendor, app_id=arrival.app_id, event_type=arrival.event_type, new=new)
        return Response(_TAKEN, media_type="application/json")

    def _refuse(self, refusal: CallbackRejected, scope: Scope, body: bytes, received_at: int) -> Response:
        vendor = self._dialect.name
        remote = scope["client"][0] if scope.get("client") else None
        self._metrics.rejections.labels(vendor, refusal.reason.value).inc()
        log.warning("callback.rejected", vendor=vendor, reason=refusal.reason.value, detail=refusal.detail, remote=remote)
        self._refusals.note(
            Refused(
                at=received_at,
                vendor=vendor,
                app_id=refusal.app_id,
                status=refusal.status,
                reason=refusal.reason.value,
                detail=refusal.detail,
                remote=remote,
                size=len(body),
            )
        )
        return _problem(refusal.status, refusal.reason.value, refusal.detail)


class WrongDoor:
    """A path under `/callbacks/` that is no vendor's: an address that somebody may have entered at a console."""

    def __init__(self, vendors: Sequence[str], refusals: Refusals, metrics: Metrics, clock: Callable[[], int]) -> None:
        self._right = " or ".join(f"/callbacks/{vendor}" for vendor in vendors)
        self._refusals = refusals
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"no vendor's callbacks come to {scope['path'][:100]}; set {self._right}"
        if scope["method"] == "POST":
            self._note(detail, scope)
        await _problem(404, "wrong_path", detail)(scope, receive, send)

    def _note(self, detail: str, scope: Scope) -> None:
        remote = scope["client"][0] if scope.get("client") else None
        self._metrics.rejections.labels("", "wrong_path").inc()
        log.warning("callback.rejected", vendor="", reason="wrong_path", detail=detail, remote=remote)
        self._refusals.note(
            Refused(at=self._clock(), vendor="", app_id=None, status=404, reason="wrong_path", detail=detail, remote=remote, size=0)
        )


def _problem(status: int, reason: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """RFC 9457. Short: a vendor takes at most 2,000 bytes of answer."""
    content = {
        "type": f"urn:tallylight:problem:{reason}",
        "title": reason.replace("_", " "),
        "status": status,
        "detail": detail[:500],
    }
    return JSONResponse(content, status_code=status, headers=headers, media_type="application/problem+json")


def _told_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    told = next((value for name, value in headers if name == b"content-length"), b"0")
    return int(told) if told.isdigit() and len(told) < 16 else 0


async def _body(receive: Receive, told: int) -> bytes | None:
    """The body; of one that is too large, a byte more than is allowed. None: the sender hung up."""
    if told > MAX_BODY:
        return bytes(MAX_BODY + 1)
    chunks: list[bytes] = []
    size = 0
    while True:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY or not message.get("more_body", False):
            return b"".join(chunks)[: MAX_BODY + 1]


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in list(raw)[:_MAX_HEADERS]:
        key, text = name.decode("latin-1").lower(), value[:_MAX_HEADER].decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
