"""Notifies the service manager of the state of the process (sd_notify(3)); without a service manager it does nothing."""

import os
import socket
from contextlib import suppress


def notify_ready() -> None:
    """Notifies that the process serves now."""
    _send_state(b"READY=1")


def notify_stopping() -> None:
    """Notifies that the process is about to end."""
    _send_state(b"STOPPING=1")


def _send_state(message: bytes) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:  # the service manager may be gone
        notifier.connect(address)
        notifier.send(message)
