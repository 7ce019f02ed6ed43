"""Login codes: stand for a token in a link that opens the status page, for ten minutes and once.

A link stays in a browser's history and a terminal's scrollback, where a token must not. A code is made and checked with the token
alone, so that any process that has the token can make one, and every web process takes it: its expiry, random bytes, and the
HMAC-SHA256 of both by the token, as URL-safe text. That it was used, the process remembers that was asked; another one, or the same
after a restart, would take it once more until it expires.
"""

import base64
import binascii
import hmac
import secrets
import threading
from collections.abc import Sequence
from hashlib import sha256

from adapters.settings import Token

#: How long a code may be used, ms.
LIFE_MS = 10 * 60 * 1000
#: Bytes; together a multiple of three, so that the text needs no "=" at its end, which terminals leave out of links.
_EXPIRY, _RANDOM, _MAC = 8, 9, 16
_PURPOSE = b"tallylight login code"


def make_code(token: str, now: int) -> str:
    """A new code for this token. now: ms since the epoch."""
    body = (now + LIFE_MS).to_bytes(_EXPIRY, "big") + secrets.token_bytes(_RANDOM)
    return base64.urlsafe_b64encode(body + _mac(token, body)).decode()


class LoginCodes:
    """Takes codes for these tokens. Thread-safe."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()
        #: Used codes by when they expire, ms; only who has a token adds to them.
        self._used: dict[bytes, int] = {}

    def redeem(self, code: str, now: int) -> Token | None:
        """The token that the code stands for; None if it was used, has expired or was never made. now: ms since the epoch."""
        parts = _parts(code)
        if parts is None:
            return None
        body, mac = parts
        expires = int.from_bytes(body[:_EXPIRY], "big")
        found = None
        for token in self._tokens:
            if hmac.compare_digest(_mac(token.token.reveal(), body), mac):
                found = token
        return found if found is not None and now < expires and self._is_first_use(body, expires, now) else None

    def _is_first_use(self, body: bytes, expires: int, now: int) -> bool:
        with self._lock:
            self._used = {used: at for used, at in self._used.items() if at > now}
            is_first = body not in self._used
            self._used[body] = expires
            return is_first


def _parts(code: str) -> tuple[bytes, bytes] | None:
    """Body and HMAC of a code; None if it has another shape."""
    try:
        raw = base64.b64decode(code.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    size = _EXPIRY + _RANDOM
    return (raw[:size], raw[size:]) if len(raw) == size + _MAC else None


def _mac(token: str, body: bytes) -> bytes:
    return hmac.new(token.encode(), _PURPOSE + body, sha256).digest()[:_MAC]
