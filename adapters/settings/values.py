"""The words and shapes that values have: secrets, roles, and tests for urls, networks and hosts."""

import hmac
import ipaddress
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit


class Secret:
    """A text that shows itself only to those who ask for it by `reveal()`: repr, str and logs have `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __len__(self) -> int:
        return len(self._text)


class Role(StrEnum):
    """What a token may do: VIEWER < OPERATOR < ADMIN, each also what the lesser ones may. Compares by rank, not spelling."""

    #: Reads; raw callbacks and stream urls are masked.
    VIEWER = "viewer"
    #: Also starts, stops, marks and replays, and sees what viewers see masked.
    OPERATOR = "operator"
    #: Also whatever concerns the service itself.
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < Role(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Role(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Role(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Role(other).rank


def anything(value: object) -> bool:
    return True


def is_loopback(host: str) -> bool:
    """Whether a server that listens on this host name or address is heard on this machine only."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address in ipaddress.ip_network("127.0.0.0/8") or address == ipaddress.ip_address("::1")


def is_database(url: str) -> bool:
    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///").split("?")[0] not in ("", ":memory:")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname or "host=" in parts.query) and len(parts.path) > 1 and parts.port != 0
    except ValueError:
        return False
    return parts.scheme == "postgresql" and named


def is_queue(url: str) -> bool:
    try:
        good = url.startswith(("redis://", "rediss://", "unix://")) and urlsplit(url).port != 0
    except ValueError:  # a port that is no number
        return False
    return not url or good


def is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return not url or good


def is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
