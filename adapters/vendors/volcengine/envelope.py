"""The envelope of a callback and its signature (documents 75124 and 69820).

The signature joins its values without a separator, so bytes could be moved from one field to the next without breaking it.
Hence the checks after it: each field must look as documented.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.vendors.protocol import CallbackRejected, Envelope, Rejection, SecretsOf
from adapters.vendors.wire import NotAnObjectError, as_bytes, as_integer, as_text, dedupe_key, json_object, storable

_REQUIRED = ("EventType", "EventData", "EventTime", "AppId")
# Whether the wire says Nonce or Noce differs between the vendor's own pages: either is accepted.
_NONCES = ("Nonce", "Noce")
_OPTIONAL = ("EventId", "Version", *_NONCES, "Signature")
_SIGNED = ("EventType", "EventData", "EventTime", "EventId", "AppId", "Version")
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_APP_ID_SHOWN = 128


def verified(body: bytes, secrets_of: SecretsOf) -> Envelope:
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
    )


def rfc3339_ms(text: str) -> int | None:
    """ms since the epoch of an RFC 3339 time with an offset; None where it is none."""
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return (datetime.fromisoformat(text.upper()) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):  # the 31st of February; the year 0
        return None


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
    if not _WORD.fullmatch(texts["EventType"]):
        raise _malformed("EventType must be one word of at most 128 characters", app_id)
    if rfc3339_ms(texts["EventTime"]) is None:
        raise _malformed("EventTime must be an RFC 3339 time with an offset", app_id)
    try:
        return json_object(texts["EventData"])
    except NotAnObjectError as error:
        raise _malformed(f"EventData must be text that holds a JSON object: {error}", app_id) from None
