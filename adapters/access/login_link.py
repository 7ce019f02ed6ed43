"""Login links: `http://127.0.0.1:8080/#code=...` opens the status page in a browser and logs it in.

Printed for a person only: on a terminal when the server has started, and by `tally link`. Logs are shipped and kept, so they name
the token's file and nothing else.
"""

import contextlib
import sys
import threading
from typing import TextIO

from adapters.access.curl import origin_of, token_of
from adapters.access.login_codes import make_code
from adapters.clock import now_ms
from adapters.settings import Settings


def login_link(settings: Settings, *, port: int | None = None) -> str:
    """A link that works once, within ten minutes. port: the one that the server took, where the settings leave it open.

    Raises CurlError, TokenFileError.
    """
    token, origin = token_of(settings), origin_of(settings, port)
    return f"{origin}/" if token is None else f"{origin}/#code={make_code(token, now_ms())}"


def terminal() -> TextIO | None:
    """The stream on which a person reads what is printed, and nobody else."""
    return next((stream for stream in (sys.stderr, sys.stdout) if stream is not None and stream.isatty()), None)


def show(settings: Settings, port: int) -> None:
    """Prints a link on the terminal, if there is one. A terminal that takes nothing (Ctrl-S) is not waited for."""
    out = terminal()
    if out is not None:
        link = login_link(settings, port=port)
        line = f"\nOpen the board, logged in: {link}\n(once, within 10 minutes; `tally link` prints a new link)\n\n"
        threading.Thread(target=_print, args=(out, line), name="login link", daemon=True).start()


def _print(out: TextIO, line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal is gone
        out.write(line)
        out.flush()
