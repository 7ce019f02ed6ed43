"""The parts of an API endpoint that a signature covers."""

from dataclasses import dataclass
from urllib.parse import urlsplit

_USUAL_PORTS = (None, 80, 443)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The API endpoint of an account."""

    #: The value of the Host header: with the port unless it is 80 or 443.
    host: str
    path: str
    #: The whole url, without a query.
    url: str


def parse_endpoint(endpoint: str) -> Endpoint:
    """Returns the parts of an endpoint's url."""
    parts = urlsplit(endpoint)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    host = name if parts.port in _USUAL_PORTS else f"{name}:{parts.port}"
    path = parts.path or "/"
    port = "" if parts.port is None else f":{parts.port}"
    return Endpoint(host=host, path=path, url=f"{parts.scheme}://{name}{port}{path}")
