"""Any bytes, headers and query strings at the door give 200, 400, 401, 403 or 413 and a logged reason; never a 500."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ledger import inbox
from tests.support.hypothesis_effort import effort
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import tencent, volcengine

ALLOWED = {200, 400, 401, 403, 413}
NAMES = st.binary(min_size=1, max_size=12).map(lambda b: b.lower().replace(b"\x00", b"x"))
HEADERS = st.lists(
    st.tuples(st.sampled_from([b"sign", b"sdkappid", b"content-type", b"content-length"]) | NAMES, st.binary(max_size=40)),
    max_size=8,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
ENVELOPE_NAMES = ["EventType", "EventData", "EventTime", "EventId", "AppId", "Version", "Nonce", "Noce", "Signature"]
NEARLY = st.fixed_dictionaries({}, optional={name: JSON | st.sampled_from(["Your_AppId", "{}", 3, 301]) for name in ENVELOPE_NAMES})
BODIES = st.binary(max_size=200) | (JSON | NEARLY).map(lambda value: json.dumps(value).encode())
TIMES = st.sampled_from(["2023-03-21T15:32:04+08:00", "yesterday", "0001-01-01T00:00:00+08:00"])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessApp]:
    with InProcessApp(tmp_path_factory.mktemp("fuzz"), 1_768_960_000_000).open() as opened:
        yield opened


def knock(house: InProcessApp, vendor: str, body: bytes, headers: list[tuple[bytes, bytes]], query: bytes = b"") -> int:
    """Calls the application directly, without a client that would correct the request. A bug is raised, not answered 500."""
    sent: list[dict[str, Any]] = []
    chunks = [body[: len(body) // 2], body[len(body) // 2 :]]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/callbacks/{vendor}",
        "raw_path": b"",
        "root_path": "",
        "scheme": "http",
        "query_string": query,
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "http_version": "1.1",
    }
    assert house.client.portal is not None
    house.client.portal.call(house.app, scope, receive, send)
    answer = json.loads(sent[1]["body"])
    assert answer == {"code": 0} or answer["detail"]
    return int(sent[0]["status"])


@effort(200)
@given(st.sampled_from(["volcengine", "tencent"]), BODIES, HEADERS, st.binary(max_size=60))
def test_anything_gets_an_answer_with_a_reason(house: InProcessApp, vendor: str, body: bytes, headers, query: bytes):
    assert knock(house, vendor, body, headers, query) in ALLOWED


def sized(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(len(body)).encode())]


@effort(150)
@given(st.dictionaries(st.text(max_size=10) | st.sampled_from(ENVELOPE_NAMES), JSON, max_size=6))
def test_what_tencent_signed_rightly_is_always_taken(house: InProcessApp, body: dict[str, Any]):
    try:
        raw = json.dumps(body, allow_nan=False).encode()
    except ValueError:
        return
    vendor, raw, headers = tencent(raw)
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    assert knock(house, vendor, raw, pairs + sized(raw)) == 200
    house.applier.apply_waiting()
    with house.ledger.read() as connection:
        assert not inbox.any_waiting(connection)


@effort(100)
@given(
    st.text(min_size=1, max_size=20), JSON, st.sampled_from(["2023-03-21T15:32:04+08:00", "yesterday", "0001-01-01T00:00:00+08:00"])
)
def test_what_volcengine_signed_is_taken_or_refused_in_words(house: InProcessApp, event_type: str, data: Any, time: str):
    vendor, raw, _ = volcengine(event_type.encode("utf-8", "replace").decode(), json.dumps(data), time)
    assert knock(house, vendor, raw, sized(raw)) in {200, 400}


@pytest.mark.parametrize("vendor", ["volcengine", "tencent"])
def test_a_body_over_one_mebibyte_is_too_large(house: InProcessApp, vendor: str):
    assert knock(house, vendor, b"x" * (1024 * 1024 + 1), []) == 413
    assert knock(house, vendor, b"x", [(b"content-length", b"1048577")]) == 413


def test_a_sender_that_hangs_up_is_not_answered(house: InProcessApp):
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "headers": [], "client": None, "path": "/callbacks/tencent"}
    asyncio.run(house.app(scope, receive, send))


def test_other_methods_are_told_what_would_be_right(house: InProcessApp):
    answer = house.client.get("/callbacks/tencent")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_refusals_are_listed_with_their_reason_and_bounded(tmp_path: Path):
    with InProcessApp(tmp_path, 1_768_960_000_000).open() as house:
        vendor, body, headers = tencent({"EventInfo": {}}, key="wrong")
        assert house.post(vendor, body, headers) == 401
        assert house.post(vendor, body, headers | {"SdkAppId": "1"}) == 403
        assert house.post("volcengine", b"{", {}) == 400
    with InProcessApp(tmp_path, 1_768_960_000_000).open() as house:  # rejections are saved when the process ends
        rejections = house.get("/v1/rejections")["items"]
        assert [r["reason"] for r in rejections] == ["malformed", "unknown_app", "bad_signature"]
        assert house.get("/v1/stats")["callbacks"]["rejected"] == 3


def test_a_wrong_path_is_refused_in_words_and_listed(tmp_path: Path):
    with InProcessApp(tmp_path, 1_768_960_000_000).open() as house:
        answer = house.client.post("/callbacks/byteplus", content=b"{}")
        assert answer.status_code == 404
        assert "change it to /callbacks/tencent or /callbacks/volcengine" in answer.json()["detail"]
    with InProcessApp(tmp_path, 1_768_960_000_000).open() as house:
        assert [r["reason"] for r in house.get("/v1/rejections")["items"]] == ["wrong_path"]


def test_a_slash_too_many_is_forgiven(house: InProcessApp):
    vendor, body, headers = tencent({"EventGroupId": 2, "EventType": 204, "EventInfo": {}})
    assert house.client.post(f"/callbacks/{vendor}/", content=body, headers=headers).status_code == 200
