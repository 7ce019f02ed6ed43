"""Sends a callback over HTTP as vendors do: one connection for each, with a timeout of a few seconds."""

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from simulator.messages import CallbackDelivery


def post_callback(url: str, callback: CallbackDelivery, timeout_s: float) -> int | None:
    """Posts a callback; returns the HTTP status of the answer, None if none came in time."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=timeout_s)
    try:
        connection.request("POST", parts.path or "/", callback.body, dict(callback.headers))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
