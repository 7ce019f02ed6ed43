"""The rules of each kind of task: fixed ones, and those that follow from the parameters of its start (the API pages)."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors.json_fields import as_integer
from adapters.vendors.reading_builders import positive_param
from adapters.vendors.tencent.api import IDLE
from statemachine.rules import Rules
from statemachine.states import Kind

_MINUTE_S = 60
_HOUR_S = 3600
# Update and Stop accept a relay's TaskId for 30 days.
_RELAY_REACH_S = 30 * 24 * _HOUR_S
# Default of ResourceExpiredHour: hours for which Describe, Modify and Delete accept a recording.
_RESOURCE_EXPIRED_HOUR = 72
_FOR_EVER = -1
# Callbacks of a stream ingest do not name its start: an ingest that begins within this time after a start may be its task.
_MEETS_S = 60


def rules_of(kind: Kind, params: Mapping[str, Any], askable: bool) -> Rules:
    """Returns the rules of a task. askable: a query tells its state, so that an early query does no harm."""
    return _RULES[kind](params, askable)


def _push_rules(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(single_run=True, idle_s=_idle_s(Kind.PUSH, askable, params, "AgentParams"), reach_s=_RELAY_REACH_S)


def _ingest_rules(params: Mapping[str, Any], askable: bool) -> Rules:
    minutes = positive_param(params, "MaxDuration")
    # The vendor applies MaxDuration only to a stream that is repeated for ever.
    repeated = params.get("RepeatNum")
    is_limited = repeated is None or as_integer(repeated) == _FOR_EVER
    life_s = minutes * _MINUTE_S if minutes is not None and is_limited else None
    return Rules(single_run=True, life_s=life_s, life_margin_s=60, meets_s=_MEETS_S)


def _record_rules(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(
        single_run=True,
        idle_s=_idle_s(Kind.RECORD, askable, params, "RecordParams"),
        reach_s=(positive_param(params, "ResourceExpiredHour") or _RESOURCE_EXPIRED_HOUR) * _HOUR_S,
        repeatable=True,
        replaces=True,  # a task with the same robot id evicts the one before
    )


def _page_rules(params: Mapping[str, Any], askable: bool) -> Rules:
    # The RecordId of the start names the task before its TaskId is known.
    return Rules(single_run=True, life_s=positive_param(params, "MaxDurationLimit"), repeatable=True, askable_unnamed=askable)


def _idle_s(kind: Kind, askable: bool, params: Mapping[str, Any], *path: str) -> int:
    """Returns MaxIdleTime; if unknown, the default for a task that can be queried, else the maximum."""
    return positive_param(params, *path, "MaxIdleTime") or (IDLE[kind].default_s if askable else IDLE[kind].longest_s)


_RULES: Mapping[Kind, Callable[[Mapping[str, Any], bool], Rules]] = {
    Kind.PUSH: _push_rules,
    Kind.INGEST: _ingest_rules,
    Kind.RECORD: _record_rules,
    Kind.PAGE: _page_rules,
}
