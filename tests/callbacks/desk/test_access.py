"""Who may ask what."""

from pathlib import Path

import pytest

from adapters.settings import Role, Server, Settings
from callbacks.desk.endpoints import ENDPOINTS, GuardedEndpoint
from tests.callbacks.desk.desk_world import TOKENS, World

GUARDED = [endpoint for endpoint in ENDPOINTS if isinstance(endpoint, GuardedEndpoint)]
FREE = [endpoint for endpoint in ENDPOINTS if not isinstance(endpoint, GuardedEndpoint)]


@pytest.mark.parametrize("endpoint", GUARDED, ids=lambda endpoint: endpoint.name)
def test_without_a_token_nothing_is_told(world: World, endpoint: GuardedEndpoint) -> None:
    answer = world.ask(endpoint.method, endpoint.path.replace("{id}", "1"), role=None)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="tallylight"'
    assert answer.json()["type"] == "urn:tallylight:problem:unauthenticated"


@pytest.mark.parametrize("endpoint", FREE, ids=lambda endpoint: endpoint.name)
def test_what_says_nothing_of_tasks_needs_no_token(world: World, endpoint: GuardedEndpoint) -> None:
    assert world.ask(endpoint.method, endpoint.path, role=None).status_code == 200


@pytest.mark.parametrize("value", ["Bearer wrong-0123456789", "Basic dTpw", "Bearer", TOKENS[Role.ADMIN], "Bearer ä"])
def test_a_wrong_token_is_refused(world: World, value: str) -> None:
    assert world.ask("GET", "/v1/tasks", role=None, headers={"Authorization": value.encode()}).status_code == 401


@pytest.mark.parametrize("path", ["/v1/callbacks/1/replay", "/v1/callbacks/replay"])
def test_a_viewer_may_not_replay(world: World, path: str) -> None:
    answer = world.ask("POST", path, role=Role.VIEWER, json={"filter": {"vendor": "tencent"}})

    assert answer.status_code == 403
    assert answer.json()["detail"] == "this needs the role operator, and the token a-viewer has viewer"
    assert world.ask("POST", path, role=Role.ADMIN, json={"filter": {"vendor": "tencent"}}).status_code != 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8080", "LOCALHOST"])
def test_an_open_desk_answers_this_machine(open_world: World, host: str) -> None:
    assert open_world.ask("GET", "/v1/tasks", role=None, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example:8080", "127.0.0.2", "localhost:8080x", "", "::1", "127.0.0.1\n"],
)
def test_an_open_desk_refuses_other_names(open_world: World, host: str) -> None:
    answer = open_world.ask("GET", "/v1/tasks", role=None, headers={"Host": host})

    assert (answer.status_code, answer.json()["type"]) == (401, "urn:tallylight:problem:not_local")
    assert "whose Host is localhost" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-FORWARDED-PROTO", "x-forwarded-anything"])
def test_an_open_desk_refuses_proxies(open_world: World, name: str) -> None:
    answer = open_world.ask("GET", "/v1/tasks", role=None, headers={name: "1"})

    assert answer.status_code == 401
    assert "no proxy forwarded" in answer.json()["detail"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
def test_an_open_desk_takes_no_orders_from_other_pages(open_world: World, origin: str) -> None:
    answer = open_world.ask("POST", "/v1/callbacks/1/replay", role=None, headers={"Origin": origin})

    assert answer.status_code == 401


def test_an_open_desk_takes_orders_from_its_own_page(open_world: World) -> None:
    answer = open_world.ask("POST", "/v1/callbacks/1/replay", role=None, headers={"Origin": "http://localhost:8080"})

    assert answer.status_code == 404


def test_without_tokens_and_away_from_loopback_nobody_may_ask(tmp_path: Path) -> None:
    world = World(tmp_path, Settings(server=Server(host="192.0.2.1")))

    assert world.ask("GET", "/v1/tasks", role=None).status_code == 401
    world.ledger.close()


def test_with_tokens_host_and_proxy_do_not_matter(world: World) -> None:
    answer = world.ask("GET", "/v1/tasks", headers={"Host": "tally.example.com", "X-Forwarded-For": "1.2.3.4"})

    assert answer.status_code == 200
