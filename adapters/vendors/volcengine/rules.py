"""What is so for all tasks of a kind, or follows from the parameters of its start call (the API pages)."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors.readings import param
from adapters.vendors.volcengine.api import IDLE
from statemachine.facts import Rules
from statemachine.states import Kind

_HOUR_S = 3600
# Get*Task knows tasks started in the last 72 h.
_REACH_S = 72 * _HOUR_S
_RELAY_LIFE_S = 72 * _HOUR_S
_FINISH_UNHEARD_S = 600


def rules_of(kind: Kind, params: Mapping[str, Any]) -> Rules:
    return _RULES[kind](params)


def _push(params: Mapping[str, Any]) -> Rules:
    return Rules(single_output=True, idle_s=_idle_s(Kind.PUSH, params), reach_s=_REACH_S)


def _ingest(params: Mapping[str, Any]) -> Rules:
    idle_s = param(params, "MaxIdleTime") or IDLE[Kind.INGEST].longest_s
    return Rules(life_s=_RELAY_LIFE_S, life_margin_s=300, idle_s=idle_s)


def _record(params: Mapping[str, Any]) -> Rules:
    return Rules(
        life_s=param(params, "Control", "MaxRecordTime"),
        idle_s=_idle_s(Kind.RECORD, params),
        finish_unheard_s=_FINISH_UNHEARD_S,
        reach_s=_REACH_S,
    )


def _page(params: Mapping[str, Any]) -> Rules:
    return Rules(finish_unheard_s=_FINISH_UNHEARD_S, reach_s=_REACH_S)


def _idle_s(kind: Kind, params: Mapping[str, Any]) -> int:
    return param(params, "Control", "MaxIdleTime") or IDLE[kind].longest_s


_RULES: Mapping[Kind, Callable[[Mapping[str, Any]], Rules]] = {
    Kind.PUSH: _push,
    Kind.INGEST: _ingest,
    Kind.RECORD: _record,
    Kind.PAGE: _page,
}
