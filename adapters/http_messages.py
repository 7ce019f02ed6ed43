"""HTTP requests and errors as values, shared by the code that builds requests and by the client that sends them (`http`).

They stand apart from the client, so that building a request does not import sockets, TLS and parsers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request ready to be sent, signed where the receiver wants a signature."""

    method: str
    url: str
    #: All headers that are covered by a signature, Host included; the client sends them unchanged.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class WireError(StrEnum):
    """The reason why a request has no answer."""

    #: The name was not resolved, the connection was refused or TLS failed: the server never saw the request.
    NOT_SENT = "not_sent"
    #: A timeout or a dropped connection after sending began: the server may have seen the request.
    CUT_OFF = "cut_off"


def header_value(headers: Mapping[str, str], name: str) -> str:
    """Returns the value of a header, stripped; empty if there is none. name: in lower case; `headers` may use any case."""
    return next((value for key, value in headers.items() if key.lower() == name), "").strip()
