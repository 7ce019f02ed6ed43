"""The sections and keys of the settings. Loader and README table are driven by the meanings, defaults and limits here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.settings.values import (
    Role,
    Secret,
    is_anything,
    is_cidr,
    is_database,
    is_endpoint,
    is_loopback,
    is_queue,
    is_token,
)


def _metadata(meaning: str, *, right: str, ok: Callable[[Any], object] = bool, min_items: int = 0) -> Mapping[str, Any]:
    """Returns a field's metadata: its meaning, the requirement ("must be ...") and the check of a value (of a list: of an item).

    min_items: of a list. Fields that may contain a password have repr=False.
    """
    return {"meaning": meaning, "right": right, "ok": ok, "min_items": min_items}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The address and the limits of the port of door and desk."""

    host: str = field(
        default="127.0.0.1",
        metadata=_metadata(
            "The address to listen on; any but a loopback address requires `[[tokens]]`.",
            right="a host name or an IP address",
        ),
    )
    port: int = field(
        default=8080,
        metadata=_metadata(
            "The TCP port to listen on; 0: any free port.",
            right="a whole number from 0 to 65535",
            ok=lambda port: 0 <= port <= 65535,
        ),
    )
    proxies: tuple[str, ...] = field(
        default=(),
        metadata=_metadata(
            "Networks (CIDR) of the reverse proxies in front. The address that they send in `X-Forwarded-For` (or `Forwarded`) "
            "counts as the client's; they must overwrite that header.",
            right="a list of addresses or networks such as 127.0.0.1 or 10.0.0.0/8, host bits zero",
            ok=is_cidr,
        ),
    )
    max_connections: int = field(
        default=0,
        metadata=_metadata(
            "Open connections at most; 0: as many as the limit of open files allows, at most 8192.",
            right="a whole number from 16 to 100000, or 0",
            ok=lambda number: number == 0 or 16 <= number <= 100_000,
        ),
    )
    max_waiting_per_client: int = field(
        default=256,
        metadata=_metadata(
            "Idle or unfinished connections per client (an IPv4 address, an IPv6 /64) at most; one more closes the oldest. "
            "Connections that brought a signed callback, or are being answered, do not count.",
            right="a whole number from 1 to 100000",
            ok=lambda number: 1 <= number <= 100_000,
        ),
    )
    head_timeout_s: int = field(
        default=10,
        metadata=_metadata(
            "Timeout of a request's head, s: from its first byte; for the first request from the opening of the connection.",
            right="a whole number of seconds from 1 to 600",
            ok=lambda seconds: 1 <= seconds <= 600,
        ),
    )
    body_timeout_s: int = field(
        default=20,
        metadata=_metadata(
            "Timeout of a whole request, s: from its first byte.",
            right="a whole number of seconds from 1 to 600",
            ok=lambda seconds: 1 <= seconds <= 600,
        ),
    )
    keep_alive_s: int = field(
        default=75,
        metadata=_metadata(
            "Idle timeout of a kept-alive connection, s; longer than that of the proxy in front.",
            right="a whole number of seconds from 1 to 3600",
            ok=lambda seconds: 1 <= seconds <= 3_600,
        ),
    )
    max_unfinished_mb: int = field(
        default=64,
        metadata=_metadata(
            "Memory for incomplete bodies at most, MiB, a quarter of it per client; more closes the oldest connection.",
            right="a whole number of MiB from 4 to 65536",
            ok=lambda size: 4 <= size <= 65_536,
        ),
    )

    open_desk: bool = field(
        default=False,
        metadata=_metadata(
            "Whether every local client may do everything without a token (`--open-desk`). Only on a loopback address and "
            "without `[[tokens]]`; never behind a proxy, whose requests look like those of a local client.",
            right="true or false",
            ok=is_anything,
        ),
    )

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The ledger."""

    url: str = field(
        default="sqlite:///var/tally.db",
        repr=False,
        metadata=_metadata(
            "The ledger: `sqlite:///PATH` (relative paths start at the working directory), or "
            "`postgresql://USER:PASSWORD@HOST/NAME` (15 or newer) for more than one process of a kind; HOST may be a list, such as "
            "`a:5432,b:5432`, with `?target_session_attrs=read-write`.",
            right="sqlite:///PATH of a file, or postgresql://USER:PASSWORD@HOST:PORT/NAME with options of libpq",
            ok=is_database,
        ),
    )
    pool_size: int = field(
        default=8,
        metadata=_metadata(
            "PostgreSQL connections of a process for reading, and as many again for writing.",
            right="a whole number from 2 to 100",
            ok=lambda size: 2 <= size <= 100,
        ),
    )
    statement_timeout_s: int = field(
        default=10,
        metadata=_metadata(
            "Timeout of a statement in PostgreSQL, s.",
            right="a whole number of seconds from 1 to 600",
            ok=lambda seconds: 1 <= seconds <= 600,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The queue of hints, by which processes wake each other."""

    url: str = field(
        default="",
        repr=False,
        metadata=_metadata(
            "The queue of wake-up hints: empty for this process only, or `redis://`, `rediss://`, `unix://`.",
            right="empty, or a redis://, rediss:// or unix:// url whose options redis-py knows",
            ok=is_queue,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """The spool: files that hold callbacks while the ledger is unavailable."""

    folder: str = field(
        default="var/spool",
        metadata=_metadata(
            "The folder for callbacks while the ledger is unavailable: on a disk of this machine that survives a restart. "
            "Each ledger has its own folder in it.",
            right="the path of a folder, in quotes",
        ),
    )
    max_mb: int = field(
        default=1024,
        metadata=_metadata(
            "Size of the spool at most, MiB; 0: no spool, callbacks are answered 503 while the ledger is unavailable.",
            right="a whole number of MiB, 0 or more",
            ok=lambda size: size >= 0,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundSettings:
    """The targets that webhooks may reach."""

    allow: tuple[str, ...] = field(
        default=(),
        metadata=_metadata(
            "Networks (CIDR) that webhooks may reach, besides public addresses.",
            right="a list of networks such as 10.0.0.0/8 or fd00::/8, host bits zero",
            ok=is_cidr,
        ),
    )
    allow_http: bool = field(
        default=False,
        metadata=_metadata(
            "Whether webhooks may go to plain http targets; for development.",
            right="true or false",
            ok=is_anything,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The Redis streams of `redis` subscriptions."""

    url: str = field(
        default="",
        repr=False,
        metadata=_metadata(
            "The Redis with the streams of `redis` subscriptions: empty for that of `queue.url`, or `redis://`, `rediss://`, `unix://`.",
            right="empty, or a redis://, rediss:// or unix:// url whose options redis-py knows",
            ok=is_queue,
        ),
    )
    max_entries: int = field(
        default=100_000,
        metadata=_metadata(
            "Entries that a stream keeps, approximately; older ones are deleted.",
            right="a whole number from 1 to 100000000",
            ok=lambda entries: 1 <= entries <= 100_000_000,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """The log of deliveries."""

    keep_days: int = field(
        default=14,
        metadata=_metadata(
            "How long the ledger keeps the results of deliveries, days; failed deliveries are kept.",
            right="a whole number of days from 1 to 3650",
            ok=lambda days: 1 <= days <= 3650,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """An account at a vendor: the API key that signs calls."""

    name: str = field(metadata=_metadata("The name by which apps refer to it; unique.", right="a name, in quotes"))
    vendor: str = field(metadata=_metadata("The vendor.", right="a vendor's name, in quotes"))
    access_key_id: str = field(
        repr=False, metadata=_metadata("The API key's id.", right="the id of an API key, in quotes, not empty")
    )
    secret_access_key: Secret = field(
        metadata=_metadata("The API key's secret.", right="the secret of an API key, in quotes, not empty")
    )
    endpoint: str = field(
        default="",
        metadata=_metadata(
            "The API's base url; empty: the vendor's default.",
            right="an https:// (or http://) url with a host, or empty",
            ok=is_endpoint,
        ),
    )
    region: str = field(
        default="",
        metadata=_metadata("The API's region; empty: the vendor's default.", right="a region, in quotes", ok=is_anything),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """An app at a vendor: its callbacks are accepted."""

    vendor: str = field(metadata=_metadata("The vendor.", right="a vendor's name, in quotes"))
    app_id: str = field(
        metadata=_metadata("The app's id at the vendor; unique per vendor.", right="the app's id, in quotes, not empty")
    )
    account: str | None = field(
        default=None,
        metadata=_metadata(
            "The account that signs calls for this app; without one, its tasks are only observed.",
            right="the name of one of the [[accounts]]",
        ),
    )
    callback_secrets: tuple[Secret, ...] = field(
        metadata=_metadata(
            "The valid callback secrets; a signature by any of them is accepted, so that a secret can be replaced without a gap.",
            right="a list of at least one secret, none of them empty",
            min_items=1,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """A token that may use the desk."""

    name: str = field(metadata=_metadata("The name of the token in audit lines; unique.", right="a name, in quotes"))
    role: Role = field(metadata=_metadata("Its rights.", right="one of viewer, operator, admin", ok=is_anything))
    token: Secret = field(
        metadata=_metadata(
            "The bearer token; unique. `tally token` makes one.",
            right="at least 16 printable ASCII characters without spaces, 8 different ones or more, and no repeated pattern",
            ok=lambda token: is_token(token.reveal()),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a process, made by `load`; without arguments they are the defaults."""

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    queue: QueueSettings = QueueSettings()
    spool: SpoolSettings = SpoolSettings()
    outbound: OutboundSettings = OutboundSettings()
    streams: StreamSettings = StreamSettings()
    deliveries: DeliverySettings = DeliverySettings()
    accounts: tuple[AccountSettings, ...] = ()
    apps: tuple[AppSettings, ...] = ()
    tokens: tuple[TokenSettings, ...] = ()

    def secrets_of(self, vendor: str) -> Callable[[str], Sequence[str] | None]:
        """Returns the function from the id of one of the vendor's apps to its valid callback secrets; None for an unknown app."""
        secrets = {
            app.app_id: tuple(secret.reveal() for secret in app.callback_secrets) for app in self.apps if app.vendor == vendor
        }
        return secrets.get
