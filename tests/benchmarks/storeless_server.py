"""Serves the application without its store, under the same server with the same settings as `tally web`. For comparisons only."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tally  # noqa: E402
from adapters import logs  # noqa: E402
from adapters.clock import now_ms  # noqa: E402
from adapters.ledger import Ledger  # noqa: E402
from adapters.metrics import Metrics  # noqa: E402
from adapters.settings import load  # noqa: E402
from callbacks.app import Ears  # noqa: E402
from tests.benchmarks.storeless import make_storeless_app  # noqa: E402


def main(config: str) -> None:
    logs.configure()
    settings = load(Path(config), os.environ)
    ears = Ears(ledger=Ledger(settings.database.url), settings=settings, metrics=Metrics(), clock=now_ms, ring=lambda: None)
    served = tally._server_config(ears, settings)
    served.app = make_storeless_app(ears)
    server = tally._Server(served, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the server ends by itself
    server.run()


if __name__ == "__main__":
    main(sys.argv[1])
