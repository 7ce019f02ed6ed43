"""The table of the API (34260): operation, kind and parameters of each action. Each may be called 20 times per second."""

from collections.abc import Mapping

from adapters.vendors.calls import IdleTime, Operation
from adapters.vendors.catalogue import Api, Catalogue
from adapters.vendors.parameters import Shape
from adapters.vendors.tencent import parameters as p
from statemachine.states import Kind

_VERSION = "2019-07-22"
#: Calls/s per account and API.
_QUOTA = 20


def _api_row(operation: Operation, kind: Kind, shape: Shape) -> Api:
    return Api(operation=operation, kind=kind, quota=_QUOTA, versions={_VERSION: shape})


_START, _UPDATE, _STOP, _ASK = Operation.START, Operation.UPDATE, Operation.STOP, Operation.INSPECT

API: Catalogue = {
    "StartPublishCdnStream": _api_row(_START, Kind.PUSH, p.RELAY),
    "UpdatePublishCdnStream": _api_row(_UPDATE, Kind.PUSH, p.RELAY_UPDATE),
    "StopPublishCdnStream": _api_row(_STOP, Kind.PUSH, p.RELAY_STOP),
    "StartStreamIngest": _api_row(_START, Kind.INGEST, p.INGEST),
    "UpdateStreamIngest": _api_row(_UPDATE, Kind.INGEST, p.INGEST_UPDATE),
    "StopStreamIngest": _api_row(_STOP, Kind.INGEST, p.BY_TASK),
    "DescribeStreamIngest": _api_row(_ASK, Kind.INGEST, p.BY_TASK),
    "CreateCloudRecording": _api_row(_START, Kind.RECORD, p.RECORD),
    "ModifyCloudRecording": _api_row(_UPDATE, Kind.RECORD, p.RECORD_UPDATE),
    "DeleteCloudRecording": _api_row(_STOP, Kind.RECORD, p.BY_TASK),
    "DescribeCloudRecording": _api_row(_ASK, Kind.RECORD, p.RECORD_QUERY),
    "StartWebRecord": _api_row(_START, Kind.PAGE, p.PAGE),
    "StopWebRecord": _api_row(_STOP, Kind.PAGE, p.PAGE_STOP),
    "DescribeWebRecord": _api_row(_ASK, Kind.PAGE, p.PAGE_QUERY),
}

#: MaxIdleTime of AgentParams and of RecordParams. Ingests have none by default, pages none at all.
IDLE: Mapping[Kind, IdleTime] = {
    Kind.PUSH: IdleTime(default_s=30, longest_s=86_400),
    Kind.RECORD: IdleTime(default_s=30, longest_s=86_400),
}
