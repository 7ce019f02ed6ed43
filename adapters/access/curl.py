"""`tally curl`: runs the real curl against the service of a configuration, with its address and a token filled in.

The token is handed over through a pipe that curl reads a header file from: among the arguments every user of the machine could
read it.
"""

import argparse
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from adapters.access.token_file import path_of, read
from adapters.settings import Settings

#: What stands at the beginning of a path of the API.
_PATH = re.compile(r"/(v1/\S*|callbacks/\S*|(metrics|healthz|readyz|openapi\.json|docs)([?#]\S*)?)?")
_URL = re.compile(r"(?:https?://)?(localhost|127\.0\.0\.1|\[::1\]|[\w.-]+):([0-9]{1,5})(/\S*)")
_FOREIGN = re.compile(r"[a-z]+://\S+", re.IGNORECASE)
_USAGE = "tally curl [--config FILE] [--port PORT] PATH [curl options], as in: tally curl '/v1/tasks?live=true'"
ABOUT = "the real curl, with address and token filled in, as in `tally curl /v1/tasks`; takes curl's own options"


class CurlError(Exception):
    """curl cannot be run so; the message says what would be right."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Our own options, wherever they stand; the rest, in `arguments`, is curl's. Exits for `--help`."""
    ours = argparse.ArgumentParser(
        prog="tally curl", usage=_USAGE, description=f"{ABOUT[0].upper()}{ABOUT[1:]}.", allow_abbrev=False
    )
    ours.add_argument("--config", type=Path, metavar="FILE", help="default: TALLY_CONFIG, else ./tally.toml if it is there")
    ours.add_argument("--host", help="overrides server.host")
    ours.add_argument("--port", help="overrides server.port")
    options, rest = ours.parse_known_args(arguments)
    options.arguments = rest
    return options


def origin_of(settings: Settings, port: int | None = None) -> str:
    """Where the service answers on this machine. port: instead of that of the settings. Raises CurlError."""
    port, host = port or settings.server.port, settings.server.host
    if not port:
        raise CurlError("server.port is 0, so say which port the server took: --port PORT")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  (nothing is bound here)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def token_of(settings: Settings) -> str | None:
    """The token with the most rights that the configuration has, else the one in its file; None: the desk is open without.

    Raises TokenFileError.
    """
    if settings.tokens:
        return max(settings.tokens, key=lambda token: token.role.rank).token.reveal()
    return None if settings.server.open_desk else read(path_of(settings)).token.token.reveal()


def command(settings: Settings, arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """curl's arguments, but for the token, and the token. Raises CurlError, TokenFileError."""
    origin = origin_of(settings)
    found = _addressed(arguments, origin)
    # Not through the proxy of the environment: it is not to see the token, and cannot reach a loopback address.
    return ["curl", "--silent", "--show-error", "--noproxy", "*", *found], token_of(settings)


def run(settings: Settings, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Becomes curl. Raises CurlError, TokenFileError."""
    words, token = command(settings, arguments)
    program = shutil.which("curl", path=environ.get("PATH"))
    if program is None:
        raise CurlError(
            "curl is not installed, or not in PATH: install it, or send the header `Authorization: Bearer TOKEN` yourself"
        )
    if token is not None:
        words += ["--header", f"@/dev/fd/{_readable(f'Authorization: Bearer {token}')}"]
    os.execve(program, words, dict(environ))  # noqa: S606  (the words are ours and the user's own; no shell reads them)
    raise AssertionError("unreachable")


def _readable(text: str) -> int:
    """A descriptor that what is run next reads this from; a pipe holds far more than a token."""
    reading, writing = os.pipe()
    os.write(writing, f"{text}\n".encode())
    os.close(writing)
    os.set_inheritable(reading, True)
    return reading


def _addressed(arguments: Sequence[str], origin: str) -> list[str]:
    """The arguments, with whole urls instead of paths. Raises CurlError where there is no path, or an address of somebody else."""
    found, paths = [], 0
    for number, word in enumerate(arguments):
        is_value = number > 0 and arguments[number - 1].startswith("-")
        path = _path_in(word, origin, is_first=number == 0)
        if path is None and _FOREIGN.fullmatch(word) and not is_value:
            raise CurlError(f"the token is for {origin} only, so name a path there: {_USAGE}")
        paths += path is not None
        found.append(word if path is None else f"{origin}{path}")
    if not paths:
        raise CurlError(f"no path of the API is among the arguments: {_USAGE}")
    return found


def _path_in(word: str, origin: str, *, is_first: bool) -> str | None:
    """The path that a word names, alone or in a url of this service; None if it is something else, such as an option's value."""
    if _PATH.fullmatch(word) or (is_first and word.startswith("/")):
        return word
    url = _URL.fullmatch(word)
    ours = urlsplit(origin)
    if url is None or int(url[2]) != ours.port:
        return None
    is_ours = url[1].strip("[]") in ("localhost", "127.0.0.1", "::1", ours.hostname)
    return url[3] if is_ours else None
