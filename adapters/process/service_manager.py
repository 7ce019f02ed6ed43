"""Tells the service manager how the process stands (sd_notify(3)); without one does nothing."""

import os
import socket
from contextlib import suppress


def notify_ready() -> None:
    """What the process is for works now."""
    _notify(b"READY=1")


def notify_stopping() -> None:
    """The process is about to end."""
    _notify(b"STOPPING=1")


def _notify(message: bytes) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:  # nobody waits for it who is gone
        notifier.connect(address)
        notifier.send(message)
