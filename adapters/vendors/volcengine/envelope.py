"""The envelope of a callback and its signature (documents 75124 and 69820).

The signature is the hash of the values in sorted order, joined without a separator: it does not tell which value is which field,
nor where a value ends. Values can be swapped, and bytes moved from one to the next, without breaking it. So after verification each
field must have its own shape and not that of another (`shapes`), and all variants of a callback share one key: the signature's.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapters.text import storable
from adapters.vendors.json_fields import NotAnObjectError, as_bytes, as_integer, as_text, dedupe_key, json_object
from adapters.vendors.protocol import CallbackRejected, Envelope, Rejection, SecretsOf
from adapters.vendors.volcengine.shapes import rfc3339_ms, shape_problem

_REQUIRED = ("EventType", "EventData", "EventTime", "AppId")
# The vendor's own pages differ between Nonce and Noce: both are accepted.
_NONCES = ("Nonce", "Noce")
_OPTIONAL = ("EventId", "Version", *_NONCES, "Signature")
_SIGNED = ("EventType", "EventData", "EventTime", "EventId", "AppId", "Version")
_APP_ID_SHOWN = 128


def verify_callback(headers: Mapping[str, str], body: bytes, secrets_of: SecretsOf) -> Envelope:
    """Verifies a callback and returns its envelope; one of its app's secrets must have signed it. Raises CallbackRejected."""
    texts = _signed_texts(body)
    app_id = texts["AppId"]
    shown = storable(app_id)[:_APP_ID_SHOWN]
    secrets = secrets_of(app_id)
    if secrets is None:
        raise CallbackRejected(Rejection.UNKNOWN_APP, f"no volcengine app {shown!r} is configured", app_id=shown)
    if not _is_signed(texts, secrets):
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
    """Returns the time as part of a key, as in a dedupe key: keys of one time lie on few pages of the index."""
    return at if at is not None and 0 <= at < 1 << 48 else 0


def _malformed_callback(detail: str, app_id: str | None = None) -> CallbackRejected:
    return CallbackRejected(Rejection.MALFORMED, detail, app_id=app_id)


def _signed_texts(body: bytes) -> dict[str, str]:
    """Returns the envelope's fields; a missing optional field counts as empty text, a missing nonce stays missing."""
    try:
        fields = json_object(body)
    except NotAnObjectError as error:
        raise _malformed_callback(f"the body must be a JSON object: {error}") from None
    for name in (*_REQUIRED, *_OPTIONAL):
        if name in fields and not isinstance(fields[name], str):
            raise _malformed_callback(f"{name} must be text, just as it was signed")
    for name in _REQUIRED:
        if not fields.get(name):
            raise _malformed_callback(f"{name} is missing; it must be text")
    texts = {"EventId": "", "Version": "", "Signature": ""}
    return texts | {name: fields[name] for name in (*_REQUIRED, *_OPTIONAL) if name in fields}


def _is_signed(texts: Mapping[str, str], secrets: Sequence[str]) -> bool:
    """Returns whether any secret produces the signature; all are tried, so that timing does not tell which one did."""
    signature = as_bytes(texts["Signature"])
    matches = [hmac.compare_digest(digest, signature) for digest in _possible_signatures(texts, secrets)]
    return any(matches)


def _possible_signatures(texts: Mapping[str, str], secrets: Sequence[str]) -> Iterator[bytes]:
    values = [as_bytes(texts[name]) for name in _SIGNED]
    nonces = {texts[name] for name in _NONCES if name in texts} or {""}
    for nonce in nonces:
        for secret in secrets:
            joined = b"".join(sorted([*values, as_bytes(nonce), as_bytes(secret)]))
            yield hashlib.sha256(joined).hexdigest().encode()


def _event_data(texts: Mapping[str, str], app_id: str) -> dict[str, Any]:
    """Returns EventData, parsed. Raises CallbackRejected if a field does not have its documented shape."""
    problem = shape_problem(texts)
    if problem is not None:
        raise _malformed_callback(problem, app_id)
    try:
        return json_object(texts["EventData"])
    except NotAnObjectError as error:
        raise _malformed_callback(f"EventData must be text that holds a JSON object: {error}", app_id) from None
