"""Start requests: good ones, ones that are changed in one place, and ones that are full of secrets."""

from typing import Any

import httpx2

from adapters.contract.masking import mask_at_path
from adapters.settings import Role
from adapters.vendors import DIALECTS
from tests.support.start_calls import STARTS, params
from tests.unit.callbacks.desk.desk_harness import DeskHarness

ACTIONS = list(STARTS)
#: An ingest whose id the caller chooses and whose life is limited: with a robot, and with a policy of renewal.
INGEST = ("volcengine", "StartRelayStream")
#: One whose id the vendor mints, with a robot.
MINTED = ("tencent", "StartStreamIngest")
SESAME = "sesame-0123456789"
STREAM_KEY = "streamkey-0123456789"


def body(vendor: str, action: str, number: int = 1, *, policy: Any = None, **more: Any) -> dict[str, Any]:
    """A good request; more: of its parameters."""
    asked = {"vendor": vendor, "action": action, "params": params(vendor, action, number, **more)}
    return asked if policy is None else {**asked, "policy": policy}


def start(world: DeskHarness, vendor: str, action: str, number: int = 1, **more: Any) -> httpx2.Response:
    return world.ask("POST", "/v1/tasks", json=body(vendor, action, number, **more))


def post(world: DeskHarness, asked: Any, *, role: Role = Role.OPERATOR, **more: Any) -> httpx2.Response:
    return world.ask("POST", "/v1/tasks", role=role, json=asked, **more)


def renewal(number: int = 1, **more: Any) -> dict[str, Any]:
    """A policy that goes with a start of INGEST of this number."""
    return {"renew": {"params": params(*INGEST, number, **{"TaskId": f"t{number}-b", "UserId": "robot-b", **more})}}


def with_secrets(vendor: str, action: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The same parameters; wherever the vendor's pages name a secret there is one, and a stream key in each url that is there."""
    for secret in DIALECTS[vendor].secret_paths(action):
        asked = mask_at_path(asked, secret.path, _keyed if secret.in_url else lambda _: SESAME)
    return asked


def _keyed(url: str) -> str:
    return f"{url.partition(':')[0]}://push.example.com/live/{STREAM_KEY}"
