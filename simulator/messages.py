"""What passes between the simulator and its callers: requests, answers, refusals, callbacks. Frozen values; times in ms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.vendors.catalogue import Api
from simulator.tasks import App


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    path: str
    #: As it came over the wire, without the question mark.
    query: str
    #: Names in lower case.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayReply:
    """What goes back. `dropped`: nothing does, the connection is cut. `after_ms`: so late."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    dropped: bool = False
    after_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCall:
    """A call that was signed rightly."""

    action: str
    version: str
    api: Api
    access_key_id: str
    #: As the signature or a header names it.
    region: str
    params: dict[str, Any]
    #: The same id in the answer's metadata.
    request_id: str


class CallRefused(Exception):
    """The vendor says no. `code`: one of its own; `status`: of HTTP, where the vendor heeds it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEvent:
    """What a callback will say. It is signed when it is sent."""

    app: App
    #: The vendor's name or number of the event.
    event: str
    #: What happened, in the vendor's own fields.
    data: Mapping[str, Any]
    #: When it happened, as it is told.
    at: int
    #: Tells it from all other news; chance is thrown by it.
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackDelivery:
    """One delivery. `number` tells it from all others; tell the world how it went with `World.answered`."""

    number: int
    vendor: str
    app_id: str
    event: str
    due_at: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    #: 1 for the first.
    attempt: int
    #: When the first attempt of this delivery was due.
    first_at: int
    event_sent: OutgoingEvent = field(repr=False)
