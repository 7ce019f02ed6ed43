"""What is so for all tasks of a kind, or follows from the parameters of its start call (the API pages)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from adapters.vendors.reading_builders import param
from adapters.vendors.volcengine.api import IDLE
from statemachine.rules import Rules
from statemachine.states import Kind

_HOUR_S = 3600
# Get*Task knows tasks started in the last 72 h.
_REACH_S = 72 * _HOUR_S
_RELAY_LIFE_S = 72 * _HOUR_S
_FINISH_UNHEARD_S = 600


def rules_of(kind: Kind, params: Mapping[str, Any], askable: bool) -> Rules:
    """askable: a query settles how it stands, so that looking early does no harm."""
    return replace(_RULES[kind](params, askable), repeatable=True)  # ids are the caller's: the same start starts once


def _push(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(single_output=True, idle_s=_idle_s(Kind.PUSH, askable, params, "Control"), reach_s=_REACH_S)


def _ingest(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(life_s=_RELAY_LIFE_S, life_margin_s=300, idle_s=_idle_s(Kind.INGEST, askable, params))


def _record(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(
        life_s=param(params, "Control", "MaxRecordTime"),
        idle_s=_idle_s(Kind.RECORD, askable, params, "Control"),
        finish_unheard_s=_FINISH_UNHEARD_S,
        reach_s=_REACH_S,
    )


def _page(params: Mapping[str, Any], askable: bool) -> Rules:
    return Rules(finish_unheard_s=_FINISH_UNHEARD_S, reach_s=_REACH_S)


def _idle_s(kind: Kind, askable: bool, params: Mapping[str, Any], *path: str) -> int:
    """MaxIdleTime; not known: the default if the task can be asked, else the longest."""
    return param(params, *path, "MaxIdleTime") or (IDLE[kind].default_s if askable else IDLE[kind].longest_s)


_RULES: Mapping[Kind, Callable[[Mapping[str, Any], bool], Rules]] = {
    Kind.PUSH: _push,
    Kind.INGEST: _ingest,
    Kind.RECORD: _record,
    Kind.PAGE: _page,
}
