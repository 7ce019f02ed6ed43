"""`tally curl`: runs the real curl against the service of a configuration, with its address and a token filled in.

curl reads the token from a pipe, as a header file: every user of the machine could read it among the arguments.
"""

import argparse
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from adapters.access.token_file import read, token_path
from adapters.settings import Settings

#: A path of the API.
_API_PATH = re.compile(r"/(v1/\S*|callbacks/\S*|(metrics|healthz|readyz|openapi\.json|docs)([?#]\S*)?)?")
_URL = re.compile(r"(?:https?://)?(localhost|127\.0\.0\.1|\[::1\]|[\w.-]+):([0-9]{1,5})(/\S*)")
_OTHER_URL = re.compile(r"[a-z]+://\S+", re.IGNORECASE)
_USAGE = "tally curl [--config FILE] [--port PORT] PATH [curl options], as in: tally curl '/v1/tasks?live=true'"
ABOUT = "run the real curl with address and token filled in, as in `tally curl /v1/tasks`; accepts curl's own options"


class CurlError(Exception):
    """curl cannot be run with these arguments; the message says what would be right."""


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parses our own options, at any place; the rest, in `arguments`, is curl's. Exits for `--help`."""
    ours = argparse.ArgumentParser(
        prog="tally curl", usage=_USAGE, description=f"{ABOUT[0].upper()}{ABOUT[1:]}.", allow_abbrev=False
    )
    ours.add_argument("--config", type=Path, metavar="FILE", help="default: TALLY_CONFIG, else ./tally.toml if it exists")
    ours.add_argument("--host", help="overrides server.host")
    ours.add_argument("--port", help="overrides server.port")
    options, rest = ours.parse_known_args(arguments)
    options.arguments = rest
    return options


def service_url(settings: Settings, port: int | None = None) -> str:
    """Returns the url of the service on this machine. port: instead of the one in the settings. Raises CurlError."""
    port, host = port or settings.server.port, settings.server.host
    if not port:
        raise CurlError("server.port is 0, so add the port that the server uses: --port PORT")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  (nothing is bound here)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def strongest_token(settings: Settings) -> str | None:
    """Returns the configured token with the most rights, else the one in the token file; None if the desk is open without a token.

    Raises TokenFileError.
    """
    if settings.tokens:
        return max(settings.tokens, key=lambda token: token.role.rank).token.reveal()
    return None if settings.server.open_desk else read(token_path(settings)).token.token.reveal()


def build_command(settings: Settings, arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """Returns the command line of curl, without the token, and the token. Raises CurlError, TokenFileError."""
    origin = service_url(settings)
    with_urls = _with_urls(arguments, origin)
    # Not through the proxy of the environment: it must not see the token, and cannot reach a loopback address.
    return ["curl", "--silent", "--show-error", "--noproxy", "*", *with_urls], strongest_token(settings)


def run(settings: Settings, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Replaces this process by curl. Raises CurlError, TokenFileError."""
    words, token = build_command(settings, arguments)
    program = shutil.which("curl", path=environ.get("PATH"))
    if program is None:
        raise CurlError(
            "curl is not installed, or not in PATH: install it, or send the header `Authorization: Bearer TOKEN` yourself"
        )
    if token is not None:
        words += ["--header", f"@/dev/fd/{_pipe_with(f'Authorization: Bearer {token}')}"]
    os.execve(program, words, dict(environ))  # noqa: S606  (the words are ours and the user's own; no shell reads them)
    raise AssertionError("unreachable")


def _pipe_with(text: str) -> int:
    """Returns a descriptor from which the next program reads this text; a pipe holds far more than a token."""
    reading, writing = os.pipe()
    os.write(writing, f"{text}\n".encode())
    os.close(writing)
    os.set_inheritable(reading, True)
    return reading


def _with_urls(arguments: Sequence[str], origin: str) -> list[str]:
    """Returns the arguments, with urls instead of paths. Raises CurlError if there is no path, or a url of another service."""
    words, paths = [], 0
    for number, word in enumerate(arguments):
        is_value = number > 0 and arguments[number - 1].startswith("-")
        path = _api_path(word, origin, is_first=number == 0)
        if path is None and _OTHER_URL.fullmatch(word) and not is_value:
            raise CurlError(f"the token is only for {origin}, so use a path of it: {_USAGE}")
        paths += path is not None
        words.append(word if path is None else f"{origin}{path}")
    if not paths:
        raise CurlError(f"the arguments contain no path of the API: {_USAGE}")
    return words


def _api_path(word: str, origin: str, *, is_first: bool) -> str | None:
    """Returns the path in a word, alone or in a url of this service; None if it is something else, such as an option's value."""
    if _API_PATH.fullmatch(word) or (is_first and word.startswith("/")):
        return word
    url = _URL.fullmatch(word)
    ours = urlsplit(origin)
    if url is None or int(url[2]) != ours.port:
        return None
    is_ours = url[1].strip("[]") in ("localhost", "127.0.0.1", "::1", ours.hostname)
    return url[3] if is_ours else None
