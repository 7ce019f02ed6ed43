"""Bearer tokens: made, and told apart in constant time."""

import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256

from adapters.settings import Token


def generate() -> str:
    """A new token: 32 random bytes as URL-safe text."""
    return secrets.token_urlsafe(32)


def bearer_of(authorization: str | None) -> str | None:
    """The token in an `Authorization` header's value; None if there is none, or another scheme."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class Tokens:
    """Knows the configured tokens. Keeps their digests only; each check compares with all of them."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._digests = [(_digest(token.token.reveal()), token) for token in tokens]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def find(self, bearer: str) -> Token | None:
        """The configured token that this text is, or None."""
        digest = _digest(bearer)
        found = None
        for known, token in self._digests:
            if hmac.compare_digest(known, digest):
                found = token
        return found


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="surrogatepass")).digest()
