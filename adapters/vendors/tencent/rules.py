"""What is so for all tasks of a kind, or follows from the parameters of its start call (the API pages)."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors.json_fields import as_integer
from adapters.vendors.reading_builders import param
from adapters.vendors.tencent.api import IDLE
from statemachine.rules import Rules
from statemachine.states import Kind

_MINUTE_S = 60
_HOUR_S = 3600
# Update and Stop know a relay's TaskId for 30 days.
_RELAY_REACH_S = 30 * 24 * _HOUR_S
# The default of ResourceExpiredHour: how long Describe, Modify and Delete know a recording.
_RESOURCE_EXPIRED_HOUR = 72
_FOR_EVER = -1
# Nothing in a stream ingest's callbacks says whose it is: one that begins so soon after a start may be its.
_MEETS_S = 60


def rules_of(kind: Kind, params: Mapping[str, Any], askable: bool) -> Rules:
    """askable: a query settles how it stands, so that looking early does no harm."""
    return _RULES[kind](params, askable)


def _push(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(single_run=True, idle_s=_idle_s(Kind.PUSH, askable, params, "AgentParams"), reach_s=_RELAY_REACH_S)


def _ingest(params: Mapping[str, Any], askable: bool) -> Rules:
    minutes = param(params, "MaxDuration")
    # The vendor heeds MaxDuration only of a stream that is repeated for ever.
    repeated = params.get("RepeatNum")
    heeded = repeated is None or as_integer(repeated) == _FOR_EVER
    life_s = minutes * _MINUTE_S if minutes is not None and heeded else None
    return Rules(single_run=True, life_s=life_s, life_margin_s=60, meets_s=_MEETS_S)


def _record(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(
        single_run=True,
        idle_s=_idle_s(Kind.RECORD, askable, params, "RecordParams"),
        reach_s=(param(params, "ResourceExpiredHour") or _RESOURCE_EXPIRED_HOUR) * _HOUR_S,
        repeatable=True,
        replaces=True,  # the same robot throws out the one before
    )


def _page(params: Mapping[str, Any], askable: bool) -> Rules:
    # A start's RecordId names it before its TaskId is known.
    return Rules(single_run=True, life_s=param(params, "MaxDurationLimit"), repeatable=True, askable_unnamed=askable)


def _idle_s(kind: Kind, askable: bool, params: Mapping[str, Any], *path: str) -> int:
    """MaxIdleTime; not known: the default if the task can be asked, else the longest."""
    return param(params, *path, "MaxIdleTime") or (IDLE[kind].default_s if askable else IDLE[kind].longest_s)


_RULES: Mapping[Kind, Callable[[Mapping[str, Any], bool], Rules]] = {
    Kind.PUSH: _push,
    Kind.INGEST: _ingest,
    Kind.RECORD: _record,
    Kind.PAGE: _page,
}
