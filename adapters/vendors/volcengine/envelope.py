"""The envelope of a callback and its signature (documents 75124 and 69820).

The signature is the hash of the values in sorted order, joined without a separator: it does not say which value is which field,
nor where one ends. Values may change places, and bytes may move from one to the next, without breaking it. So after it holds, each
field must have its own shape and not that of another (`shapes`), and all variants of a callback share a key: that of its signature.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapters.text import storable
from adapters.vendors.json_fields import NotAnObjectError, as_bytes, as_integer, as_text, dedupe_key, json_object
from adapters.vendors.protocol import CallbackRejected, Envelope, Rejection, SecretsOf
from adapters.vendors.volcengine.shapes import rfc3339_ms, wrong_shape

_REQUIRED = ("EventType", "EventData", "EventTime", "AppId")
# Whether the wire says Nonce or Noce differs between the vendor's own pages: either is accepted.
_NONCES = ("Nonce", "Noce")
_OPTIONAL = ("EventId", "Version", *_NONCES, "Signature")
_SIGNED = ("EventType", "EventData", "EventTime", "EventId", "AppId", "Version")
_APP_ID_SHOWN = 128


def verified(headers: Mapping[str, str], body: bytes, secrets_of: SecretsOf) -> Envelope:
    """The envelope of a callback that one of its app's secrets signed."""
    texts = _texts(body)
    app_id = texts["AppId"]
    shown = storable(app_id)[:_APP_ID_SHOWN]
    secrets = secrets_of(app_id)
    if secrets is None:
        raise CallbackRejected(Rejection.UNKNOWN_APP, f"no volcengine app {shown!r} is configured", app_id=shown)
    if not _signed(texts, secrets):
        detail = "Signature must be the SHA-256, in 64 lower-case hex digits, that a callback secret of this app gives"
        raise CallbackRejected(Rejection.BAD_SIGNATURE, detail, app_id=shown)
    data = _event_data(texts, shown)
    return Envelope(
        app_id=app_id,
        event_type=texts["EventType"],
        dedupe_key=dedupe_key(
            as_integer(data.get("Timestamp")), *(as_bytes(texts[name]) for name in ("EventId", "EventType", "EventData"))
        ),
        vendor_task_id=as_text(data.get("TaskId")) or "",
        signature_key=f"{_key_time(rfc3339_ms(texts['EventTime'])):012x}{texts['Signature'][:32]}",
    )


def _key_time(at: int | None) -> int:
    """As in a dedupe key: what comes at one time is written to few pages."""
    return at if at is not None and 0 <= at < 1 << 48 else 0


def _malformed(detail: str, app_id: str | None = None) -> CallbackRejected:
    return CallbackRejected(Rejection.MALFORMED, detail, app_id=app_id)


def _texts(body: bytes) -> dict[str, str]:
    """The envelope's fields; a missing optional one counts as empty text, a missing nonce stays missing."""
    try:
        fields = json_object(body)
    except NotAnObjectError as error:
        raise _malformed(f"the body must be a JSON object: {error}") from None
    for name in (*_REQUIRED, *_OPTIONAL):
        if name in fields and not isinstance(fields[name], str):
            raise _malformed(f"{name} must be text, just as it was signed")
    for name in _REQUIRED:
        if not fields.get(name):
            raise _malformed(f"{name} is missing; it must be text")
    texts = {"EventId": "", "Version": "", "Signature": ""}
    return texts | {name: fields[name] for name in (*_REQUIRED, *_OPTIONAL) if name in fields}


def _signed(texts: Mapping[str, str], secrets: Sequence[str]) -> bool:
    """Whether any secret gives the signature; all are tried, so that the time taken does not tell which did."""
    given = as_bytes(texts["Signature"])
    matches = [hmac.compare_digest(digest, given) for digest in _digests(texts, secrets)]
    return any(matches)


def _digests(texts: Mapping[str, str], secrets: Sequence[str]) -> Iterator[bytes]:
    values = [as_bytes(texts[name]) for name in _SIGNED]
    nonces = {texts[name] for name in _NONCES if name in texts} or {""}
    for nonce in nonces:
        for secret in secrets:
            joined = b"".join(sorted([*values, as_bytes(nonce), as_bytes(secret)]))
            yield hashlib.sha256(joined).hexdigest().encode()


def _event_data(texts: Mapping[str, str], app_id: str) -> dict[str, Any]:
    """What happened. Raises CallbackRejected where a field has not its documented shape."""
    wrong = wrong_shape(texts)
    if wrong is not None:
        raise _malformed(wrong, app_id)
    try:
        return json_object(texts["EventData"])
    except NotAnObjectError as error:
        raise _malformed(f"EventData must be text that holds a JSON object: {error}", app_id) from None
