"""All that works in one process, started and stopped together."""

from collections.abc import Callable

from dramatiq import Broker

from adapters.accounts import Accounts
from adapters.ledger import Ledger
from adapters.ledger.shards import Shards
from adapters.queue import Hints
from workers.actors import declare_actors, open_worker
from workers.applying import Applier
from workers.calling import Caller, Client
from workers.sweep import Sweep

#: A busy worker waits so long for more to apply at once, s: 12 to 25 ms did best, 50 ms made 10% less.
_GATHER_S = 0.015


class Hands:
    """`clock`: ms since the epoch. `client`: makes the calls that `accounts` sign. `ring`: wakes whoever applies the inbox."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        hints: Hints,
        clock: Callable[[], int],
        accounts: Accounts,
        client: Client,
        ring: Callable[[], None],
    ) -> None:
        self.caller = Caller(ledger, accounts, client, clock, ring)
        self.shards = Shards(ledger)
        self.applier = Applier(ledger, clock, accounts, self.shards, self.caller.wake, gather_s=_GATHER_S)
        self.sweep = Sweep(ledger, self.applier, clock, self.shards)
        declare_actors(broker, self.applier, hints)
        self._worker = open_worker(broker)

    def start(self) -> None:
        self._worker.start()
        self.sweep.start()
        self.caller.start()

    def stop(self) -> None:
        """Finishes what is under way."""
        self.caller.stop()
        self.applier.stop()
        self.sweep.stop()
        self._worker.stop()
        self.shards.close()
