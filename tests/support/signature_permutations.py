"""Signed callbacks of the vendor that hashes sorted values, and every way in which their values can change places."""

import json
from collections.abc import Iterator
from itertools import pairwise, permutations
from typing import Any

from adapters.vendors import DIALECTS, CallbackRejected, Envelope
from tests.support.sample_apps import SAMPLES, VOLCENGINE_APPS, VOLCENGINE_KEY

FIELDS = ("EventType", "EventData", "EventTime", "EventId", "AppId", "Version", "Nonce")
SIGNED = [sample["body"] for sample in json.loads((SAMPLES / "volcengine.json").read_text()) if "secret" in sample]


def variants(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All 5,040 callbacks that have these values, each in any field, and so the same signature; the first is the one given."""
    values = [body[name] for name in FIELDS]
    for permuted in permutations(values):
        yield body | dict(zip(FIELDS, permuted, strict=True))


def shifted(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those in which bytes have moved from a value to the one behind it in the order of signing, or back."""
    named = sorted((body[name], name) for name in FIELDS)
    for (value, name), (after, name_after) in pairwise(named):
        joined = value + after
        for cut in range(len(joined) + 1):
            yield body | {name: joined[:cut], name_after: joined[cut:]}


def accepted(body: dict[str, Any]) -> Envelope | None:
    try:
        return DIALECTS["volcengine"].verify({}, raw(body), dict.fromkeys(VOLCENGINE_APPS, (VOLCENGINE_KEY,)).get)
    except CallbackRejected:
        return None


def raw(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
