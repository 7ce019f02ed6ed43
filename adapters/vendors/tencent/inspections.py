"""What a query's answer says of a task (API pages 72066, 46959, 72065; the choices are those of mapping.md)."""

from collections.abc import Callable, Mapping

from adapters.vendors.answers import GONE
from adapters.vendors.calls import Call, Inspection, Sign
from adapters.vendors.json_fields import Fields
from adapters.vendors.tencent.files import stored

_WEB_RECORDING = 1


def inspected(call: Call, response: Fields) -> Inspection | None:
    """None: its Status is not documented."""
    return _OF_ACTION[call.action](response)


def _ingest(response: Fields) -> Inspection | None:
    return {"InProgress": Inspection(sign=Sign.RUNNING), "NotExist": GONE}.get(response.text("Status") or "")


_SIGN_OF_RECORDING: Mapping[str, Sign] = {
    "InProgress": Sign.RUNNING,
    "Idle": Sign.NO_MEDIA,
    "Exited": Sign.CAPTURE_ENDED,
}


def _recording(response: Fields) -> Inspection | None:
    sign = _SIGN_OF_RECORDING.get(response.text("Status") or "")
    return None if sign is None else Inspection(sign=sign, files=stored(response))


def _page(response: Fields) -> Inspection | None:
    """Of an ended one the answer is an error, "task not exist"."""
    return Inspection(sign=Sign.RUNNING) if response.integer("Status") == _WEB_RECORDING else None


_OF_ACTION: Mapping[str, Callable[[Fields], Inspection | None]] = {
    "DescribeStreamIngest": _ingest,
    "DescribeCloudRecording": _recording,
    "DescribeWebRecord": _page,
}
