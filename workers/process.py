"""All that works in one process, started and stopped together."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from dramatiq import Broker

from adapters.downstream import Sink
from adapters.ledger import Ledger
from adapters.ledger.shards import Shards
from adapters.queue import Hints
from adapters.supervision import Health
from adapters.vendors.accounts import Accounts
from workers.actors import HintWorker, declare_actors
from workers.apply.applier import Applier
from workers.call.caller import Caller, Client
from workers.deliver.dispatcher import Courier
from workers.sweep import Sweep

#: What is on its way to vendors and subscribers may take so long to finish when the process ends, s.
FINISH_S = 12.0
#: A busy worker waits so long for more to apply at once, s: 12 to 25 ms did best, 50 ms made 10% less.
_GATHER_S = 0.015


class Hands:
    """`clock`: ms since the epoch. `client`: makes the calls that `accounts` sign. `ring`: wakes whoever applies the inbox.

    `sinks`: by which events leave. `keep_days`: how long deliveries are kept that came to their end. `health`: where the parts
    register.
    """

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        hints: Hints,
        clock: Callable[[], int],
        accounts: Accounts,
        client: Client,
        ring: Callable[[], None],
        sinks: Mapping[str, Sink],
        *,
        keep_days: int = 14,
        health: Health | None = None,
    ) -> None:
        health = health or Health()
        self.caller = Caller(ledger, accounts, client, clock, ring, health=health)
        self.shards = Shards(ledger)
        self.courier = Courier(ledger, sinks, clock, keep_days=keep_days, health=health)
        self.applier = Applier(
            ledger,
            clock,
            accounts,
            self.shards,
            on_calls=self.caller.wake,
            on_events=self.courier.wake,
            gather_s=_GATHER_S,
            health=health,
        )
        self.sweep = Sweep(ledger, self.applier, clock, self.shards, health=health)
        declare_actors(broker, self.applier, hints)
        self._worker = HintWorker(broker, hints, health)

    def start(self) -> None:
        self._worker.start()
        self.sweep.start()
        self.caller.start()
        self.courier.start()

    def stop(self, *, calls_s: float = FINISH_S, deliveries_s: float = FINISH_S) -> None:
        """Finishes what is under way. calls_s, deliveries_s: what takes longer is left behind, as by `kill -9`."""
        with ThreadPoolExecutor() as pool:  # each waits for what it has on the wire
            pool.submit(self.courier.stop, deliveries_s)
            self.caller.stop(calls_s)
        self.applier.stop()
        self.sweep.stop()
        self._worker.stop()
        self.shards.close()
