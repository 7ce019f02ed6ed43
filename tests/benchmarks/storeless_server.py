"""Serves the application without its store, under the same server with the same settings as `tally web`. For comparisons only."""

import os
import signal
import sys
from pathlib import Path

import tally
from adapters import logs
from adapters.clock import now_ms
from adapters.ledger import Ledger
from adapters.metrics import Metrics
from adapters.settings import load
from callbacks.app import Ears
from tests.benchmarks.storeless import make_storeless_app


def main(config: str) -> None:
    logs.configure()
    settings = load(Path(config), os.environ)
    ears = Ears(ledger=Ledger(settings.database.url), settings=settings, metrics=Metrics(), clock=now_ms, ring=lambda: None)
    server = tally._Server(make_storeless_app(ears), settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the server ends by itself
    server.run()


if __name__ == "__main__":
    main(sys.argv[1])
