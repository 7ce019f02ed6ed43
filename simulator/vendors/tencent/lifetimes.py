"""Lifetimes of tasks: their durations and possible ends (the API pages)."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors.reading_builders import positive_param
from adapters.vendors.tencent.api import IDLE
from simulator.plan import Cause
from simulator.tasks import Lifetime
from statemachine.states import Kind

_S = 1000
_MINUTE_MS = 60 * _S
#: Interval of a relay's repeated CONNECTING and RECOVERING events.
_REPEAT_MS = 5 * _S
_LONGEST_PAGE_S = 86_400
_FOR_EVER = -1

_OF_RELAY = frozenset({Cause.IDLE, Cause.CRASHED, Cause.REMOVED, Cause.DISMISSED})
_OF_INGEST = frozenset({Cause.FINISHED, Cause.CRASHED, Cause.BAD_SOURCE, Cause.DISMISSED})
_OF_RECORD = frozenset({Cause.IDLE, Cause.CRASHED, Cause.REFUSED, Cause.REMOVED, Cause.DISMISSED})
_OF_PAGE = frozenset({Cause.CRASHED, Cause.REFUSED, Cause.BAD_SOURCE})

Params = Mapping[str, Any]


def lifetime_of(kind: Kind, params: Params) -> Lifetime:
    """Returns the lifetime of a task with these start parameters."""
    return _LIFETIMES[kind](params)


def _relay_lifetime(params: Params) -> Lifetime:
    idle_s = positive_param(params, "AgentParams", "MaxIdleTime") or IDLE[Kind.PUSH].default_s
    return Lifetime(endings=_OF_RELAY, idle_ms=idle_s * _S, repeat_ms=_REPEAT_MS)


def _ingest_lifetime(params: Params) -> Lifetime:
    """Returns the lifetime of an ingest. One that repeats for ever ends only by MaxDuration, besides calls and errors."""
    for_ever = params.get("RepeatNum") == _FOR_EVER
    minutes = positive_param(params, "MaxDuration") if for_ever else None
    return Lifetime(
        endings=_OF_INGEST - {Cause.FINISHED} if for_ever else _OF_INGEST,
        life_ms=minutes * _MINUTE_MS if minutes else None,
    )


def _record_lifetime(params: Params) -> Lifetime:
    idle_s = positive_param(params, "RecordParams", "MaxIdleTime") or IDLE[Kind.RECORD].default_s
    return Lifetime(endings=_OF_RECORD, idle_ms=idle_s * _S, files=True)


def _page_lifetime(params: Params) -> Lifetime:
    life_s = positive_param(params, "MaxDurationLimit") or _LONGEST_PAGE_S
    return Lifetime(endings=_OF_PAGE, life_ms=life_s * _S, files=True)


_LIFETIMES: Mapping[Kind, Callable[[Params], Lifetime]] = {
    Kind.PUSH: _relay_lifetime,
    Kind.INGEST: _ingest_lifetime,
    Kind.RECORD: _record_lifetime,
    Kind.PAGE: _page_lifetime,
}
