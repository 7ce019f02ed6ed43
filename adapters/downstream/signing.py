"""Signatures of webhooks as the Standard Webhooks specification 1.0 has them (https://www.standardwebhooks.com)."""

import base64
import hashlib
import hmac
import secrets as chance
from collections.abc import Sequence

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    return _PREFIX + base64.b64encode(chance.token_bytes(_SECRET_BYTES)).decode()


def headers(message_id: str, at_ms: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers that prove who sent this body and when: at_ms is the time of this attempt, so that no old one can be replayed.

    secrets: those that live, at least one. While one is being replaced there are two, and the receiver may know either.
    """
    timestamp = str(at_ms // 1000)
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = " ".join(_signature(secret, signed) for secret in secrets)
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signatures}


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
