"""The rules of each kind of task: fixed ones, and those that follow from the parameters of its start (the API pages)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from adapters.vendors.reading_builders import positive_param
from adapters.vendors.volcengine.api import IDLE
from statemachine.rules import Rules
from statemachine.states import Kind

_HOUR_S = 3600
# Get*Task finds tasks that were started in the last 72 h.
_REACH_S = 72 * _HOUR_S
_RELAY_LIFE_S = 72 * _HOUR_S
_FINISH_UNHEARD_S = 600


def rules_of(kind: Kind, params: Mapping[str, Any], askable: bool) -> Rules:
    """Returns the rules of a task. askable: a query tells its state, so that an early query does no harm."""
    return replace(_RULES[kind](params, askable), repeatable=True)  # the caller chooses the ids: a repeated start starts one task


def _push_rules(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(single_output=True, idle_s=_idle_s(Kind.PUSH, askable, params, "Control"), reach_s=_REACH_S)


def _ingest_rules(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(life_s=_RELAY_LIFE_S, life_margin_s=300, idle_s=_idle_s(Kind.INGEST, askable, params))


def _record_rules(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(
        life_s=positive_param(params, "Control", "MaxRecordTime"),
        idle_s=_idle_s(Kind.RECORD, askable, params, "Control"),
        finish_unheard_s=_FINISH_UNHEARD_S,
        reach_s=_REACH_S,
    )


def _page_rules(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(finish_unheard_s=_FINISH_UNHEARD_S, reach_s=_REACH_S)


def _idle_s(kind: Kind, askable: bool, params: Mapping[str, Any], *path: str) -> int:
    """Returns MaxIdleTime; if unknown, the default for a task that can be queried, else the maximum."""
    return positive_param(params, *path, "MaxIdleTime") or (IDLE[kind].default_s if askable else IDLE[kind].longest_s)


_RULES: Mapping[Kind, Callable[[Mapping[str, Any], bool], Rules]] = {
    Kind.PUSH: _push_rules,
    Kind.INGEST: _ingest_rules,
    Kind.RECORD: _record_rules,
    Kind.PAGE: _page_rules,
}
