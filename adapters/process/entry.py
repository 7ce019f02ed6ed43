"""The entry point of `tally`: opens the socket of a server first, then loads the rest of the program, which takes a second.

Clients that connect meanwhile are answered when the server is ready; without this, each restart would refuse callbacks for that
second.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from adapters.logs import configure
from adapters.process.listening_sockets import ListenError, open_sockets
from adapters.process.standard_streams import reserve_standard_descriptors
from adapters.process.terminal import print_lines
from adapters.settings import SettingsError, load
from adapters.vendors.registry import vendor_names

_SERVERS = ("up", "web")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    reserve_standard_descriptors()
    try:
        sockets = _open_early_sockets(arguments)
    except ListenError as error:
        print_lines(f"tally: {error}", file=sys.stderr)
        return 1
    status: int = import_module("tally").main(arguments, sockets)
    return status


def _open_early_sockets(arguments: Sequence[str]) -> list[socket.socket]:
    """Opens the sockets of a server; none if `tally.main` has to report something first (wrong usage, help). Raises ListenError."""
    if not arguments or arguments[0] not in _SERVERS:
        return []
    options = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for name in ("--config", "--host", "--port"):
        options.add_argument(name)
    try:
        known, rest = options.parse_known_args(arguments[1:])
        flags = {f"server.{name}": value for name in ("host", "port") if (value := getattr(known, name)) is not None}
        settings = load(Path(known.config) if known.config else None, os.environ, vendors=vendor_names(), flags=flags)
    except (argparse.ArgumentError, SettingsError):
        return []
    if {"-h", "--help"} & set(rest):
        return []
    configure()
    return open_sockets(settings.server.host, settings.server.port, environ=os.environ, meanwhile=lambda: import_module("tally"))


if __name__ == "__main__":
    sys.exit(main())
