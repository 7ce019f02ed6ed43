"""Renders callbacks and rejections as JSON. `keys`: whether the reader may see raw callbacks and stream keys."""

import base64
from dataclasses import fields
from typing import Any

from adapters.contract import masking
from adapters.contract.task_json import format_time
from adapters.ledger.callbacks import CallbackSummary, RecordedCallback
from adapters.ledger.rejections import RejectedCallback
from adapters.vendors import Rejection


def render_callback(callback: RecordedCallback | CallbackSummary, *, keys: bool) -> dict[str, Any]:
    """Renders a callback. Headers, body and error text, which may quote the body, need `keys`. Lists have no body."""
    whole = callback if keys and isinstance(callback, RecordedCallback) else None
    return {
        "id": str(callback.id),
        "vendor": callback.vendor,
        "app_id": callback.app_id,
        "event_type": callback.event_type,
        "received_at": format_time(callback.received_at),
        "event_at": format_time(callback.event_at),
        "applied_at": format_time(callback.applied_at),
        "verdict": callback.verdict,
        "reason": callback.reason,
        "error": callback.error if keys or callback.error is None else masking.HIDDEN,
        "task_id": callback.task_id,
        "masked": not keys,
        "size": callback.size,
        "headers": dict(whole.headers) if whole else None,
        "body": _as_text(whole.body) if whole else None,
        "body_base64": base64.b64encode(whole.body).decode() if whole else None,
    }


def _as_text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


#: Reasons whose details do not quote the request.
_OUR_WORDS = frozenset({Rejection.BAD_SIGNATURE.value, Rejection.TOO_LARGE.value})


def render_rejection(refused: RejectedCallback, *, keys: bool) -> dict[str, Any]:
    shown = {field.name: getattr(refused, field.name) for field in fields(RejectedCallback)}
    shown["at"] = format_time(refused.at)
    if keys:
        return shown
    quoted = {name: shown[name] for name in ("app_id", "detail") if refused.reason not in _OUR_WORDS}
    return {**shown, **masking.without_keys(quoted)}
