"""Signatures of webhooks by the Standard Webhooks specification 1.0 (https://www.standardwebhooks.com)."""

import base64
import hashlib
import hmac
import secrets as random_source
from collections.abc import Sequence

_PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """Returns a new random signing secret, in the form of the specification."""
    return _PREFIX + base64.b64encode(random_source.token_bytes(_SECRET_BYTES)).decode()


def signature_headers(message_id: str, at_ms: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Returns the headers that prove the sender and the time of this body. at_ms: time of this attempt, against replay attacks.

    secrets: the valid ones, at least one. During a rotation there are two, and the receiver may know either.
    """
    timestamp = str(at_ms // 1000)
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = " ".join(_sign_content(secret, signed) for secret in secrets)
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signatures}


def _sign_content(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
