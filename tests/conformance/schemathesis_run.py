"""Asks a running Tallylight what its OpenAPI document allows, and what it does not, and checks each answer against the document."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.sample_apps import tencent
from tests.support.server_processes import Process, up, write_config

ROLES = ("viewer", "operator")
TOKENS = {role: f"{role}-0123456789abcdef" for role in ROLES}
_AT = 1_700_000_000_000
#: No 5xx that is not documented, and nothing outside the document: status, media type, headers, body; wrong requests are refused.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


@contextmanager
def running(folder: Path) -> Iterator[Process]:
    """One with a token for each role, tasks, callbacks, refusals and subscriptions."""
    tokens = "\n".join(f'[[tokens]]\nname = "{role}"\nrole = "{role}"\ntoken = "{token}"' for role, token in TOKENS.items())
    process = up(write_config(folder, open_desk=False, more=f'[outbound]\nallow = ["127.0.0.0/8"]\nallow_http = true\n{tokens}'))
    try:
        for number in range(20):
            info = {"RoomId": f"r{number}", "EventMsTs": _AT, "UserId": "u", "TaskId": f"t{number}", "Payload": {"Status": 0}}
            vendor, body, headers = tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": _AT, "EventInfo": info})
            for signed in (headers, {**headers, "Sign": "no"}):
                _ask(process, "POST", f"/callbacks/{vendor}", body, signed)
        sink = {"sink": {"type": "webhook", "url": "http://127.0.0.1:9/"}}
        for _ in range(3):
            _ask(process, "POST", "/v1/subscriptions", json.dumps(sink).encode(), _bearer("operator"))
        yield process
    finally:
        process.kill()


def conforms(process: Process, role: str, *options: str) -> str:
    """What `schemathesis run` says of all that this role may ask. Fails where an answer is not as it should be."""
    url = f"http://127.0.0.1:{process.port}/openapi.json"
    config = str(Path(__file__).with_name("schemathesis.toml"))
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        config,
        "run",
        url,
        "--checks",
        ",".join(CHECKS),
        "--no-color",
        "--no-shrink",
    ]
    command += ["-H", f"Authorization: Bearer {TOKENS[role]}", "--exclude-path", "/v1/events/stream"]  # that one does not end
    hooks = {
        "SCHEMATHESIS_HOOKS": "tests.conformance.hooks",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TALLY_CONFORMANCE_IDS": json.dumps(_there(process)),
    }
    run = subprocess.run(
        [*command, *options], env={**os.environ, **hooks}, capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    return run.stdout


def _there(process: Process) -> dict[str, list[str]]:
    return {
        f"{path}/": [item["id"] for item in _ask(process, "GET", path, headers=_bearer("operator"))["items"]]
        for path in ("/v1/tasks", "/v1/callbacks", "/v1/subscriptions")
    }


def _bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role]}"}


def _ask(process: Process, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
    connection.request(method, path, body, dict(headers or {}))
    said = connection.getresponse().read()
    connection.close()
    return json.loads(said)
