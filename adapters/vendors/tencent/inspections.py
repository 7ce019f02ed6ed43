"""Reads the answers of query calls (API pages 72066, 46959, 72065)."""

from collections.abc import Callable, Mapping

from adapters.vendors.answers import GONE
from adapters.vendors.calls import Call, Inspection, Sign
from adapters.vendors.json_fields import Fields
from adapters.vendors.tencent.files import stored_files

_WEB_RECORDING = 1


def read_inspection(call: Call, response: Fields) -> Inspection | None:
    """Returns the task's inspection; None if its Status is not documented."""
    return _OF_ACTION[call.action](response)


def _ingest_inspection(response: Fields) -> Inspection | None:
    return {"InProgress": Inspection(sign=Sign.RUNNING), "NotExist": GONE}.get(response.text("Status") or "")


_SIGN_OF_RECORDING: Mapping[str, Sign] = {
    "InProgress": Sign.RUNNING,
    "Idle": Sign.NO_MEDIA,
    "Exited": Sign.CAPTURE_ENDED,
}


def _recording_inspection(response: Fields) -> Inspection | None:
    sign = _SIGN_OF_RECORDING.get(response.text("Status") or "")
    return None if sign is None else Inspection(sign=sign, files=stored_files(response))


def _page_inspection(response: Fields) -> Inspection | None:
    """Reads DescribeWebRecord. For an ended task its answer is an error, "task not exist"."""
    return Inspection(sign=Sign.RUNNING) if response.integer("Status") == _WEB_RECORDING else None


_OF_ACTION: Mapping[str, Callable[[Fields], Inspection | None]] = {
    "DescribeStreamIngest": _ingest_inspection,
    "DescribeCloudRecording": _recording_inspection,
    "DescribeWebRecord": _page_inspection,
}
