"""Messages between the simulator and its clients: requests, replies, refusals, callbacks. Frozen values; times in ms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.vendors.catalogue import Api
from simulator.tasks import App


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request to a vendor's API."""

    method: str
    path: str
    #: Raw, without the question mark.
    query: str
    #: Names in lower case.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayReply:
    """The reply to a request. dropped: the connection is cut instead. after_ms: delay of the reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    dropped: bool = False
    after_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCall:
    """A call with a valid signature."""

    action: str
    version: str
    api: Api
    access_key_id: str
    #: From the signature or a header.
    region: str
    params: dict[str, Any]
    #: Repeated in the metadata of the reply.
    request_id: str


class CallRefused(Exception):
    """The vendor refuses a call. code: one of its own; status: the HTTP status, if the vendor uses it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEvent:
    """An event to be sent as a callback; it is signed when it is sent."""

    app: App
    #: The vendor's name or number of the event.
    event_type: str
    #: The content, in the vendor's own fields.
    data: Mapping[str, Any]
    #: Time of the event, in outside time.
    at: int
    #: Unique name of the event; the seed of its random values.
    unique_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackDelivery:
    """One attempt to deliver a callback. Its result goes to `World.record_answer`."""

    #: The same for all attempts of one delivery.
    number: int
    vendor: str
    app_id: str
    event_type: str
    due_at: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    #: From 1.
    attempt: int
    #: Due time of the first attempt.
    first_at: int
    source_event: OutgoingEvent = field(repr=False)
