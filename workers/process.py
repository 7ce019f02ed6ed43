"""Starts and stops all workers of one process together."""

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
from workers.call.caller import Caller, VendorClient
from workers.deliver.dispatcher import Dispatcher
from workers.sweep import Sweep

#: Timeout for calls and deliveries in flight when the process ends, s.
FINISH_S = 12.0
#: Pause in which a busy applier lets rows gather, s: 12 to 25 ms did best; with 50 ms it applied 10% fewer.
_GATHER_S = 0.015


class WorkerProcess:
    """The applier, the sweep, the caller, the dispatcher and the hint worker of a process.

    clock: ms since the epoch. client: sends the calls that `accounts` sign. wake_applier: called when the inbox has new answers.
    sinks: by type of sink. keep_days: how long delivered events are kept. health: where the workers register.
    """

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        hints: Hints,
        clock: Callable[[], int],
        accounts: Accounts,
        client: VendorClient,
        wake_applier: Callable[[], None],
        sinks: Mapping[str, Sink],
        *,
        keep_days: int = 14,
        health: Health | None = None,
    ) -> None:
        health = health or Health()
        self.caller = Caller(ledger, accounts, client, clock, wake_applier, health=health)
        self.shards = Shards(ledger)
        self.dispatcher = Dispatcher(ledger, sinks, clock, keep_days=keep_days, health=health)
        self.applier = Applier(
            ledger,
            clock,
            accounts,
            self.shards,
            on_calls=self.caller.wake,
            on_events=self.dispatcher.wake,
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
        self.dispatcher.start()

    def stop(self, *, calls_s: float = FINISH_S, deliveries_s: float = FINISH_S) -> None:
        """Finishes calls and deliveries in flight. Those that take longer than calls_s, deliveries_s are left, as by `kill -9`."""
        with ThreadPoolExecutor() as pool:  # the caller and the dispatcher wait at the same time
            pool.submit(self.dispatcher.stop, deliveries_s)
            self.caller.stop(calls_s)
        self.applier.stop()
        self.sweep.stop()
        self._worker.stop()
        self.shards.close()
