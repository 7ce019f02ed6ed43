"""Login links: `http://127.0.0.1:8080/#code=...` opens the status page in a browser and logs it in.

They are printed on a terminal only: when the server has started, and by `tally link`. Logs are shipped and kept, so they name only
the file of the token.
"""

import contextlib
import sys
import threading
from typing import TextIO

from adapters.access.curl import service_url, strongest_token
from adapters.access.login_codes import make_code
from adapters.clock import now_ms
from adapters.settings import Settings


def make_login_link(settings: Settings, *, port: int | None = None) -> str:
    """Returns a link that works once, within ten minutes. port: the one that the server uses, if server.port is 0.

    Raises CurlError, TokenFileError.
    """
    token, origin = strongest_token(settings), service_url(settings, port)
    return f"{origin}/" if token is None else f"{origin}/#code={make_code(token, now_ms())}"


def terminal_stream() -> TextIO | None:
    """Returns the standard stream that is a terminal: only a person reads there what is printed. None if neither is one."""
    return next((stream for stream in (sys.stderr, sys.stdout) if stream is not None and stream.isatty()), None)


def print_on_terminal(settings: Settings, port: int) -> None:
    """Prints a link on the terminal, if there is one. It does not wait for a terminal that is stopped (Ctrl-S)."""
    out = terminal_stream()
    if out is not None:
        link = make_login_link(settings, port=port)
        line = f"\nOpen the board, logged in: {link}\n(once, within 10 minutes; `tally link` prints a new link)\n\n"
        threading.Thread(target=_write_line, args=(out, line), name="login link", daemon=True).start()


def _write_line(out: TextIO, line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal is gone
        out.write(line)
        out.flush()
