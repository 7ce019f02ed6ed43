"""What is so for all tasks of a kind, or follows from the parameters of its start call (the API pages)."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors.readings import param
from adapters.vendors.tencent.api import IDLE
from adapters.vendors.wire import as_integer
from statemachine.facts import Rules
from statemachine.states import Kind

_MINUTE_S = 60
_HOUR_S = 3600
# Update and Stop know a relay's TaskId for 30 days.
_RELAY_REACH_S = 30 * 24 * _HOUR_S
# The default of ResourceExpiredHour: how long Describe, Modify and Delete know a recording.
_RESOURCE_EXPIRED_HOUR = 72
_FOR_EVER = -1


def rules_of(kind: Kind, params: Mapping[str, Any]) -> Rules:
    return _RULES[kind](params)


def _push(params: Mapping[str, Any]) -> Rules:
    idle_s = param(params, "AgentParams", "MaxIdleTime") or IDLE[Kind.PUSH].longest_s
    return Rules(single_run=True, idle_s=idle_s, reach_s=_RELAY_REACH_S)


def _ingest(params: Mapping[str, Any]) -> Rules:
    minutes = param(params, "MaxDuration")
    # The vendor heeds MaxDuration only of a stream that is repeated for ever.
    repeated = params.get("RepeatNum")
    heeded = repeated is None or as_integer(repeated) == _FOR_EVER
    life_s = minutes * _MINUTE_S if minutes is not None and heeded else None
    return Rules(single_run=True, life_s=life_s, life_margin_s=60)


def _record(params: Mapping[str, Any]) -> Rules:
    return Rules(
        single_run=True,
        idle_s=param(params, "RecordParams", "MaxIdleTime") or IDLE[Kind.RECORD].longest_s,
        reach_s=(param(params, "ResourceExpiredHour") or _RESOURCE_EXPIRED_HOUR) * _HOUR_S,
    )


def _page(params: Mapping[str, Any]) -> Rules:
    return Rules(single_run=True, life_s=param(params, "MaxDurationLimit"))


_RULES: Mapping[Kind, Callable[[Mapping[str, Any]], Rules]] = {
    Kind.PUSH: _push,
    Kind.INGEST: _ingest,
    Kind.RECORD: _record,
    Kind.PAGE: _page,
}
