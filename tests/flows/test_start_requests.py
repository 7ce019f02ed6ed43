"""A start request reaches the inbox through the whole application."""

from pathlib import Path

import pytest

from adapters.ledger import inbox
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import TENCENT_APP, VOLCENGINE_APPS
from tests.support.start_calls import params

T0 = 1_768_960_800_000
ASKED = [
    {
        "vendor": "volcengine",
        "action": "StartRelayStream",
        "params": params("volcengine", "StartRelayStream", AppId=VOLCENGINE_APPS[0]),
    },
    {
        "vendor": "tencent",
        "action": "StartStreamIngest",
        "params": params("tencent", "StartStreamIngest", SdkAppId=int(TENCENT_APP)),
    },
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: str(asked["vendor"]))
def test_it_waits_for_a_worker_and_can_be_asked_for(tmp_path: Path, asked: dict[str, object]) -> None:
    with InProcessApp(tmp_path, T0, accounts=True).open() as house:
        answer = house.client.post("/v1/tasks", json=asked)

        assert (answer.status_code, house.notified) == (202, 1), answer.text
        assert house.get(answer.headers["location"]) == answer.json()
        assert house.get(f"{answer.headers['location']}/timeline")["items"] == []
        with house.ledger.read() as connection:
            (row,) = inbox.unapplied(connection, 9)
        assert (row.kind, row.payload["task_id"]) == (inbox.START, answer.json()["id"])


def test_of_an_app_without_an_account_nothing_is_started(tmp_path: Path) -> None:
    with InProcessApp(tmp_path, T0).open() as house:
        answer = house.client.post("/v1/tasks", json=ASKED[0])

        assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, ["AppId"])
