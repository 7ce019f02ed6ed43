"""Webhooks: an event is POSTed to a url, signed. A 2xx says that it was taken; anything else does not, redirects included."""

import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, ClassVar
from urllib.parse import urlsplit

from adapters.contract import masking
from adapters.downstream import signing
from adapters.downstream.sink import DETAIL_LIMIT, Answer, Failure, Message, beginning, harmless, unknown_members
from adapters.downstream.ssrf_guard import URL_LIMIT, RefusedAddressError, Targets
from adapters.http import HttpClient, NoAnswer, Reply
from adapters.http_messages import HttpRequest, WireError, header_value
from adapters.settings import Settings
from adapters.text import FieldProblem

#: Until there is a connection, and as long again for TLS; for all, s. Only the lookup of a name may take longer.
_CONNECT_S, _TOTAL_S = 5.0, 15.0
#: More of an answer is neither read nor waited for, bytes.
_ANSWER_LIMIT = 4096
#: No hint counts for longer, s.
_LONGEST_HINT_S = 24 * 3600
_GONE = 410
#: HTTP's date and the two older forms that it wants understood (RFC 9110, 5.6.7).
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
        targets: Targets,
        *,
        connect_s: float = _CONNECT_S,
        total_s: float = _TOTAL_S,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """trust: whose certificates are believed; None: those that the system trusts."""
        self._targets = targets
        self._client = HttpClient(
            connect_s=connect_s, total_s=total_s, trust=trust, resolve=targets.resolve, body_limit=_ANSWER_LIMIT
        )
        self._agent = f"Tallylight/{version('tallylight')}"

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
        url = given.get("url")
        wrong = self._targets.check(url) if isinstance(url, str) else "must be a url, as text"
        problems = [FieldProblem(field="sink.url", message=wrong)] if wrong else []
        return {"type": self.type, "url": url}, problems + unknown_members(given, ("type", "url"))

    def shown(self, sink: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
        """Path and query may hold a token."""
        return {**sink} if keys else {**sink, "url": _origin(sink["url"])}

    def send(self, sink: Mapping[str, Any], message: Message, secrets: Sequence[str]) -> Answer:
        """The url's shape is looked at again: settings may have changed since it was created."""
        if wrong := self._targets.misshapen(sink["url"]):
            return Answer(ok=False, error=Failure.REFUSED_ADDRESS, detail=f"the url {wrong}")
        try:
            reply = self._client.send(self._request(sink["url"], message, secrets))
        except NoAnswer as nothing:
            return _unanswered(nothing)
        return _answer(reply, message.at)

    def _request(self, url: str, message: Message, secrets: Sequence[str]) -> HttpRequest:
        headers = {"Content-Type": "application/cloudevents+json", "User-Agent": self._agent}
        signed = signing.headers(message.id, message.at, message.body, secrets)
        return HttpRequest(method="POST", url=url, headers=headers | signed, body=message.body)

    def close(self) -> None:
        self._client.close()


def open_sink(settings: Settings) -> Webhook:
    return Webhook(Targets.of(settings.outbound))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{masking.HIDDEN}"


def _unanswered(nothing: NoAnswer) -> Answer:
    detail = harmless(masking.text(str(nothing)))[:DETAIL_LIMIT]
    return Answer(ok=False, error=_failure(nothing), detail=detail)


def _failure(nothing: NoAnswer) -> Failure:
    if nothing.comes_of(RefusedAddressError):
        return Failure.REFUSED_ADDRESS
    if nothing.error is WireError.NOT_SENT:
        return Failure.NOT_CONNECTED
    return Failure.TIMEOUT if nothing.timed_out else Failure.CUT_OFF


def _answer(reply: Reply, at: int) -> Answer:
    begins = beginning(reply.body)
    if 200 <= reply.status < 300:
        return Answer(ok=True, status=reply.status, beginning=begins)
    redirects = 300 <= reply.status < 400
    return Answer(
        ok=False,
        status=reply.status,
        error=Failure.REDIRECT if redirects else Failure.STATUS,
        detail=f"answered {reply.status}" + (", and redirects are not followed: give the url it leads to" if redirects else ""),
        beginning=begins,
        retry_after_s=retry_after_s(header_value(reply.headers, "retry-after"), at),
        gone=reply.status == _GONE,
    )


def retry_after_s(hint: str, at: int) -> float | None:
    """The seconds that a Retry-After tells, be they a number or a date, at most a day; None where it tells none. at: now, ms."""
    if re.fullmatch("[0-9]+", hint):
        return float(min(int(hint[:18]), _LONGEST_HINT_S))
    date = _date_ms(hint)
    return min((date - at) / 1000, float(_LONGEST_HINT_S)) if date is not None and date >= at else None


def _date_ms(text: str) -> int | None:
    for form in _DATES:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()) * 1000
        except ValueError:
            continue
    return None
