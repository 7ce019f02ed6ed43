"""Types of values (secrets, roles) and checks of urls, networks, hosts and tokens."""

import hmac
import ipaddress
import re
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, urlsplit


class Secret:
    """A text that only `reveal()` returns; repr, str and logs show `***`."""

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
    """The rights of a token: VIEWER < OPERATOR < ADMIN, each includes those of the lower ones. Compares by rank, not spelling."""

    #: May read; raw callbacks and stream urls are masked.
    VIEWER = "viewer"
    #: May also start, stop, mark and replay; sees what is masked for viewers.
    OPERATOR = "operator"
    #: May also manage the service itself.
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


#: Different characters of a token at least: fewer are not random. `tally token` makes 20 and more.
_MIN_DIFFERENT = 8
#: Longest repeated piece that is searched for, characters.
_MAX_PIECE = 64
#: Length from which random letters and digits cannot be guessed (131 bits); shorter tokens are accepted with a warning.
STRONG_TOKEN_LENGTH = 22


def is_token(text: str) -> bool:
    """Returns whether a text can be a bearer token (RFC 6750: printable, no spaces) and is not easily guessed."""
    return re.fullmatch(r"[!-~]{16,}", text) is not None and len(set(text)) >= _MIN_DIFFERENT and not _is_repeated(text)


def _is_repeated(text: str) -> bool:
    """Returns whether the text repeats one piece, the last time perhaps cut off, such as abcdefgh12abcdefgh12."""
    sizes = range(1, min(len(text) // 2, _MAX_PIECE) + 1)
    return any(text[size:] == text[:-size] for size in sizes)


def is_anything(value: object) -> bool:
    """Returns True: any value of the right type is accepted."""
    return True


def is_loopback(host: str) -> bool:
    """Returns whether a server that listens on this host name or address can be reached from this machine only."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address in ipaddress.ip_network("127.0.0.0/8") or address == ipaddress.ip_address("::1")


def is_database(url: str) -> bool:
    """Returns whether the url names a ledger. SQLite options are rejected: they would weaken commits, or be ignored if misspelt."""
    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///") not in ("", ":memory:") and "?" not in url
    # Drivers are imported only for such a url: a server reads its settings before its port is open (`adapters.process.entry`).
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        host, path, query = _url_parts(url)
        make_conninfo(**dict(parse_qsl(query, strict_parsing=bool(query))))
    except (ValueError, ProgrammingError):
        return False
    named = bool(host or "host=" in query) and len(path) > 1
    return urlsplit(url).scheme == "postgresql" and named


def _url_parts(url: str) -> tuple[str, str, str]:
    """Returns (host, path, options). Raises ValueError for an impossible host or port."""
    from adapters.ledger.ledger_url import hosts_of

    parts = urlsplit(url)
    host = hosts_of(url).get("host") or parts.hostname or ""
    if "," not in parts.netloc and parts.port == 0:
        raise ValueError
    return host, parts.path, parts.query


def is_queue(url: str) -> bool:
    """Returns whether redis-py accepts the url: it knows each option, and each value has the right type."""
    if not url:
        return True
    from redis import ConnectionPool, RedisError

    try:
        parts = urlsplit(url)
        good = url.startswith(("redis://", "rediss://", "unix://")) and parts.port != 0
        if good and parts.scheme != "unix":
            good = re.fullmatch(r"/?[0-9]*", parts.path) is not None
        return good and ConnectionPool.from_url(url).make_connection() is not None
    except (ValueError, TypeError, RedisError):  # a port that is not a number; an unknown option or value
        return False


def is_endpoint(url: str) -> bool:
    """Returns whether the text is empty or an http(s) url with a host."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return not url or good


def is_cidr(text: str) -> bool:
    """Returns whether the text is an address or a network with zero host bits."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
