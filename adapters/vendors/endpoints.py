"""Where a call goes: the parts of an account's endpoint that a signature covers."""

from dataclasses import dataclass
from urllib.parse import urlsplit

_USUAL_PORTS = (None, 80, 443)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    #: As the Host header says it: the port only where it is not 80 or 443.
    host: str
    path: str
    #: Without a query.
    url: str


def target(endpoint: str) -> Target:
    parts = urlsplit(endpoint)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    host = name if parts.port in _USUAL_PORTS else f"{name}:{parts.port}"
    path = parts.path or "/"
    port = "" if parts.port is None else f":{parts.port}"
    return Target(host=host, path=path, url=f"{parts.scheme}://{name}{port}{path}")
