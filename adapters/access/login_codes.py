"""Login codes: a code stands for a token in a link that opens the status page, once and for ten minutes.

A link stays in a browser's history and a terminal's scrollback, where a token must not be. A code is made and checked with the
token alone, so that any process that has the token can make one and every web process accepts it: it consists of its expiry, random
bytes, and the HMAC-SHA256 of both with the token as key, as URL-safe text. Only the process that accepted a code remembers that it
was used; another one, or the same after a restart, would accept it once more until it expires.
"""

import base64
import binascii
import hmac
import secrets
import threading
from collections.abc import Sequence
from hashlib import sha256

from adapters.settings import TokenSettings

#: Lifetime of a code, ms.
LIFE_MS = 10 * 60 * 1000
#: Sizes of the parts of a code, bytes; the sum is a multiple of three, so that the text ends without "=": terminals leave it out of
#: links.
_EXPIRY_BYTES, _RANDOM_BYTES, _MAC_BYTES = 8, 9, 16
_PURPOSE = b"tallylight login code"


def make_code(token: str, now: int) -> str:
    """Returns a new code for this token. now: ms since the epoch."""
    body = (now + LIFE_MS).to_bytes(_EXPIRY_BYTES, "big") + secrets.token_bytes(_RANDOM_BYTES)
    return base64.urlsafe_b64encode(body + _sign_code(token, body)).decode()


class LoginCodes:
    """Accepts codes for these tokens. Thread-safe."""

    def __init__(self, tokens: Sequence[TokenSettings]) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()
        #: Used codes and when they expire, ms; only a client with a token can add to them.
        self._used: dict[bytes, int] = {}

    def redeem(self, code: str, now: int) -> TokenSettings | None:
        """Returns the token that the code stands for; None if it was used, has expired or was never made.

        now: ms since the epoch.
        """
        parts = _split_code(code)
        if parts is None:
            return None
        body, mac = parts
        expires = int.from_bytes(body[:_EXPIRY_BYTES], "big")
        match = None
        for token in self._tokens:
            if hmac.compare_digest(_sign_code(token.token.reveal(), body), mac):
                match = token
        return match if match is not None and now < expires and self._is_first_use(body, expires, now) else None

    def _is_first_use(self, body: bytes, expires: int, now: int) -> bool:
        with self._lock:
            self._used = {used: at for used, at in self._used.items() if at > now}
            is_first = body not in self._used
            self._used[body] = expires
            return is_first


def _split_code(code: str) -> tuple[bytes, bytes] | None:
    """Returns body and HMAC of a code; None if it has another format."""
    try:
        raw = base64.b64decode(code.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    size = _EXPIRY_BYTES + _RANDOM_BYTES
    return (raw[:size], raw[size:]) if len(raw) == size + _MAC_BYTES else None


def _sign_code(token: str, body: bytes) -> bytes:
    return hmac.new(token.encode(), _PURPOSE + body, sha256).digest()[:_MAC_BYTES]
