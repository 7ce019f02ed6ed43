"""What can be set. Meanings, defaults and limits stand here once; loader and README table are driven by them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.settings.values import (
    Role,
    Secret,
    anything,
    is_cidr,
    is_database,
    is_endpoint,
    is_loopback,
    is_queue,
    is_token,
)


def _says(meaning: str, *, right: str, ok: Callable[[Any], object] = bool, least: int = 0) -> Mapping[str, Any]:
    """A field's metadata: its meaning, what would be right ("must be ..."), and whether a value (of a list: an item) is so.

    least: the fewest items of a list. Fields that may hold a password are kept out of the repr.
    """
    return {"meaning": meaning, "right": right, "ok": ok, "least": least}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the door and the desk listen."""

    host: str = field(
        default="127.0.0.1",
        metadata=_says(
            "The address to listen on; with any but a loopback address there must be `[[tokens]]`.",
            right="a host name or an IP address",
        ),
    )
    port: int = field(
        default=8080,
        metadata=_says(
            "The TCP port to listen on; 0 takes a free one.",
            right="a whole number from 0 to 65535",
            ok=lambda port: 0 <= port <= 65535,
        ),
    )
    proxies: tuple[str, ...] = field(
        default=(),
        metadata=_says(
            "Networks (CIDR) of the proxies in front. Whom they name in `X-Forwarded-For` (or `Forwarded`) counts as the client; "
            "they must set that header themselves.",
            right="a list of addresses or networks such as 127.0.0.1 or 10.0.0.0/8, host bits zero",
            ok=is_cidr,
        ),
    )
    max_connections: int = field(
        default=0,
        metadata=_says(
            "So many connections are open at the same time at most; 0: what the limit of open files allows, at most 8192.",
            right="a whole number from 16 to 100000, or 0",
            ok=lambda number: number == 0 or 16 <= number <= 100_000,
        ),
    )
    max_waiting_per_client: int = field(
        default=256,
        metadata=_says(
            "So many connections of a client (an IPv4 address, an IPv6 /64) may be silent or unfinished; one more closes the"
            " oldest. Those that brought a signed callback, or are being answered, do not count.",
            right="a whole number from 1 to 100000",
            ok=lambda number: 1 <= number <= 100_000,
        ),
    )
    head_timeout_s: int = field(
        default=10,
        metadata=_says(
            "A request's head must be whole so soon after its first byte, the first one so soon after the connection opened, s.",
            right="a whole number of seconds from 1 to 600",
            ok=lambda seconds: 1 <= seconds <= 600,
        ),
    )
    body_timeout_s: int = field(
        default=20,
        metadata=_says(
            "A request must be whole so soon after its first byte, s.",
            right="a whole number of seconds from 1 to 600",
            ok=lambda seconds: 1 <= seconds <= 600,
        ),
    )
    keep_alive_s: int = field(
        default=75,
        metadata=_says(
            "A connection that is kept is closed after so long without a request, s; longer than the proxy in front keeps its own.",
            right="a whole number of seconds from 1 to 3600",
            ok=lambda seconds: 1 <= seconds <= 3_600,
        ),
    )
    max_unfinished_mb: int = field(
        default=64,
        metadata=_says(
            "Bodies that are not whole yet take so much memory, MiB, a quarter of it for one client; more closes the oldest.",
            right="a whole number of MiB from 4 to 65536",
            ok=lambda size: 4 <= size <= 65_536,
        ),
    )

    open_desk: bool = field(
        default=False,
        metadata=_says(
            "Whether everybody on this machine may do everything without a token (`--open-desk`). Only on a loopback address and "
            "without `[[tokens]]`; never behind a proxy, which cannot be told from a local client.",
            right="true or false",
            ok=anything,
        ),
    )

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where the ledger is."""

    url: str = field(
        default="sqlite:///var/tally.db",
        repr=False,
        metadata=_says(
            "The ledger: `sqlite:///PATH`, where a relative path counts from the working directory, or "
            "`postgresql://USER:PASSWORD@HOST/NAME` (15 or newer) for more than one process of a kind; HOST may be a list, as in "
            "`a:5432,b:5432`, then with `?target_session_attrs=read-write`.",
            right="sqlite:///PATH of a file, or postgresql://USER:PASSWORD@HOST:PORT/NAME with options of libpq",
            ok=is_database,
        ),
    )
    pool_size: int = field(
        default=8,
        metadata=_says(
            "PostgreSQL connections that a process keeps for reading, and as many again for writing.",
            right="a whole number from 2 to 100",
            ok=lambda size: 2 <= size <= 100,
        ),
    )
    statement_timeout_s: int = field(
        default=10,
        metadata=_says(
            "PostgreSQL ends a statement that takes longer, s.",
            right="a whole number of seconds from 1 to 600",
            ok=lambda seconds: 1 <= seconds <= 600,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """How processes wake each other."""

    url: str = field(
        default="",
        repr=False,
        metadata=_says(
            "Where wake-up hints go: empty for this process only, or `redis://`, `rediss://`, `unix://`.",
            right="empty, or a redis://, rediss:// or unix:// url whose options redis-py knows",
            ok=is_queue,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """Where callbacks wait while the ledger cannot take them."""

    folder: str = field(
        default="var/spool",
        metadata=_says(
            "Where callbacks wait while the ledger cannot take them: on a disk of this machine that survives a restart. "
            "Each ledger has a folder of its own in it.",
            right="the path of a folder, in quotes",
        ),
    )
    max_mb: int = field(
        default=1024,
        metadata=_says(
            "How much may lie there, MiB; with 0 nothing does, and callbacks are answered 503 while the ledger is away.",
            right="a whole number of MiB, 0 or more",
            ok=lambda size: size >= 0,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """Whom webhooks may reach."""

    allow: tuple[str, ...] = field(
        default=(),
        metadata=_says(
            "Networks (CIDR) that webhooks may reach besides public addresses.",
            right="a list of networks such as 10.0.0.0/8 or fd00::/8, host bits zero",
            ok=is_cidr,
        ),
    )
    allow_http: bool = field(
        default=False,
        metadata=_says(
            "Whether webhooks may go to plain http targets; for development.",
            right="true or false",
            ok=anything,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Where `redis` subscriptions write."""

    url: str = field(
        default="",
        repr=False,
        metadata=_says(
            "The Redis with the streams of `redis` subscriptions: empty for that of `queue.url`, or `redis://`, `rediss://`, `unix://`.",
            right="empty, or a redis://, rediss:// or unix:// url whose options redis-py knows",
            ok=is_queue,
        ),
    )
    max_entries: int = field(
        default=100_000,
        metadata=_says(
            "About how many entries a stream keeps; older ones go.",
            right="a whole number from 1 to 100000000",
            ok=lambda entries: 1 <= entries <= 100_000_000,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """What is kept of events that were told."""

    keep_days: int = field(
        default=14,
        metadata=_says(
            "How long the ledger keeps what became of each delivery, days; those that failed for good stay.",
            right="a whole number of days from 1 to 3650",
            ok=lambda days: 1 <= days <= 3650,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who signs API calls."""

    name: str = field(metadata=_says("The name by which apps refer to it; unique.", right="a name, in quotes"))
    vendor: str = field(metadata=_says("The vendor.", right="a vendor's name, in quotes"))
    access_key_id: str = field(repr=False, metadata=_says("The API key's id.", right="the id of an API key, in quotes, not empty"))
    secret_access_key: Secret = field(
        metadata=_says("The API key's secret.", right="the secret of an API key, in quotes, not empty")
    )
    endpoint: str = field(
        default="",
        metadata=_says(
            "The API's base url; empty: the vendor's usual one.",
            right="an https:// (or http://) url with a host, or empty",
            ok=is_endpoint,
        ),
    )
    region: str = field(
        default="", metadata=_says("The API's region; empty: the vendor's usual one.", right="a region, in quotes", ok=anything)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Whose callbacks are believed."""

    vendor: str = field(metadata=_says("The vendor.", right="a vendor's name, in quotes"))
    app_id: str = field(
        metadata=_says("The app's id at the vendor; unique per vendor.", right="the app's id, in quotes, not empty")
    )
    account: str | None = field(
        default=None,
        metadata=_says(
            "The account that signs calls for this app; without one its tasks are only observed.",
            right="the name of one of the [[accounts]]",
        ),
    )
    callback_secrets: tuple[Secret, ...] = field(
        metadata=_says(
            "The live callback secrets; any of them verifies, so that one can be replaced without a gap.",
            right="a list of at least one secret, none of them empty",
            least=1,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Who may use the desk."""

    name: str = field(metadata=_says("Whose token it is, as in audit lines; unique.", right="a name, in quotes"))
    role: Role = field(metadata=_says("What it may do.", right="one of viewer, operator, admin", ok=anything))
    token: Secret = field(
        metadata=_says(
            "The bearer token; unique. `tally token` makes one.",
            right="at least 16 printable ASCII characters without spaces, 8 different ones or more, and no repeated pattern",
            ok=lambda token: is_token(token.reveal()),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set; `load` makes it. Equal to the defaults when made without arguments."""

    server: Server = Server()
    database: Database = Database()
    queue: Queue = Queue()
    spool: Spool = Spool()
    outbound: Outbound = Outbound()
    streams: Streams = Streams()
    deliveries: Deliveries = Deliveries()
    accounts: tuple[Account, ...] = ()
    apps: tuple[App, ...] = ()
    tokens: tuple[Token, ...] = ()

    def secrets_of(self, vendor: str) -> Callable[[str], Sequence[str] | None]:
        """A function that gives, for the id of one of the vendor's apps, its live callback secrets; None if unknown."""
        secrets = {
            app.app_id: tuple(secret.reveal() for secret in app.callback_secrets) for app in self.apps if app.vendor == vendor
        }
        return secrets.get
