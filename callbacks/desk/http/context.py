"""Holds what the handlers of the desk need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from adapters.access.login_codes import LoginCodes
from adapters.access.tokens import Tokens
from adapters.clock_watch import ClockWatch
from adapters.downstream import Sink
from adapters.ledger import Ledger
from adapters.metrics import Metrics
from adapters.settings import Settings
from adapters.supervision import Health
from adapters.vendors.accounts import Accounts
from callbacks.desk.events.sse import Streams
from callbacks.desk.http.query_pool import QueryPool
from callbacks.desk.http.token_guesses import WrongTokenLimiter
from callbacks.desk.service.metrics_bridge import MetricsBridge


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The dependencies of all handlers; the composition root makes one for each process. `clock`: ms since the epoch."""

    ledger: Ledger
    settings: Settings
    tokens: Tokens
    metrics: Metrics
    clock: Callable[[], int]
    #: Returns a new text at each call, unique across processes.
    random_id: Callable[[], str] = lambda: str(uuid4())
    #: Wakes the workers after rows were put into the inbox; must not block, and must be thread-safe.
    wake_workers: Callable[[], None]
    #: Returns the number of callbacks in the spool.
    spool_rows: Callable[[], int]
    #: Sinks by type: `webhook`, `redis`.
    sinks: Mapping[str, Sink]
    #: The accounts that sign calls, by app.
    accounts: Accounts
    #: The open event streams.
    streams: Streams
    #: Called for each wrong token or login code, with the client's address and the reason.
    on_wrong_token: Callable[[str | None, str], None]
    wrong_tokens: WrongTokenLimiter = field(default_factory=WrongTokenLimiter)
    #: The parts of the process, and whether they work.
    health: Health = field(default_factory=Health)
    #: Notices steps of the clock.
    clock_watch: ClockWatch = field(default_factory=ClockWatch)
    #: Returns the number of callbacks that could not be stored and are not in the ledger's sums yet, and when the last came, ms.
    unrecorded: Callable[[], tuple[int, int | None]] = lambda: (0, None)
    #: Runs queries of the ledger in threads that callers share fairly.
    query_pool: QueryPool = field(default_factory=QueryPool)
    #: Brings the ledger's sums into `/metrics`.
    metrics_bridge: MetricsBridge = field(default_factory=MetricsBridge)
    #: The codes of login links.
    login_codes: LoginCodes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "login_codes", LoginCodes(self.settings.tokens))

    @property
    def is_open(self) -> bool:
        """Returns whether clients on this machine may do everything without a token (`--open-desk`)."""
        server = self.settings.server
        return server.open_desk and server.is_loopback and not self.settings.tokens

    def has_app(self, vendor: str, app_id: str) -> bool:
        """Returns whether this app is configured."""
        return any((app.vendor, app.app_id) == (vendor, app_id) for app in self.settings.apps)
