"""Serves the application without its store, under the same server with the same settings as `tally web`. For comparisons only."""

import os
import signal
import sys
from pathlib import Path

from adapters import logs
from adapters.clock import now_ms
from adapters.downstream import open_sinks
from adapters.ledger import Ledger
from adapters.metrics import Metrics
from adapters.process.file_limits import max_connections_within, raise_file_limit
from adapters.process.listening_sockets import open_sockets
from adapters.settings import load
from adapters.vendors.accounts import Accounts
from adapters.vendors.registry import vendor_names
from callbacks.app import AppDependencies
from callbacks.server import Server, make_connections
from tests.benchmarks.storeless import make_storeless_app


def main(config: str) -> None:
    logs.configure()
    settings = load(Path(config), os.environ, vendors=vendor_names())
    dependencies = AppDependencies(
        ledger=Ledger(settings.database.url),
        settings=settings,
        metrics=Metrics(),
        clock=now_ms,
        notify_workers=lambda: None,
        accounts=Accounts(settings),
        sinks=open_sinks(settings),
    )
    connections = make_connections(settings.server, dependencies.metrics, max_connections_within(raise_file_limit()))
    about = settings.server
    sockets = open_sockets(about.host, about.port, environ=os.environ)
    server = Server(make_storeless_app(dependencies), connections, sockets)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the server ends by itself
    server.serve_until_stopped()


if __name__ == "__main__":
    main(sys.argv[1])
