"""How long tasks live and what can end them (the API pages)."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors.reading_builders import param
from adapters.vendors.tencent.api import IDLE
from simulator.plan import Cause
from simulator.tasks import Nature
from statemachine.states import Kind

_S = 1000
_MINUTE_MS = 60 * _S
#: A relay's CONNECTING and RECOVERING are told again so often.
_REPEAT_MS = 5 * _S
_LONGEST_PAGE_S = 86_400
_FOR_EVER = -1

_OF_RELAY = frozenset({Cause.IDLE, Cause.CRASHED, Cause.REMOVED, Cause.DISMISSED})
_OF_INGEST = frozenset({Cause.FINISHED, Cause.CRASHED, Cause.BAD_SOURCE, Cause.DISMISSED})
_OF_RECORD = frozenset({Cause.IDLE, Cause.CRASHED, Cause.REFUSED, Cause.REMOVED, Cause.DISMISSED})
_OF_PAGE = frozenset({Cause.CRASHED, Cause.REFUSED, Cause.BAD_SOURCE})

Params = Mapping[str, Any]


def nature_of(kind: Kind, params: Params) -> Nature:
    return _NATURES[kind](params)


def _relay(params: Params) -> Nature:
    idle_s = param(params, "AgentParams", "MaxIdleTime") or IDLE[Kind.PUSH].default_s
    return Nature(endings=_OF_RELAY, idle_ms=idle_s * _S, repeat_ms=_REPEAT_MS)


def _ingest(params: Params) -> Nature:
    """What is repeated for ever ends by MaxDuration only."""
    for_ever = params.get("RepeatNum") == _FOR_EVER
    minutes = param(params, "MaxDuration") if for_ever else None
    return Nature(
        endings=_OF_INGEST - {Cause.FINISHED} if for_ever else _OF_INGEST,
        life_ms=minutes * _MINUTE_MS if minutes else None,
    )


def _record(params: Params) -> Nature:
    idle_s = param(params, "RecordParams", "MaxIdleTime") or IDLE[Kind.RECORD].default_s
    return Nature(endings=_OF_RECORD, idle_ms=idle_s * _S, files=True)


def _page(params: Params) -> Nature:
    life_s = param(params, "MaxDurationLimit") or _LONGEST_PAGE_S
    return Nature(endings=_OF_PAGE, life_ms=life_s * _S, files=True)


_NATURES: Mapping[Kind, Callable[[Params], Nature]] = {
    Kind.PUSH: _relay,
    Kind.INGEST: _ingest,
    Kind.RECORD: _record,
    Kind.PAGE: _page,
}
