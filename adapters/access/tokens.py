"""Bearer tokens: makes them, and compares them in constant time."""

import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256

from adapters.settings import TokenSettings


def generate() -> str:
    """Returns a new token: 32 random bytes as URL-safe text."""
    return secrets.token_urlsafe(32)


def bearer_of(authorization: str | None) -> str | None:
    """Returns the token in the value of an `Authorization` header; None if there is none, or another scheme."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class Tokens:
    """The configured tokens. It keeps only their digests; each check compares with all of them."""

    def __init__(self, tokens: Iterable[TokenSettings]) -> None:
        self._digests = [(_digest_of(token.token.reveal()), token) for token in tokens]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def find(self, bearer: str) -> TokenSettings | None:
        """Returns the configured token that equals this text, or None."""
        digest = _digest_of(bearer)
        match = None
        for known, token in self._digests:
            if hmac.compare_digest(known, digest):
                match = token
        return match


def _digest_of(text: str) -> bytes:
    return sha256(text.encode(errors="surrogatepass")).digest()
