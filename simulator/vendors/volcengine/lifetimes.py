"""How long tasks live and what can end them (the API pages)."""

from collections.abc import Callable, Mapping
from typing import Any

from adapters.vendors.reading_builders import param
from adapters.vendors.volcengine.api import IDLE
from simulator.plan import Cause
from simulator.protocol import Setting
from simulator.tasks import Nature
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


def nature_of(kind: Kind, params: Params, setting: Setting) -> Nature:
    return _NATURES[kind](params, setting)


def _push(params: Params, _: Setting) -> Nature:
    return Nature(endings=_OF_PUSH, idle_ms=_idle_ms(Kind.PUSH, param(params, "Control", "MaxIdleTime")))


def _record(params: Params, _: Setting) -> Nature:
    life_s = param(params, "Control", "MaxRecordTime")
    return Nature(
        endings=_OF_RECORD,
        idle_ms=_idle_ms(Kind.RECORD, param(params, "Control", "MaxIdleTime")),
        life_ms=life_s * _S if life_s else None,
        files=True,
    )


def _relay(params: Params, setting: Setting) -> Nature:
    looped = bool(params["Control"].get("Loop"))
    planned: int = params["Control"].get("StartTimeStamp", 0)
    return Nature(
        endings=_OF_RELAY - {Cause.FINISHED} if looped else _OF_RELAY,
        idle_ms=_idle_ms(Kind.INGEST, param(params, "MaxIdleTime")),
        life_ms=_RELAY_LIFE_MS,
        starts_at=setting.lived(planned * _S) if planned else 0,
    )


def _page(params: Params, _: Setting) -> Nature:
    life_s = param(params, "MaxRunningTime")
    return Nature(endings=_OF_PAGE, life_ms=life_s * _S if life_s else None)


def _idle_ms(kind: Kind, seconds: int | None) -> int:
    return (seconds or IDLE[kind].default_s) * _S


_NATURES: Mapping[Kind, Callable[[Params, Setting], Nature]] = {
    Kind.PUSH: _push,
    Kind.RECORD: _record,
    Kind.INGEST: _relay,
    Kind.PAGE: _page,
}
