"""All that works in one process, started and stopped together."""

from collections.abc import Callable

from dramatiq import Broker

from adapters.ledger import Ledger
from adapters.queue import Hints
from workers.actors import declare_actors, open_worker
from workers.applying import Applier
from workers.sweep import Sweep


class Hands:
    """`clock`: ms since the epoch."""

    def __init__(self, ledger: Ledger, broker: Broker, hints: Hints, clock: Callable[[], int]) -> None:
        self.applier = Applier(ledger, clock)
        self.sweep = Sweep(ledger, self.applier, clock)
        declare_actors(broker, self.applier, hints)
        self._worker = open_worker(broker)

    def start(self) -> None:
        self._worker.start()
        self.sweep.start()

    def stop(self) -> None:
        """Finishes what is under way."""
        self.applier.stop()
        self.sweep.stop()
        self._worker.stop()
