"""The words and shapes that values have: secrets, roles, and tests for urls, networks and hosts."""

import hmac
import ipaddress
import re
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, urlsplit


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


#: Fewer different characters than this are no random token; `tally token` makes 20 and more.
_FEWEST_DIFFERENT = 8
#: Characters of a repeated piece that is looked for.
_LONGEST_PIECE = 64
#: From this length on random letters and digits cannot be guessed (131 bits); shorter tokens are taken, with a warning.
STRONG_LENGTH = 22


def is_token(text: str) -> bool:
    """Whether a text can be a bearer token (RFC 6750: printable, no spaces), and is not one that is guessed by patience."""
    return re.fullmatch(r"[!-~]{16,}", text) is not None and len(set(text)) >= _FEWEST_DIFFERENT and not _is_repeated(text)


def _is_repeated(text: str) -> bool:
    """Whether it is one piece again and again, the last time perhaps cut off: such as abcdefgh12abcdefgh12."""
    sizes = range(1, min(len(text) // 2, _LONGEST_PIECE) + 1)
    return any(text[size:] == text[:-size] for size in sizes)


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
    """SQLite takes no options: those that there are would change what a commit means, and a misspelt one nothing."""
    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///") not in ("", ":memory:") and "?" not in url
    # Drivers are loaded only where there is such a url: a server reads its settings before its port
    # is open (`adapters.process.entry`).
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        host, path, query = _place(url)
        make_conninfo(**dict(parse_qsl(query, strict_parsing=bool(query))))
    except (ValueError, ProgrammingError):
        return False
    named = bool(host or "host=" in query) and len(path) > 1
    return urlsplit(url).scheme == "postgresql" and named


def _place(url: str) -> tuple[str, str, str]:
    """(host, path, options). Raises ValueError for hosts or ports that can be none."""
    from adapters.ledger.ledger_url import hosts_of

    parts = urlsplit(url)
    host = hosts_of(url).get("host") or parts.hostname or ""
    if "," not in parts.netloc and parts.port == 0:
        raise ValueError
    return host, parts.path, parts.query


def is_queue(url: str) -> bool:
    """Whether the client can be made from it: each option is one that it knows, with a value of its kind."""
    if not url:
        return True
    from redis import ConnectionPool, RedisError

    try:
        parts = urlsplit(url)
        good = url.startswith(("redis://", "rediss://", "unix://")) and parts.port != 0
        if good and parts.scheme != "unix":
            good = re.fullmatch(r"/?[0-9]*", parts.path) is not None
        return good and ConnectionPool.from_url(url).make_connection() is not None
    except (ValueError, TypeError, RedisError):  # a port that is no number; an option that is unknown, or its value
        return False


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
