"""Who may ask what."""

from pathlib import Path

import pytest

from adapters.settings import Role, ServerSettings, Settings
from callbacks.desk.endpoints import ENDPOINTS, GuardedEndpoint
from tests.unit.callbacks.desk.desk_harness import TOKENS, DeskHarness

WRONG = {"Authorization": "Bearer wrong-0123456789abcdef"}
GUARDED = [endpoint for endpoint in ENDPOINTS if isinstance(endpoint, GuardedEndpoint)]
FREE = [each for each in ENDPOINTS if not isinstance(each, GuardedEndpoint) and each.method == "GET"]


@pytest.mark.parametrize("endpoint", GUARDED, ids=lambda endpoint: endpoint.name)
def test_without_a_token_nothing_is_told(world: DeskHarness, endpoint: GuardedEndpoint) -> None:
    answer = world.ask(endpoint.method, endpoint.path.replace("{id}", "1"), role=None)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="tallylight"'
    assert answer.json()["type"] == "urn:tallylight:problem:unauthenticated"


@pytest.mark.parametrize("endpoint", FREE, ids=lambda endpoint: endpoint.name)
def test_what_says_nothing_of_tasks_needs_no_token(world: DeskHarness, endpoint: GuardedEndpoint) -> None:
    assert world.ask(endpoint.method, endpoint.path, role=None).status_code == 200


@pytest.mark.parametrize("value", ["Bearer wrong-0123456789", "Basic dTpw", "Bearer", TOKENS[Role.ADMIN], "Bearer ä"])
def test_a_wrong_token_is_refused(world: DeskHarness, value: str) -> None:
    assert world.ask("GET", "/v1/tasks", role=None, headers={"Authorization": value.encode()}).status_code == 401


@pytest.mark.parametrize("path", ["/v1/callbacks/1/replay", "/v1/callbacks/replay"])
def test_a_viewer_may_not_replay(world: DeskHarness, path: str) -> None:
    answer = world.ask("POST", path, role=Role.VIEWER, json={"filter": {"vendor": "tencent"}})

    assert answer.status_code == 403
    assert answer.json()["detail"] == "this needs the role operator, and the token a-viewer has viewer"
    assert world.ask("POST", path, role=Role.ADMIN, json={"filter": {"vendor": "tencent"}}).status_code != 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8080", "LOCALHOST"])
def test_an_open_desk_answers_this_machine(open_world: DeskHarness, host: str) -> None:
    assert open_world.ask("GET", "/v1/tasks", role=None, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example:8080", "127.0.0.2", "localhost:8080x", "", "::1", "127.0.0.1\n"],
)
def test_an_open_desk_refuses_other_names(open_world: DeskHarness, host: str) -> None:
    answer = open_world.ask("GET", "/v1/tasks", role=None, headers={"Host": host})

    assert (answer.status_code, answer.json()["type"]) == (401, "urn:tallylight:problem:not_local")
    assert "whose Host is localhost" in answer.json()["detail"]


@pytest.mark.parametrize(
    "name",
    [
        *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-FORWARDED-PROTO", "x-forwarded-anything", "X_Forwarded_For"),
        *("Via", "X-Real-IP", "X-Client-IP", "CF-Connecting-IP", "CF-Ray", "True-Client-IP", "Fastly-Client-IP", "CDN-Loop"),
    ],
)
def test_an_open_desk_refuses_proxies(open_world: DeskHarness, name: str) -> None:
    answer = open_world.ask("GET", "/v1/tasks", role=None, headers={name: "1"})

    assert answer.status_code == 401
    assert "no proxy forwarded" in answer.json()["detail"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
def test_an_open_desk_takes_no_orders_from_other_pages(open_world: DeskHarness, origin: str) -> None:
    answer = open_world.ask("POST", "/v1/callbacks/1/replay", role=None, headers={"Origin": origin})

    assert answer.status_code == 401


def test_an_open_desk_takes_orders_from_its_own_page(open_world: DeskHarness) -> None:
    answer = open_world.ask("POST", "/v1/callbacks/1/replay", role=None, headers={"Origin": "http://localhost:8080"})

    assert answer.status_code == 404


def test_without_tokens_and_away_from_loopback_nobody_may_ask(tmp_path: Path) -> None:
    world = DeskHarness(tmp_path, Settings(server=ServerSettings(host="192.0.2.1")))

    assert world.ask("GET", "/v1/tasks", role=None).status_code == 401
    world.ledger.close()


def test_with_tokens_host_and_proxy_do_not_matter(world: DeskHarness) -> None:
    answer = world.ask("GET", "/v1/tasks", headers={"Host": "tally.example.com", "X-Forwarded-For": "1.2.3.4"})

    assert answer.status_code == 200


def test_ten_wrong_tokens_are_refused_and_from_then_on_told_to_wait(world: DeskHarness) -> None:
    answers = [world.ask("GET", "/v1/tasks", role=None, headers=WRONG) for _ in range(12)]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert answers[-1].json()["type"] == "urn:tallylight:problem:too_many_wrong_tokens"
    assert answers[-1].headers["retry-after"] == "60"
    assert "wait before" in answers[-1].json()["detail"]
    assert len(world.wrong_tokens) == 12


def test_a_right_token_is_taken_at_once_however_many_wrong_ones_came_from_its_address(world: DeskHarness) -> None:
    for _ in range(50):
        world.ask("GET", "/v1/tasks", role=None, headers=WRONG)

    assert world.get("/v1/tasks").status_code == 200


def test_after_a_minute_an_address_is_refused_as_before(world: DeskHarness) -> None:
    for _ in range(11):
        world.ask("GET", "/v1/tasks", role=None, headers=WRONG)
    world.now += 61_000

    assert world.ask("GET", "/v1/tasks", role=None, headers=WRONG).status_code == 401


def test_a_request_without_a_token_is_no_guess(world: DeskHarness) -> None:
    assert {world.ask("GET", "/v1/tasks", role=None).status_code for _ in range(20)} == {401}
    assert world.wrong_tokens == []


@pytest.mark.parametrize(
    "headers", [{"X-Real-IP": "127.0.0.1"}, {"Via": "1.1 proxy"}, {"Cookie": f"token={TOKENS[Role.ADMIN]}"}, {}]
)
@pytest.mark.parametrize("query", ["", f"?token={TOKENS[Role.ADMIN]}", f"?access_token={TOKENS[Role.ADMIN]}"])
def test_nothing_but_the_header_lets_anybody_in(world: DeskHarness, headers: dict[str, str], query: str) -> None:
    assert world.ask("GET", f"/v1/stats{query}", role=None, headers={"Host": "127.0.0.1:8080", **headers}).status_code == 401


def test_without_tokens_a_loopback_address_is_no_proof(tmp_path: Path) -> None:
    world = DeskHarness(tmp_path, Settings())

    assert world.ask("GET", "/v1/tasks", role=None).status_code == 401
    world.ledger.close()
