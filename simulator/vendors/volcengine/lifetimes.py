"""Lifetimes of tasks: their durations and possible ends (the API pages)."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors.reading_builders import positive_param
from adapters.vendors.volcengine.api import IDLE
from simulator.plan import Cause
from simulator.protocol import WorldContext
from simulator.tasks import Lifetime
from statemachine.states import Kind

_S = 1000
_RELAY_LIFE_MS = 72 * 3600 * _S

_OF_PUSH = frozenset({Cause.IDLE, Cause.CRASHED, Cause.REFUSED, Cause.BAD_SOURCE, Cause.REMOVED})
_OF_RECORD = frozenset({Cause.IDLE, Cause.CRASHED, Cause.REFUSED})
_OF_PAGE = frozenset({Cause.FINISHED, Cause.CRASHED})
_OF_RELAY = frozenset(
    {
        Cause.FINISHED,
        Cause.IDLE,
        Cause.CRASHED,
        Cause.BAD_SOURCE,
        Cause.BAD_CODEC,
        Cause.BAD_TOKEN,
        Cause.NO_PERMISSION,
        Cause.REMOVED,
    }
)

Params = Mapping[str, Any]


def lifetime_of(kind: Kind, params: Params, context: WorldContext) -> Lifetime:
    """Returns the lifetime of a task with these start parameters."""
    return _LIFETIMES[kind](params, context)


def _push_lifetime(params: Params, _: WorldContext) -> Lifetime:
    return Lifetime(endings=_OF_PUSH, idle_ms=_idle_ms(Kind.PUSH, positive_param(params, "Control", "MaxIdleTime")))


def _record_lifetime(params: Params, _: WorldContext) -> Lifetime:
    life_s = positive_param(params, "Control", "MaxRecordTime")
    return Lifetime(
        endings=_OF_RECORD,
        idle_ms=_idle_ms(Kind.RECORD, positive_param(params, "Control", "MaxIdleTime")),
        life_ms=life_s * _S if life_s else None,
        files=True,
    )


def _relay_lifetime(params: Params, context: WorldContext) -> Lifetime:
    looped = bool(params["Control"].get("Loop"))
    planned: int = params["Control"].get("StartTimeStamp", 0)
    return Lifetime(
        endings=_OF_RELAY - {Cause.FINISHED} if looped else _OF_RELAY,
        idle_ms=_idle_ms(Kind.INGEST, positive_param(params, "MaxIdleTime")),
        life_ms=_RELAY_LIFE_MS,
        starts_at=context.world_ms(planned * _S) if planned else 0,
    )


def _page_lifetime(params: Params, _: WorldContext) -> Lifetime:
    life_s = positive_param(params, "MaxRunningTime")
    return Lifetime(endings=_OF_PAGE, life_ms=life_s * _S if life_s else None)


def _idle_ms(kind: Kind, seconds: int | None) -> int:
    return (seconds or IDLE[kind].default_s) * _S


_LIFETIMES: Mapping[Kind, Callable[[Params, WorldContext], Lifetime]] = {
    Kind.PUSH: _push_lifetime,
    Kind.RECORD: _record_lifetime,
    Kind.INGEST: _relay_lifetime,
    Kind.PAGE: _page_lifetime,
}
