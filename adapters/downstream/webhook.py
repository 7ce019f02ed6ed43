"""Webhooks: an event is POSTed to a url, signed. A 2xx status is success; anything else is a failure, redirects included."""

import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, ClassVar
from urllib.parse import urlsplit

from adapters.contract import masking
from adapters.downstream import signing
from adapters.downstream.sink import DETAIL_LIMIT, Failure, Message, SendResult, printable, response_excerpt, unknown_members
from adapters.downstream.ssrf_guard import URL_LIMIT, AllowedTargets, RefusedAddressError
from adapters.http import HttpClient, HttpReply, NoReply
from adapters.http_messages import HttpRequest, WireError, header_value
from adapters.settings import Settings
from adapters.text import FieldProblem

#: Timeout of connecting, and again of the TLS handshake, s.
_CONNECT_TIMEOUT_S = 5.0
#: Timeout of a whole attempt, s. Only the DNS lookup may take longer.
_TOTAL_TIMEOUT_S = 15.0
#: Bytes of an answer's body that are read; the rest is not waited for.
_ANSWER_LIMIT = 4096
#: Longest Retry-After that is honoured, s.
_MAX_RETRY_AFTER_S = 24 * 3600
_GONE = 410
#: HTTP's date format and the two obsolete ones that must be understood (RFC 9110, 5.6.7).
_DATES = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")


class Webhook:
    """The sink `{"type": "webhook", "url": "https://..."}`."""

    type: ClassVar[str] = "webhook"
    signed: ClassVar[bool] = True
    SCHEMA: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "description": "POSTs each event as application/cloudevents+json, signed to the Standard Webhooks specification.",
        "required": ["type", "url"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": "webhook"},
            "url": {
                "type": "string",
                "format": "uri",
                "maxLength": URL_LIMIT,
                "description": "Without a user, a password or a fragment; its host must have public addresses, or addresses that "
                "`outbound.allow` lists. Readers without the right to see keys see scheme, host and port.",
            },
        },
    }

    def __init__(
        self,
        allowed: AllowedTargets,
        *,
        connect_s: float = _CONNECT_TIMEOUT_S,
        total_s: float = _TOTAL_TIMEOUT_S,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """trust: the trusted certificates; None: those of the system."""
        self._allowed = allowed
        self._client = HttpClient(
            connect_s=connect_s, total_s=total_s, trust=trust, resolve=allowed.resolve, body_limit=_ANSWER_LIMIT
        )
        self._agent = f"Tallylight/{version('tallylight')}"

    def parse(self, requested: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
        url = requested.get("url")
        problem = self._allowed.check_url(url) if isinstance(url, str) else "must be a url, as text"
        problems = [FieldProblem(field="sink.url", message=problem)] if problem else []
        return {"type": self.type, "url": url}, problems + unknown_members(requested, ("type", "url"))

    def masked(self, sink: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
        """Returns the sink, without `keys` with scheme, host and port of its url only: path and query may contain a token."""
        return {**sink} if keys else {**sink, "url": _masked_url(sink["url"])}

    def send(self, sink: Mapping[str, Any], message: Message, secrets: Sequence[str]) -> SendResult:
        """Sends the message. The url is validated again: settings may have changed since the subscription was created."""
        if problem := self._allowed.check_format(sink["url"]):
            return SendResult(ok=False, error=Failure.REFUSED_ADDRESS, detail=f"the url {problem}")
        try:
            reply = self._client.send(self._build_request(sink["url"], message, secrets))
        except NoReply as nothing:
            return _result_without_answer(nothing)
        return _result_of_reply(reply, message.at)

    def _build_request(self, url: str, message: Message, secrets: Sequence[str]) -> HttpRequest:
        headers = {"Content-Type": "application/cloudevents+json", "User-Agent": self._agent}
        signed = signing.signature_headers(message.id, message.at, message.body, secrets)
        return HttpRequest(method="POST", url=url, headers=headers | signed, body=message.body)

    def close(self) -> None:
        self._client.close()


def open_sink(settings: Settings) -> Webhook:
    return Webhook(AllowedTargets.from_settings(settings.outbound))


def _masked_url(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{masking.HIDDEN}"


def _result_without_answer(nothing: NoReply) -> SendResult:
    detail = printable(masking.mask_text(str(nothing)))[:DETAIL_LIMIT]
    return SendResult(ok=False, error=_failure_of(nothing), detail=detail)


def _failure_of(nothing: NoReply) -> Failure:
    if nothing.is_caused_by(RefusedAddressError):
        return Failure.REFUSED_ADDRESS
    if nothing.error is WireError.NOT_SENT:
        return Failure.NOT_CONNECTED
    return Failure.TIMEOUT if nothing.timed_out else Failure.CUT_OFF


def _result_of_reply(reply: HttpReply, at: int) -> SendResult:
    excerpt = response_excerpt(reply.body)
    if 200 <= reply.status < 300:
        return SendResult(ok=True, status=reply.status, excerpt=excerpt)
    is_redirect = 300 <= reply.status < 400
    return SendResult(
        ok=False,
        status=reply.status,
        error=Failure.REDIRECT if is_redirect else Failure.STATUS,
        detail=f"answered {reply.status}" + (", and redirects are not followed: give the url it leads to" if is_redirect else ""),
        excerpt=excerpt,
        retry_after_s=retry_after_s(header_value(reply.headers, "retry-after"), at),
        gone=reply.status == _GONE,
    )


def retry_after_s(header: str, at: int) -> float | None:
    """Returns the delay in a Retry-After header (a number or a date), s, at most a day; None if there is none. at: now, ms."""
    if re.fullmatch("[0-9]+", header):
        return float(min(int(header[:18]), _MAX_RETRY_AFTER_S))
    date = _date_ms(header)
    return min((date - at) / 1000, float(_MAX_RETRY_AFTER_S)) if date is not None and date >= at else None


def _date_ms(text: str) -> int | None:
    for form in _DATES:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()) * 1000
        except ValueError:
            continue
    return None
