"""The table of the API: versions, quotas and parameters of each action (section headings of 69828; the API pages)."""

from collections.abc import Iterable, Mapping

from adapters.vendors.calls import IdleTime, Operation
from adapters.vendors.catalogue import Api, Catalogue
from adapters.vendors.parameters import Shape
from adapters.vendors.volcengine import parameters as p
from statemachine.states import Kind

_OLDEST, _NEWEST = "2020-12-01", "2023-11-01"
_BOTH = (_OLDEST, _NEWEST)
_PUSH = (_OLDEST, "2023-06-01", _NEWEST)
_RECORD = (_OLDEST, "2022-06-01", "2023-06-01", _NEWEST)


def _api_row(operation: Operation, kind: Kind, shape: Shape, versions: Iterable[str], quota: int) -> Api:
    method = "GET" if operation is Operation.INSPECT else "POST"
    return Api(operation=operation, kind=kind, quota=quota, method=method, versions=dict.fromkeys(versions, shape))


_START, _UPDATE, _STOP, _ASK = Operation.START, Operation.UPDATE, Operation.STOP, Operation.INSPECT

API: Catalogue = {
    "StartPushSingleStreamToCDN": _api_row(_START, Kind.PUSH, p.SINGLE_PUSH, _PUSH, 150),
    "StartPushMixedStreamToCDN": _api_row(_START, Kind.PUSH, p.MIXED_PUSH, _PUSH, 150),
    "UpdatePushMixedStreamToCDN": _api_row(_UPDATE, Kind.PUSH, p.MIXED_PUSH_UPDATE, _PUSH, 150),
    "StopPushStreamToCDN": _api_row(_STOP, Kind.PUSH, p.STOPPED, _PUSH, 150),
    "GetPushSingleStreamToCDNTask": _api_row(_ASK, Kind.PUSH, p.PUSH_QUERY, _PUSH, 60),
    "GetPushMixedStreamToCDNTask": _api_row(_ASK, Kind.PUSH, p.PUSH_QUERY, _PUSH, 60),
    "StartRecord": Api(
        operation=_START,
        kind=Kind.RECORD,
        quota=60,
        versions={_OLDEST: p.OLDEST_RECORD, **dict.fromkeys(_RECORD[1:], p.RECORD)},
    ),
    "UpdateRecord": _api_row(_UPDATE, Kind.RECORD, p.RECORD_UPDATE, _RECORD, 60),
    "StopRecord": _api_row(_STOP, Kind.RECORD, p.RECORD_STOP, _RECORD, 60),
    "GetRecordTask": _api_row(_ASK, Kind.RECORD, p.STOPPED, _RECORD, 60),
    "StartRelayStream": _api_row(_START, Kind.INGEST, p.RELAY, _BOTH, 150),
    "UpdateRelayStream": _api_row(_UPDATE, Kind.INGEST, p.RELAY_UPDATE, _BOTH, 150),
    "StopRelayStream": _api_row(_STOP, Kind.INGEST, p.STOPPED, _BOTH, 150),
    "ListRelayStream": _api_row(_ASK, Kind.INGEST, p.RELAY_LIST, _BOTH, 150),
    "StartWebcast": _api_row(_START, Kind.PAGE, p.PAGE, _BOTH, 60),
    "StopWebcast": _api_row(_STOP, Kind.PAGE, p.STOPPED, _BOTH, 60),
    # 1188209 and the API registry spell it with a capital C.
    "GetWebCastTask": _api_row(_ASK, Kind.PAGE, p.STOPPED, _BOTH, 60),
}

#: MaxIdleTime (69835 for Control's; 1188210 for the relay's own). A page has none.
IDLE: Mapping[Kind, IdleTime] = {
    Kind.PUSH: IdleTime(default_s=180, longest_s=86_400),
    Kind.RECORD: IdleTime(default_s=180, longest_s=86_400),
    Kind.INGEST: IdleTime(default_s=300, longest_s=600),
}
