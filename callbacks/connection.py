"""A client's connection, which the application may cut.

ASGI knows no such thing, and to close a connection waits until the client has taken all that was written to it: for ever, if the
client takes nothing.
"""

from collections.abc import Callable

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_NAME = "cut"


class Connection(HttpToolsProtocol):
    """uvicorn's own; each request on it can cut it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][_NAME] = self.transport.abort


def cut_of(scope: Scope) -> Callable[[], None]:
    """Cuts a request's connection; on another server than ours does nothing."""
    cut: Callable[[], None] = scope.get("state", {}).get(_NAME, lambda: None)
    return cut
