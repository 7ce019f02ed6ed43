"""What the desk needs to answer."""

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
from callbacks.desk.http.query_pool import Queries
from callbacks.desk.http.token_guesses import Guesses
from callbacks.desk.service.metrics_bridge import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Made once by whoever starts the process. `clock`: ms since the epoch."""

    ledger: Ledger
    settings: Settings
    tokens: Tokens
    metrics: Metrics
    clock: Callable[[], int]
    #: Returns a new text each time, which no other process returns.
    random_id: Callable[[], str] = lambda: str(uuid4())
    #: Wakes the workers after something was put into the inbox; must not wait, and be safe to call from any thread.
    ring: Callable[[], None]
    #: How many callbacks lie in the spool.
    spool_rows: Callable[[], int]
    #: By which ways events can leave, by their types.
    sinks: Mapping[str, Sink]
    #: Who signs the calls of which app.
    accounts: Accounts
    #: Who listens to events as they come.
    streams: Streams
    #: Told of each wrong token or login code: the address that it came from, and why it is refused.
    on_wrong_token: Callable[[str | None, str], None]
    guesses: Guesses = field(default_factory=Guesses)
    #: Which parts of the process work.
    health: Health = field(default_factory=Health)
    #: Knows whether the clock was set.
    clock_watch: ClockWatch = field(default_factory=ClockWatch)
    #: Callbacks that could not be made durable and of which the ledger does not know yet; when the last of them came, ms.
    unrecorded: Callable[[], tuple[int, int | None]] = lambda: (0, None)
    #: Runs what is asked of the ledger, in threads that callers share fairly.
    queries: Queries = field(default_factory=Queries)
    #: What `/metrics` has already added up from the ledger.
    sums: Sums = field(default_factory=Sums)
    #: What login links have instead of a token.
    codes: LoginCodes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", LoginCodes(self.settings.tokens))

    @property
    def is_open(self) -> bool:
        """Whether whoever is on this machine may do everything, without a token."""
        server = self.settings.server
        return server.open_desk and server.is_loopback and not self.settings.tokens

    def knows(self, vendor: str, app_id: str) -> bool:
        """Whether there is such an app."""
        return any((app.vendor, app.app_id) == (vendor, app_id) for app in self.settings.apps)
