"""The API as a table (34260): what each action does, and its parameters. All may be called 20 times a second."""

from collections.abc import Mapping

from adapters.vendors.calls import IdleTime, Operation
from adapters.vendors.catalogue import Api, Catalogue
from adapters.vendors.parameters import Shape
from adapters.vendors.tencent import parameters as p
from statemachine.states import Kind

_VERSION = "2019-07-22"
_QUOTA = 20


def _api(operation: Operation, kind: Kind, shape: Shape) -> Api:
    return Api(operation=operation, kind=kind, quota=_QUOTA, versions={_VERSION: shape})


_START, _UPDATE, _STOP, _ASK = Operation.START, Operation.UPDATE, Operation.STOP, Operation.INSPECT

API: Catalogue = {
    "StartPublishCdnStream": _api(_START, Kind.PUSH, p.RELAY),
    "UpdatePublishCdnStream": _api(_UPDATE, Kind.PUSH, p.RELAY_UPDATE),
    "StopPublishCdnStream": _api(_STOP, Kind.PUSH, p.RELAY_STOP),
    "StartStreamIngest": _api(_START, Kind.INGEST, p.INGEST),
    "UpdateStreamIngest": _api(_UPDATE, Kind.INGEST, p.INGEST_UPDATE),
    "StopStreamIngest": _api(_STOP, Kind.INGEST, p.BY_TASK),
    "DescribeStreamIngest": _api(_ASK, Kind.INGEST, p.BY_TASK),
    "CreateCloudRecording": _api(_START, Kind.RECORD, p.RECORD),
    "ModifyCloudRecording": _api(_UPDATE, Kind.RECORD, p.RECORD_UPDATE),
    "DeleteCloudRecording": _api(_STOP, Kind.RECORD, p.BY_TASK),
    "DescribeCloudRecording": _api(_ASK, Kind.RECORD, p.RECORD_QUERY),
    "StartWebRecord": _api(_START, Kind.PAGE, p.PAGE),
    "StopWebRecord": _api(_STOP, Kind.PAGE, p.PAGE_STOP),
    "DescribeWebRecord": _api(_ASK, Kind.PAGE, p.PAGE_QUERY),
}

#: MaxIdleTime of AgentParams and of RecordParams. Ingest has none by default, pages have none at all.
IDLE: Mapping[Kind, IdleTime] = {
    Kind.PUSH: IdleTime(default_s=30, longest_s=86_400),
    Kind.RECORD: IdleTime(default_s=30, longest_s=86_400),
}
